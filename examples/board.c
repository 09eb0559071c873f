/* A notice board in shared memory. An ordinary System V program: a segment, and a semaphore that guards it.
 *
 *   board open               makes the board
 *   board write NOTICE...    pins up notices, the oldest ones make room
 *   board sign N             signs the next N notices, waiting until they are there
 *   board show               prints it
 *   board close              takes it down
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "board.h"

static struct board* board;
static int memory, sems;
static char me[24];

static void die(const char* what) {
  perror(what);
  exit(1);
}

static void operate(int semaphore, int by) {
  struct sembuf op = {0, 0, 0};
  op.sem_num = (unsigned short)semaphore;
  op.sem_op = (short)by;
  if (semaphore == BOARD_FREE) op.sem_flg = SEM_UNDO; /* who dies at the board does not keep the others from it */
  if (semop(sems, &op, 1) == -1) die("semop");
}

static void find_board(int flags) {
  struct utsname name;
  uname(&name);
  snprintf(me, sizeof me, "%.10s (%.10s)", name.nodename, name.machine);
  memory = shmget(BOARD_MEMORY, sizeof *board, IPC_DIPC | flags);
  if (memory == -1) die("shmget");
  sems = semget(BOARD_SEMS, BOARD_SEM_COUNT, IPC_DIPC | flags);
  if (sems == -1) die("semget");
  board = shmat(memory, NULL, 0);
  if ((intptr_t)board == -1) die("shmat");
}

static void write_notice(const char* text) {
  struct notice* row;
  operate(BOARD_FREE, -1);
  row = &board->rows[(int)board->next];
  snprintf(row->from, sizeof row->from, "%s", me);
  snprintf(row->text, sizeof row->text, "%s", text);
  row->signature[0] = '\0';
  board->next = (char)((board->next + 1) % BOARD_ROWS);
  operate(BOARD_FREE, 1);
  operate(BOARD_UNSIGNED, 1);
}

static void sign_notice(void) {
  struct notice* row;
  operate(BOARD_UNSIGNED, -1);
  operate(BOARD_FREE, -1);
  row = &board->rows[(int)board->first];
  snprintf(row->signature, sizeof row->signature, "%s", me);
  printf("  %-16s has read: %s\n", me, row->text);
  board->first = (char)((board->first + 1) % BOARD_ROWS);
  operate(BOARD_FREE, 1);
}

static void show_board(void) {
  int i;
  operate(BOARD_FREE, -1);
  printf("  .------------------------------------------------------------------------------------.\n");
  for (i = 0; i < BOARD_ROWS; ++i) {
    const struct notice* row = &board->rows[(board->next + i) % BOARD_ROWS]; /* the oldest one first */
    if (row->from[0] == '\0') continue;
    printf("  | %-16s %-40.40s %s%-16s |\n", row->from, row->text, row->signature[0] ? "read by " : "        ",
           row->signature);
  }
  printf("  '------------------------------------------------------------------------------------'\n");
  operate(BOARD_FREE, 1);
}

int main(int argc, char** argv) {
  const char* what = argc > 1 ? argv[1] : "";
  int i;
  if (strcmp(what, "open") == 0) {
    union semun free_now;
    free_now.val = 1;
    find_board(IPC_CREAT | IPC_EXCL | 0600);
    if (semctl(sems, BOARD_FREE, SETVAL, free_now) == -1) die("semctl");
    return 0;
  }
  find_board(0);
  if (strcmp(what, "write") == 0) {
    for (i = 2; i < argc; ++i) write_notice(argv[i]);
  } else if (strcmp(what, "sign") == 0 && argc == 3) {
    for (i = atoi(argv[2]); i > 0; --i) sign_notice();
  } else if (strcmp(what, "show") == 0) {
    show_board();
  } else if (strcmp(what, "close") == 0) {
    if (shmctl(memory, IPC_RMID, NULL) == -1 || semctl(sems, 0, IPC_RMID) == -1) die("IPC_RMID");
  } else {
    fprintf(stderr, "usage: board open | write NOTICE... | sign N | show | close\n");
    return 2;
  }
  return 0;
}
