// What load.h declares but run_crew().
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

struct message message;
unsigned long long dice;
time_t end_time;

static volatile sig_atomic_t stopped;
static int log_file = -1;

static void on_stop(int number) {
  (void)number;
  stopped = 1;
}
static void on_interrupt(int number) { (void)number; }

static void handle(int number, void (*handler)(int)) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = handler;
  sigaction(number, &action, NULL);
}

void heed_signals(void) {
  handle(SIGTERM, on_stop);
  handle(SIGUSR1, on_interrupt);
}

unsigned roll(unsigned below) {
  dice = dice * 6364136223846793005ull + 1442695040888963407ull;
  return (unsigned)((dice >> 33) % below);
}

void pause_ms(unsigned ms) {
  struct timespec time;
  time.tv_sec = ms / 1000;
  time.tv_nsec = (long)(ms % 1000) * 1000000;
  nanosleep(&time, NULL);
}

int is_over(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return stopped || now.tv_sec >= end_time;
}

int open_notes(const char* folder, unsigned number, const char* what, int key) {
  char path[512];
  snprintf(path, sizeof path, "%s/%u-%s-%#x", folder, number, what, (unsigned)key);
  log_file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND, 0644);
  return log_file >= 0;
}

void note(const char* format, ...) {
  char line[256];
  va_list arguments;
  int length;
  va_start(arguments, format);
  length = vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  if (length < 0 || write(log_file, line, (size_t)length) != length) _exit(3);
}

void note_error(void) { note("e %s\n", strerrorname_np(errno)); }

void fill(unsigned sender, unsigned number, size_t bytes) {
  int head = snprintf(message.text, kTextMax, "%u %u %u ", sender, number, (unsigned)bytes);
  size_t i;
  for (i = (size_t)head; i < bytes; ++i) message.text[i] = (char)('a' + (sender + number + i) % 26);
}

int understand(size_t bytes, unsigned* sender, unsigned* number) {
  char head[48];
  unsigned wanted;
  int end = 0;
  size_t i, copied = bytes < sizeof head - 1 ? bytes : sizeof head - 1;
  memcpy(head, message.text, copied);
  head[copied] = '\0';
  if (sscanf(head, "%u %u %u %n", sender, number, &wanted, &end) != 3 || wanted != bytes) return 0;
  for (i = (size_t)end; i < bytes; ++i) {
    if (message.text[i] != (char)('a' + (*sender + *number + i) % 26)) return 0;
  }
  return 1;
}
