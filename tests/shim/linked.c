/* A C program that links with -ldipc instead of being started with it. */
#include <dipc.h>
#include <stdio.h>
#include <sys/ipc.h>
#include <sys/msg.h>

int main(void) {
  int queue = msgget(IPC_PRIVATE, IPC_CREAT | IPC_DIPC | 0600);
  if (queue < 0) {
    perror("msgget");
    return 1;
  }
  printf("%s: queue is %s\n", dipc_version(), dipc_is_distributed_msg(queue) == DIPC_REMOTE ? "remote" : "not remote");
  return msgctl(queue, IPC_RMID, NULL) != 0;
}
