/* A shop and its customers: numbers, a double and a pid in the messages. Ordinary System V programs, for any machine.
 *
 *   shop serve ORDERS                       answers so many orders
 *   shop order AMOUNT NUMBER CUSTOMER       orders, and prints the receipt
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <time.h>
#include <unistd.h>

#define SHOP_KEY ((key_t)0x4f52)

enum { NAME_LENGTH = 24 };

struct order {
  long mtype; /* 1 */
  pid_t client;
  double amount;
  long number;
  char customer[NAME_LENGTH];
};

struct receipt {
  long mtype; /* the client that ordered */
  double total;
  long number;
  time_t when;
};

#define BYTES(message) (sizeof(message) - sizeof(long)) /* what msgsnd and msgrcv count */

static void die(const char* what) {
  perror(what);
  exit(1);
}

static void serve(int queue, int orders) {
  while (orders-- > 0) {
    struct order in;
    struct receipt out;
    if (msgrcv(queue, &in, BYTES(in), 1, 0) < 0) die("msgrcv");
    printf("order from pid %d: %ld for %.2f each, for %.24s\n", (int)in.client, in.number, in.amount, in.customer);
    fflush(stdout);
    memset(&out, 0, sizeof out);
    out.mtype = in.client; /* a reply to whoever asked */
    out.total = in.amount * (double)in.number;
    out.number = in.number;
    out.when = time(NULL);
    if (msgsnd(queue, &out, BYTES(out), 0) < 0) die("msgsnd");
  }
}

static void order(int queue, const char* amount, const char* number, const char* customer) {
  struct order out;
  struct receipt in;
  memset(&out, 0, sizeof out);
  out.mtype = 1;
  out.client = getpid();
  out.amount = atof(amount);
  out.number = atol(number);
  strncpy(out.customer, customer, NAME_LENGTH - 1);
  if (msgsnd(queue, &out, BYTES(out), 0) < 0) die("msgsnd");
  if (msgrcv(queue, &in, BYTES(in), getpid(), 0) < 0) die("msgrcv");
  printf("pid %d has a receipt: %ld, %.2f together\n", (int)getpid(), in.number, in.total);
}

int main(int argc, char** argv) {
  const int queue = msgget(SHOP_KEY, IPC_CREAT | 0600);
  if (queue < 0) die("msgget");
  if (argc == 3 && strcmp(argv[1], "serve") == 0) {
    serve(queue, atoi(argv[2]));
  } else if (argc == 5 && strcmp(argv[1], "order") == 0) {
    order(queue, argv[2], argv[3], argv[4]);
  } else {
    fprintf(stderr, "usage: shop serve ORDERS | shop order AMOUNT NUMBER CUSTOMER\n");
    return 2;
  }
  return 0;
}
