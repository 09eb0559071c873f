/* What a shop has, as a table in shared memory: doubles and integers that programs of any machine read and write. An
 * ordinary System V program: a segment, and a semaphore that guards it.
 *
 *   stock open                   makes the table
 *   stock put NAME PRICE NUMBER  so many more of them, at this price
 *   stock take NAME NUMBER       so many less
 *   stock show                   prints it
 *   stock close                  takes it away
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <time.h>

#define STOCK_KEY ((key_t)0x4f53)

enum { ITEMS = 8, ITEM_NAME = 16 };

/* The same places on every machine: widths that say what they are, and each field at a multiple of its size. */
struct item {
  double price;
  int32_t number;
  int32_t taken;
  char name[ITEM_NAME]; /* empty: nothing is here */
};

struct stock {
  int64_t changed; /* when, in seconds since 1970 */
  double worth;    /* of all that is there */
  struct item items[ITEMS];
};

union semun {
  int val;
  struct semid_ds* buf;
  unsigned short* array;
};

static struct stock* stock;
static int memory, guard;

static void die(const char* what) {
  perror(what);
  exit(1);
}

static void find_stock(int flags) {
  memory = shmget(STOCK_KEY, sizeof *stock, flags);
  if (memory == -1) die("shmget");
  guard = semget(STOCK_KEY, 1, flags);
  if (guard == -1) die("semget");
  stock = shmat(memory, NULL, 0);
  if ((intptr_t)stock == -1) die("shmat");
}

static void step(int by) {
  struct sembuf op = {0, 0, SEM_UNDO}; /* who dies with the table does not keep the others from it */
  op.sem_op = (short)by;
  if (semop(guard, &op, 1) == -1) die("semop");
}

/* The row of that name, or one that is free. */
static struct item* row_of(const char* name) {
  struct item* row;
  for (row = stock->items; row < stock->items + ITEMS; ++row) {
    if (row->name[0] == '\0' || strncmp(row->name, name, ITEM_NAME - 1) == 0) return row;
  }
  fprintf(stderr, "no room for %s\n", name);
  exit(1);
}

static void put(const char* name, double price, int number) {
  struct item* row;
  step(-1);
  row = row_of(name);
  strncpy(row->name, name, ITEM_NAME - 1);
  stock->worth += price * (row->number + number) - row->price * row->number;
  row->price = price;
  row->number += number;
  stock->changed = time(NULL);
  step(1);
}

static void take(const char* name, int number) {
  struct item* row;
  step(-1);
  row = row_of(name);
  if (number > row->number) number = row->number;
  row->number -= number;
  row->taken += number;
  stock->worth -= row->price * number;
  stock->changed = time(NULL);
  step(1);
  printf("%d of %s, at %.2f each\n", number, name, row->price);
}

static void show(void) {
  const struct item* row;
  step(-1);
  printf("  %-16s %10s %12s %12s\n", "", "price", "there", "taken");
  for (row = stock->items; row < stock->items + ITEMS && row->name[0] != '\0'; ++row) {
    printf("  %-16s %10.2f %12d %12d\n", row->name, row->price, (int)row->number, (int)row->taken);
  }
  printf("  worth %.2f, changed %lld s ago\n", stock->worth, (long long)time(NULL) - (long long)stock->changed);
  step(1);
}

int main(int argc, char** argv) {
  const char* what = argc > 1 ? argv[1] : "";
  if (strcmp(what, "open") == 0) {
    union semun free_now;
    free_now.val = 1;
    find_stock(IPC_CREAT | IPC_EXCL | 0600);
    if (semctl(guard, 0, SETVAL, free_now) == -1) die("semctl");
    return 0;
  }
  find_stock(0);
  if (strcmp(what, "put") == 0 && argc == 5) {
    put(argv[2], atof(argv[3]), atoi(argv[4]));
  } else if (strcmp(what, "take") == 0 && argc == 4) {
    take(argv[2], atoi(argv[3]));
  } else if (strcmp(what, "show") == 0) {
    show();
  } else if (strcmp(what, "close") == 0) {
    if (shmctl(memory, IPC_RMID, NULL) == -1 || semctl(guard, 0, IPC_RMID) == -1) die("IPC_RMID");
  } else {
    fprintf(stderr, "usage: stock open | put NAME PRICE NUMBER | take NAME NUMBER | show | close\n");
    return 2;
  }
  return 0;
}
