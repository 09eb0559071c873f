/* What the information desk and its clients agree on: two keys and the shape of a message. Plain System V IPC. */
#ifndef DESK_H
#define DESK_H

#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>

#define DESK_QUEUE ((key_t)0x1996) /* questions with type 1; each answer has its client's own type */
#define DESK_SEMS ((key_t)0x1997)  /* 0: the desk is open; 1: one client at a time; 2: questions answered */

enum { DESK_OPEN, DESK_TURN, DESK_ANSWERED, DESK_SEM_COUNT };

#define DESK_QUESTION 1L
#define DESK_TEXT_MAX 240

/* Text, so that machines of either byte order can read it: "TYPE HOST QUESTION" one way, the answer the other. */
struct desk_message {
  long type;
  char text[DESK_TEXT_MAX];
};

union semun {
  int val;
  struct semid_ds* buf;
  unsigned short* array;
};

#endif
