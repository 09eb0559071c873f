// What the parts of the load share: the texts of messages, what is written down of calls, dice and time.
#ifndef DIPC_SOAK_LOAD_H
#define DIPC_SOAK_LOAD_H

#include <stddef.h>
#include <sys/sem.h>
#include <time.h>

enum {
  kTextMax = 8192,
  kSemaphores = 8,
  kUndone = 4,        /* the first four are used under SEM_UNDO alone */
  kCapacity = 6,      /* what each of these starts with */
  kBookStart = 10000, /* what the others start with */
  kFirstSetKey = 0x6000,
  kIpcDipc = 010000
};

union semun {
  int val;
  struct semid_ds* buf;
  unsigned short* array;
};

/* What is sent, and what came last. */
struct message {
  long type;
  char text[kTextMax];
};
extern struct message message;

/* 0 .. below-1, by what `dice` is set to. The same on every machine. */
extern unsigned long long dice;
unsigned roll(unsigned below);

/* SIGTERM came, or `end_time` (of CLOCK_MONOTONIC). */
extern time_t end_time;
int is_over(void);
void pause_ms(unsigned ms);
/* From now on SIGTERM makes is_over() true, and SIGUSR1 ends the call that the process is in (EINTR). */
void heed_signals(void);

/* FOLDER/NUMBER-WHAT-KEY, for note() from now on. 0: it can't be made (errno), or is there already (EEXIST). */
int open_notes(const char* folder, unsigned number, const char* what, int key);
/* One write(2) a line: what is written stays, whatever becomes of the process. A line "! ..." is something that must
 * never happen. */
void note(const char* format, ...) __attribute__((format(printf, 1, 2)));
void note_error(void); /* "e ERRNO" */

/* message.text, so long, of this sender's message of that number. */
void fill(unsigned sender, unsigned number, size_t bytes);
/* Whose and which the text that came is. 0: it is none of fill()'s. */
int understand(size_t bytes, unsigned* sender, unsigned* number);

/* load crew ...: `words` from FOLDER on. Exit status. */
int run_crew(int count, char** words);

#endif
