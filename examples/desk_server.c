/* The information desk: answers a number of questions from a message queue, then closes.
 * An ordinary System V server: it knows two keys, and nothing of where its clients run.
 *
 *   desk_server QUESTIONS
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "desk.h"

static void die(const char* what) {
  perror(what);
  exit(1);
}

static const char* byte_order(void) {
  const int one = 1;
  return *(const char*)&one ? "little-endian" : "big-endian";
}

static void answer(const char* question, char* text, size_t size, const struct utsname* me) {
  char upper[DESK_TEXT_MAX];
  size_t i;
  for (i = 0; question[i] != '\0' && i + 1 < sizeof upper; ++i) upper[i] = (char)toupper((unsigned char)question[i]);
  upper[i] = '\0';
  snprintf(text, size, "%.120s -- %.20s, %.20s, %s, long of %d bits", upper, me->nodename, me->machine, byte_order(),
           (int)(8 * sizeof(long)));
}

int main(int argc, char** argv) {
  int questions = argc == 2 ? atoi(argv[1]) : 0;
  struct utsname me;
  union semun none;
  struct sembuf open_desk = {DESK_OPEN, 1, 0}, one_more = {DESK_ANSWERED, 1, 0};
  int queue, sems;

  if (questions <= 0) {
    fprintf(stderr, "usage: desk_server QUESTIONS\n");
    return 2;
  }
  uname(&me);
  queue = msgget(DESK_QUEUE, IPC_CREAT | 0666);
  if (queue == -1) die("msgget");
  sems = semget(DESK_SEMS, DESK_SEM_COUNT, IPC_CREAT | 0666);
  if (sems == -1) die("semget");
  none.val = 1;
  if (semctl(sems, DESK_TURN, SETVAL, none) == -1) die("semctl SETVAL");
  if (semop(sems, &open_desk, 1) == -1) die("semop");
  printf("desk   on %-6s  open: %s, %s, long of %d bits\n", me.nodename, me.machine, byte_order(),
         (int)(8 * sizeof(long)));
  fflush(stdout);

  while (questions-- > 0) {
    struct desk_message message;
    char from[64], question[DESK_TEXT_MAX];
    long reply_to;
    ssize_t bytes = msgrcv(queue, &message, sizeof message.text - 1, DESK_QUESTION, 0);
    if (bytes == -1) die("msgrcv");
    message.text[bytes] = '\0';
    if (sscanf(message.text, "%ld %63s %239[^\n]", &reply_to, from, question) != 3 || reply_to <= DESK_QUESTION) {
      fprintf(stderr, "desk: not a question: %s\n", message.text);
      continue;
    }
    printf("desk   on %-6s  asked from %-6s: \"%s\"\n", me.nodename, from, question);
    fflush(stdout);
    answer(question, message.text, sizeof message.text, &me);
    message.type = reply_to;
    if (semop(sems, &one_more, 1) == -1) die("semop");
    if (msgsnd(queue, &message, strlen(message.text), 0) == -1) die("msgsnd");
  }
  return 0;
}
