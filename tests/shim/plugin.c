/* A library that a program loads by name: it makes System V calls, and loads a neighbour that only its RUNPATH finds.
 */
#include <dlfcn.h>
#include <stddef.h>
#include <sys/ipc.h>
#include <sys/msg.h>

#include "shim/dipc.h"

int make_queue(void) { return msgget(IPC_PRIVATE, IPC_CREAT | IPC_DIPC | 0600); }

int load_by_runpath(void) {
  void* neighbour = dlopen("libdipc_test_neighbour.so", RTLD_NOW);
  if (neighbour == NULL) return 0;
  dlclose(neighbour);
  return 1;
}
