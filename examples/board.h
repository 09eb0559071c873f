/* What all who use the notice board agree on: two keys and what lies where in the shared memory. Plain System V IPC.
 * Only chars lie there, so that machines of either byte order read the same. */
#ifndef BOARD_H
#define BOARD_H

#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/shm.h>

#define BOARD_MEMORY ((key_t)0x1999)
#define BOARD_SEMS ((key_t)0x199a) /* 0: one at the board at a time; 1: notices that nobody has signed */

#ifndef IPC_DIPC
#define IPC_DIPC 00010000 /* <linux/ipc.h>: the segment is every host's; kernels ignore it */
#endif

enum { BOARD_FREE, BOARD_UNSIGNED, BOARD_SEM_COUNT };
enum { BOARD_ROWS = 6 };

struct board {
  char next;  /* the row that the next notice is written to: a ring */
  char first; /* the oldest one that nobody has signed */
  struct notice {
    char from[24];
    char text[80];
    char signature[24]; /* empty: nobody has read it */
  } rows[BOARD_ROWS];
};

union semun {
  int val;
  struct semid_ds* buf;
  unsigned short* array;
};

#endif
