#include "timing.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

double now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static int by_size(const void* a, const void* b) {
  const double x = *(const double*)a, y = *(const double*)b;
  return x < y ? -1 : x > y;
}

double median(double* times, size_t count) {
  qsort(times, count, sizeof *times, by_size);
  return times[count / 2];
}

void die(const char* what) {
  perror(what);
  exit(1);
}
