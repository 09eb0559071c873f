/* What the measured programs share: ordinary C for every machine. */
#ifndef DIPC_BENCH_TIMING_H
#define DIPC_BENCH_TIMING_H

#include <stddef.h>

double now_ns(void);
/* The middle of so many; sorts them. */
double median(double* times, size_t count);
/* Ends the program, with errno's text. */
void die(const char* what);

#endif
