/* Times shared memory of an ordinary program, of which another host has the pages.
 *
 *   memory fill KEY PAGES           writes each page once, so that this host has all of them
 *   memory read KEY PAGES           median time of reading from a page for the first time, ns; no two in sequence
 *   memory write KEY PAGES          the same of writing
 *   memory sequential KEY PAGES     bytes per second of reading all, one page after the other
 *   memory held KEY PAGES           time of adding to a number in a page that is held, ps
 *   memory plain KEY PAGES          the same in memory of its own
 *   memory turns KEY PAGES          writes a page as often as it can for two seconds while another process does so too;
 *                                   how often per second the other's writes came, which is how often the page did
 *   memory sparse KEY PAGES         writes every 64th page of a segment of PAGES; by how much this process and all
 *                                   dipcd of this host have grown, and how much was written, bytes
 *   memory remove KEY PAGES         removes the segment
 */
#include <ctype.h>
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <unistd.h>

#include "timing.h"

enum { kPageBytes = 4096, kIpcDipc = 010000, kAdditions = 20000000, kSparse = 64 };

/* Each page once, far from the one before: read-ahead has nothing to go by. */
static void touch(volatile char* at, size_t pages, int writes) {
  double* times = calloc(pages, sizeof *times);
  const size_t step = pages / 2 + (pages % 4 == 0 ? 1 : 2); /* odd; PAGES is a power of two */
  size_t i;
  for (i = 0; i < pages; ++i) {
    volatile char* page = at + i * step % pages * kPageBytes;
    const double before = now_ns();
    if (writes) {
      *page = 1;
    } else {
      (void)*page;
    }
    times[i] = now_ns() - before;
  }
  printf("%.0f\n", median(times, pages));
}

static double sequential(volatile const char* at, size_t pages) {
  const double before = now_ns();
  size_t byte;
  for (byte = 0; byte < pages * kPageBytes; byte += 64) (void)at[byte];
  return (double)(pages * kPageBytes) / (now_ns() - before) * 1e9;
}

static double add(volatile int* at) {
  double before;
  int i;
  *at = 0;
  before = now_ns();
  for (i = 0; i < kAdditions; ++i) ++*at;
  return (now_ns() - before) / kAdditions;
}

/* numbers: one of each process; which is ours is settled by who comes first. */
static double take_turns(volatile unsigned* numbers) {
  const unsigned own = __sync_fetch_and_add(&numbers[2], 1) & 1;
  const double start = now_ns();
  unsigned last = numbers[1 - own];
  long turns = 0;
  while (now_ns() - start < 2e9) {
    ++numbers[own];
    if (numbers[1 - own] != last) {
      last = numbers[1 - own];
      ++turns;
    }
  }
  return (double)turns / 2;
}

static double resident_bytes_of(const char* pid) {
  char path[300], line[200];
  double kib = 0;
  FILE* file;
  snprintf(path, sizeof path, "/proc/%s/status", pid);
  file = fopen(path, "r");
  while (file != NULL && fgets(line, sizeof line, file) != NULL) {
    if (strncmp(line, "VmRSS:", 6) == 0) kib = atof(line + 6);
  }
  if (file != NULL) fclose(file);
  return kib * 1024;
}

static double resident_bytes(void) {
  double all = resident_bytes_of("self");
  DIR* processes = opendir("/proc");
  struct dirent* entry;
  while (processes != NULL && (entry = readdir(processes)) != NULL) {
    char path[300], name[32] = "";
    FILE* file;
    if (!isdigit((unsigned char)entry->d_name[0])) continue;
    snprintf(path, sizeof path, "/proc/%s/comm", entry->d_name);
    file = fopen(path, "r");
    if (file == NULL) continue;
    if (fgets(name, sizeof name, file) != NULL && strcmp(name, "dipcd\n") == 0) all += resident_bytes_of(entry->d_name);
    fclose(file);
  }
  if (processes != NULL) closedir(processes);
  return all;
}

int main(int argc, char** argv) {
  const char* what = argc == 4 ? argv[1] : "";
  const key_t key = argc == 4 ? (key_t)strtol(argv[2], NULL, 0) : 0;
  const size_t pages = argc == 4 ? strtoul(argv[3], NULL, 0) : 0;
  double before;
  volatile char* at;
  int id;
  size_t i;
  if (pages == 0) {
    fprintf(stderr, "usage: memory fill|read|write|sequential|held|plain|turns|sparse|remove KEY PAGES\n");
    return 2;
  }
  if (strcmp(what, "plain") == 0) {
    printf("%.0f\n", 1000 * add(calloc(1, kPageBytes)));
    return 0;
  }
  id = shmget(key, pages * kPageBytes, IPC_CREAT | kIpcDipc | 0600);
  if (id == -1) die("shmget");
  if (strcmp(what, "remove") == 0) {
    if (shmctl(id, IPC_RMID, NULL) == -1) die("IPC_RMID");
    return 0;
  }
  before = resident_bytes();
  at = shmat(id, NULL, 0);
  if ((intptr_t)at == -1) die("shmat");
  if (strcmp(what, "fill") == 0) {
    for (i = 0; i < pages; ++i) at[i * kPageBytes] = 1;
  } else if (strcmp(what, "read") == 0 || strcmp(what, "write") == 0) {
    touch(at, pages, what[0] == 'w');
  } else if (strcmp(what, "sequential") == 0) {
    printf("%.0f\n", sequential(at, pages));
  } else if (strcmp(what, "held") == 0) {
    printf("%.0f\n", 1000 * add((volatile int*)at));
  } else if (strcmp(what, "turns") == 0) {
    printf("%.1f\n", take_turns((volatile unsigned*)at));
  } else if (strcmp(what, "sparse") == 0) {
    for (i = 0; i < pages; i += kSparse) at[i * kPageBytes] = 1;
    printf("%.0f %zu\n", resident_bytes() - before, pages / kSparse * kPageBytes);
  } else {
    die(what);
  }
  return 0;
}
