/* A library whose constructor runs before the shim's, and makes a call. */
#include <stdio.h>
#include <sys/ipc.h>
#include <sys/msg.h>

#include "shim/dipc.h"

__attribute__((constructor)) static void make_a_call(void) {
  int queue = msgget(IPC_PRIVATE, IPC_CREAT | IPC_DIPC | 0600);
  struct {
    long type;
    char text[8];
  } message = {1, "early"};
  printf("%d %d\n", queue < 0, queue < 0 ? -1 : msgsnd(queue, &message, 5, 0));
  if (queue >= 0) msgctl(queue, IPC_RMID, NULL);
}
