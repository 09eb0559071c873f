// Every call, its errors, and which of several errors comes first.

#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <time.h>

#include "tests/shim/subject/subject.h"

namespace {

void queue_calls() {
  Queue queue;
  Message message{7, "hello"};
  SHOW(msgsnd(queue, &message, 6, 0));
  message = {8, "world"};
  SHOW(msgsnd(queue, &message, 0, 0));
  message = {9, "third"};
  SHOW(msgsnd(queue, &message, 6, IPC_NOWAIT));
  auto receive = [&](size_t bytes, long type, int flags) {
    message = {};
    long got = show("msgrcv", [&] { return msgrcv(queue, &message, bytes, type, flags); });
    if (got >= 0) printf("  type %ld text '%.6s'\n", message.type, message.text);
  };
  receive(100, 8, 0);
  receive(100, 8, IPC_NOWAIT);
  receive(2, 0, 0);  // too small
  receive(2, 0, MSG_NOERROR);
  receive(100, -9, 0);
  queue.send(3, "three");
  queue.send(2, "two");
  queue.send(1, "one");
  receive(100, -2, 0);
  receive(100, 3, MSG_EXCEPT);
  receive(100, 0, IPC_NOWAIT | MSG_NOERROR);
  receive(100, 0, IPC_NOWAIT);
  receive(0, 0, IPC_NOWAIT);
}

void queue_copies() {
  Queue queue;
  queue.send(5, "five");
  queue.send(6, "six");
  Message message{};
  SHOW(msgrcv(queue, &message, 100, 1, MSG_COPY | IPC_NOWAIT));
  printf("%ld %.3s, %ld left\n", message.type, message.text, queue.count());
  SHOW(msgrcv(queue, &message, 100, 2, MSG_COPY | IPC_NOWAIT));
  SHOW(msgrcv(queue, &message, 100, 0, MSG_COPY));
}

// Each combination of good and bad arguments: which errno wins is the kernel's to say.
void send_errors() {
  Queue queue;
  Queue full;
  full.fill();
  int removed = MUST(msgget(IPC_PRIVATE, IPC_CREAT | IPC_DIPC | 0600));
  MUST(msgctl(removed, IPC_RMID, nullptr));
  struct {
    const char* name;
    int id;
  } ids[] = {{"good", queue}, {"full", full}, {"removed", removed}, {"-1", -1}, {"unknown", 0x7ffffff0}};
  struct {
    const char* name;
    size_t bytes;
  } sizes[] = {{"5", 5},
               {"msgmax+1", (size_t{4} << 20) + 1},
               {"-1", SIZE_MAX},
               {"LONG_MIN", size_t{1} << (8 * sizeof(size_t) - 1)},
               {"2^30", size_t{1} << 30}};
  Message good{1, "text"};
  Message zero{0, "text"};
  Message minus{-1, "text"};
  char* half = before_the_border(sizeof(long) + 2);
  long one = 1;
  memcpy(half, &one, sizeof one);
  char* type_only = before_the_border(sizeof(long));
  char* part_of_type = before_the_border(2);
  struct {
    const char* name;
    void* pointer;
  } pointers[] = {{"good", &good}, {"type 0", &zero}, {"type -1", &minus},      {"null", nullptr},
                  {"1", (void*)1}, {"half", half},    {"type only", type_only}, {"part of type", part_of_type}};
  for (auto& id : ids) {
    for (auto& size : sizes) {
      for (auto& pointer : pointers) {
        int mistakes = (&id > &ids[1]) + (&size > &sizes[0]) + (&pointer > &pointers[0]);
        bool is_large = size.bytes > 4096 && size.bytes <= SIZE_MAX / 2;  // where the daemon's qemu dies or says EFAULT
        if ((mistakes > 1 || is_large) && is_held_against_another_machine()) continue;
        if (pointer.pointer == type_only) memcpy(type_only, &one, sizeof one);
        long result = msgsnd(id.id, pointer.pointer, size.bytes, IPC_NOWAIT);
        printf("msgsnd id %s size %s pointer %s: %ld %s\n", id.name, size.name, pointer.name, result,
               result < 0 ? strerrorname_np(errno) : "");
        if (pointer.pointer == half || pointer.pointer == type_only) memcpy(half, &one, sizeof one);
      }
    }
  }
  printf("%ld in the queue\n", queue.count());
}

void receive_errors() {
  Queue queue;
  Queue empty;
  int removed = MUST(msgget(IPC_PRIVATE, IPC_CREAT | IPC_DIPC | 0600));
  MUST(msgctl(removed, IPC_RMID, nullptr));
  struct {
    const char* name;
    int id;
  } ids[] = {{"good", queue}, {"empty", empty}, {"removed", removed}, {"-1", -1}, {"unknown", 0x7ffffff0}};
  struct {
    const char* name;
    size_t bytes;
  } sizes[] = {{"10", 10}, {"2", 2}, {"64K", 65536}, {"-1", SIZE_MAX}, {"2^30", size_t{1} << 30}};
  Message good;
  struct {
    const char* name;
    void* pointer;
  } pointers[] = {{"good", &good},
                  {"null", nullptr},
                  {"1", (void*)1},
                  {"half", before_the_border(sizeof(long) + 2)},
                  {"exact", before_the_border(sizeof(long) + 4)},
                  {"part of type", before_the_border(2)}};
  for (auto& id : ids) {
    for (auto& size : sizes) {
      for (auto& pointer : pointers) {
        if (id.id == queue && queue.count() == 0) queue.send(4, "four");
        int mistakes = (&id > &ids[1]) + (&size > &sizes[0]) + (&pointer > &pointers[0]);
        if (mistakes > 1 && is_held_against_another_machine()) continue;
        long result = msgrcv(id.id, pointer.pointer, size.bytes, 0, IPC_NOWAIT);
        printf("msgrcv id %s size %s pointer %s: %ld %s", id.name, size.name, pointer.name, result,
               result < 0 ? strerrorname_np(errno) : "");
        if (id.id == queue) printf(", %ld left", queue.count());
        printf("\n");
      }
    }
  }
}

void queue_control() {
  Queue queue;
  queue.send(4, "four");
  msqid_ds status;
  memset(&status, 0x55, sizeof status);
  SHOW(msgctl(queue, IPC_STAT, &status));
  printf("mode %o qnum %lu cbytes %lu qbytes %lu uid %u cuid %u key %d mine %d none %d times %d %d %d\n",
         static_cast<unsigned>(status.msg_perm.mode), static_cast<unsigned long>(status.msg_qnum),
         static_cast<unsigned long>(status.__msg_cbytes), static_cast<unsigned long>(status.msg_qbytes),
         status.msg_perm.uid, status.msg_perm.cuid, status.msg_perm.__key, status.msg_lspid == getpid(),
         status.msg_lrpid, status.msg_stime != 0, status.msg_rtime != 0, status.msg_ctime != 0);
  status.msg_qbytes = 4096;
  status.msg_perm.mode = 0640;
  status.msg_perm.gid = 12;
  SHOW(msgctl(queue, IPC_SET, &status));
  memset(&status, 0, sizeof status);
  SHOW(msgctl(queue, IPC_STAT, &status));
  printf("mode %o qbytes %lu gid %u\n", static_cast<unsigned>(status.msg_perm.mode),
         static_cast<unsigned long>(status.msg_qbytes), status.msg_perm.gid);
  msginfo info;
  printf("IPC_INFO %d\n", msgctl(0, IPC_INFO, reinterpret_cast<msqid_ds*>(&info)) >= 0);
  printf("MSG_INFO %d\n", msgctl(0, MSG_INFO, reinterpret_cast<msqid_ds*>(&info)) >= 0);
  SHOW(msgctl(queue, 77, &status));
  SHOW(msgctl(queue, -1, &status));
  if (!kLibcConverts) {
    SHOW(msgctl(queue, IPC_STAT, nullptr));
    SHOW(msgctl(queue, IPC_STAT, (msqid_ds*)1));
    SHOW(msgctl(queue, IPC_STAT, (msqid_ds*)before_the_border(8)));
    SHOW(msgctl(queue, IPC_SET, nullptr));
    SHOW(msgctl(queue, IPC_SET, (msqid_ds*)before_the_border(8)));
  }
  SHOW(msgctl(queue, IPC_RMID, nullptr));
  SHOW(msgctl(queue, IPC_STAT, &status));
  SHOW(msgctl(queue, IPC_SET, &status));
  SHOW(msgctl(queue, IPC_RMID, nullptr));
  if (!kLibcConverts) {
    SHOW(msgctl(queue, IPC_STAT, nullptr));
    SHOW(msgctl(queue, IPC_SET, nullptr));
  }
  SHOW(msgctl(-1, IPC_STAT, &status));
}

void set_calls() {
  Set set(3);
  sembuf up[] = {{0, 1, 0}, {1, 2, 0}};
  SHOW(semop(set, up, 2));
  unsigned short values[3] = {9, 9, 9};
  SHOW(semctl(set, 0, GETALL, values));
  printf("%d %d %d\n", values[0], values[1], values[2]);
  values[2] = 5;
  SHOW(semctl(set, 0, SETALL, values));
  SHOW(semctl(set, 2, GETVAL));
  SHOW(semctl(set, 2, SETVAL, 3));
  SHOW(semctl(set, 2, GETVAL));
  SHOW(semctl(set, 2, GETNCNT));
  SHOW(semctl(set, 2, GETZCNT));
  SHOW(semctl(set, 1, GETPID) == getpid());
  sembuf down[] = {{2, -3, 0}, {0, -5, IPC_NOWAIT}};
  SHOW(semop(set, down, 2));
  SHOW(semctl(set, 2, GETVAL));
  sembuf zero[] = {{0, 0, IPC_NOWAIT}};
  SHOW(semop(set, zero, 1));
  timespec soon{0, 1'000'000};
  down[0].sem_op = -50;
  SHOW(semtimedop(set, down, 1, &soon));
  SHOW(semtimedop(set, up, 2, nullptr));
  semid_ds status;
  memset(&status, 0x55, sizeof status);
  SHOW(semctl(set, 0, IPC_STAT, &status));
  printf("nsems %lu mode %o uid %u times %d %d\n", static_cast<unsigned long>(status.sem_nsems),
         static_cast<unsigned>(status.sem_perm.mode), status.sem_perm.uid, status.sem_otime != 0,
         status.sem_ctime != 0);
  status.sem_perm.mode = 0644;
  SHOW(semctl(set, 0, IPC_SET, &status));
  SHOW(semctl(set, 0, IPC_STAT, &status));
  printf("mode %o\n", static_cast<unsigned>(status.sem_perm.mode));
  seminfo info;
  printf("SEM_INFO %d\n", semctl(0, 0, SEM_INFO, &info) >= 0);
}

void set_errors() {
  Set set(3);
  int removed = MUST(semget(IPC_PRIVATE, 3, IPC_CREAT | IPC_DIPC | 0600));
  MUST(semctl(removed, 0, IPC_RMID));
  struct {
    const char* name;
    int id;
  } ids[] = {{"good", set}, {"removed", removed}, {"-1", -1}, {"unknown", 0x7ffffff0}};
  struct {
    const char* name;
    size_t count;
  } counts[] = {{"1", 1}, {"0", 0}, {"100000", 100000}, {"-1", SIZE_MAX}};
  sembuf good{0, 1, 0};
  sembuf high{3, 1, 0};
  sembuf wait{1, -1, IPC_NOWAIT};
  sembuf range{0, 32767, 0};
  struct {
    const char* name;
    sembuf* pointer;
  } pointers[] = {{"good", &good},
                  {"number 3", &high},
                  {"would wait", &wait},
                  {"too much", &range},
                  {"null", nullptr},
                  {"1", (sembuf*)1},
                  {"half", (sembuf*)before_the_border(2)}};
  timespec good_time{0, 1000};
  timespec bad_seconds{-1, 0};
  timespec bad_nanoseconds{0, 1'000'000'000};
  struct {
    const char* name;
    timespec* timeout;
  } times[] = {{"none", nullptr},
               {"good", &good_time},
               {"-1 s", &bad_seconds},
               {"10^9 ns", &bad_nanoseconds},
               {"bad", (timespec*)1}};
  for (auto& id : ids) {
    for (auto& count : counts) {
      for (auto& pointer : pointers) {
        for (auto& time : times) {
          if (kLibcConverts && time.timeout == (timespec*)1) continue;
          long result = semtimedop(id.id, pointer.pointer, count.count, time.timeout);
          printf("semtimedop id %s count %s operations %s time-out %s: %ld %s\n", id.name, count.name, pointer.name,
                 time.name, result, result < 0 ? strerrorname_np(errno) : "");
          MUST(semctl(set, 0, SETVAL, 0));
        }
      }
    }
    printf("id %s\n", id.name);
    unsigned short values[3] = {1, 2, 40000};
    SHOW(semctl(id.id, 0, SETVAL, 40000));
    SHOW(semctl(id.id, 0, SETVAL, -1));
    SHOW(semctl(id.id, 7, SETVAL, 1));
    SHOW(semctl(id.id, -1, SETVAL, 1));
    SHOW(semctl(id.id, 3, GETVAL));
    SHOW(semctl(id.id, 3, GETPID));
    SHOW(semctl(id.id, 0, SETALL, values));
    SHOW(semctl(id.id, 0, 77));
    if (!kLibcConverts) {  // qemu loses the error of a bad array
      SHOW(semctl(id.id, 0, SETALL, nullptr));
      SHOW(semctl(id.id, 0, GETALL, nullptr));
      SHOW(semctl(id.id, 0, SETALL, before_the_border(2)));
      SHOW(semctl(id.id, 0, GETALL, before_the_border(2)));
      SHOW(semctl(id.id, 0, IPC_STAT, nullptr));
      SHOW(semctl(id.id, 0, IPC_SET, nullptr));
    }
  }
}

void segment_control() {
  int segment = MUST(shmget(IPC_PRIVATE, 5000, IPC_CREAT | IPC_DIPC | 0640));
  shmid_ds status;
  auto stat = [&] {
    memset(&status, 0x55, sizeof status);
    show("shmctl IPC_STAT", [&] { return shmctl(segment, IPC_STAT, &status); });
    printf("  %lu bytes, %lu attached, mode %o, uid %u, made by us %d, last %d, times %d %d %d\n",
           static_cast<unsigned long>(status.shm_segsz), static_cast<unsigned long>(status.shm_nattch),
           static_cast<unsigned>(status.shm_perm.mode), status.shm_perm.uid, status.shm_cpid == getpid(),
           static_cast<int>(status.shm_lpid), status.shm_atime != 0, status.shm_dtime != 0, status.shm_ctime != 0);
  };
  stat();
  status.shm_perm.mode = 0604;
  SHOW(shmctl(segment, IPC_SET, &status));
  stat();
  SHOW(shmctl(segment, IPC_STAT, nullptr));
  if (!kLibcConverts) SHOW(shmctl(segment, IPC_SET, nullptr));
  SHOW(shmctl(segment, SHM_UNLOCK, nullptr));
  SHOW(shmctl(segment, 77, nullptr));
  shm_info info;
  printf("SHM_INFO %d\n", shmctl(0, SHM_INFO, reinterpret_cast<shmid_ds*>(&info)) >= 0);
#ifdef SYS_shmctl
  SHOW(syscall(SYS_shmctl, segment, SHM_UNLOCK, nullptr));
#endif
#ifdef SYS_ipc
  SHOW(syscall(SYS_ipc, 24, segment, SHM_UNLOCK | (sizeof(long) == 4 ? 0x100 : 0), 0, 0, 0));
#endif
  SHOW(shmctl(segment, IPC_RMID, nullptr));
  SHOW(shmctl(segment, IPC_STAT, &status));
  SHOW(shmctl(segment, IPC_SET, &status));
  if (!kLibcConverts) SHOW(shmctl(segment, IPC_SET, nullptr));
  SHOW(shmctl(-1, IPC_STAT, &status));
}

void gets() {
  key_t key = 0x40000000 | getpid();
  SHOW(msgget(key, IPC_DIPC | 0600));
  int queue = MUST(msgget(key, IPC_CREAT | IPC_DIPC | 0600));
  SHOW(msgget(key, IPC_DIPC | 0600) == queue);
  SHOW(msgget(key, IPC_CREAT | IPC_EXCL | IPC_DIPC | 0600));
  SHOW(msgctl(queue, IPC_RMID, nullptr));
  SHOW(semget(key, 2, IPC_DIPC | 0600));
  int set = MUST(semget(key, 2, IPC_CREAT | IPC_DIPC | 0600));
  SHOW(semget(key, 2, IPC_DIPC) == set);
  SHOW(semget(key, 3, IPC_DIPC | 0600));
  SHOW(semget(key, -1, IPC_DIPC | 0600));
  SHOW(semget(IPC_PRIVATE, 0, IPC_CREAT | IPC_DIPC | 0600));
  SHOW(semctl(set, 0, IPC_RMID));
  SHOW(shmget(key, 5000, IPC_DIPC | 0600));
  SHOW(shmget(key, 0, IPC_CREAT | IPC_DIPC | 0600));
  int segment = MUST(shmget(key, 5000, IPC_CREAT | IPC_DIPC | 0600));
  SHOW(shmget(key, 5000, IPC_DIPC | 0600) == segment);
  SHOW(shmget(key, 5001, IPC_DIPC | 0600));
  SHOW(shmget(key, 1, IPC_CREAT | IPC_EXCL | IPC_DIPC | 0600));
  SHOW(shmctl(segment, IPC_RMID, nullptr));
  // Objects that are not distributed stay what they were.
  queue = MUST(msgget(key, IPC_CREAT | 0600));
  Message message{1, "local"};
  SHOW(msgsnd(queue, &message, 5, 0));
  SHOW(msgrcv(queue, &message, 5, 0, 0));
  SHOW(msgctl(queue, IPC_RMID, nullptr));
  SHOW(msgsnd(queue, &message, 5, 0));
}

// A system call with the stack so low that the words behind the arguments can be read and not written: what a caller
// keeps there is its own.
long syscall_below_a_read_only_page() {
#if defined(__x86_64__) && !defined(__ILP32__)
  size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  size_t bytes = 64 * page;
  void* memory = mmap(nullptr, bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  MUST(memory);
  char* top = static_cast<char*>(memory) + bytes;
  MUST(mprotect(top, page, PROT_READ));
  long result;
  asm volatile(
      "mov %%rsp, %%rbx\n\t"
      "mov %[top], %%rsp\n\t"
      "call syscall@PLT\n\t"
      "mov %%rbx, %%rsp"
      : "=a"(result)
      : [top] "r"(top), "D"(static_cast<long>(SYS_getppid))
      : "rbx", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc");
  munmap(memory, bytes + page);
  return result == getppid();
#else
  return 1;
#endif
}

// The same calls by number, in all the forms that this machine has.
void by_number() {
  Message message{3, "number"};
  Message got{};
#ifdef SYS_msgget
  long queue = MUST(syscall(SYS_msgget, 0, IPC_CREAT | IPC_DIPC | 0600));
  SHOW(syscall(SYS_msgsnd, queue, &message, 7L, 0));
  SHOW(syscall(SYS_msgrcv, queue, &got, 100L, 0L, 0));
  printf("%ld %s\n", got.type, got.text);
  SHOW(syscall(SYS_msgrcv, queue, &got, 100L, 0L, IPC_NOWAIT));
  msqid_ds queue_status{};
  SHOW(syscall(SYS_msgctl, queue, IPC_STAT, &queue_status));
  printf("mode %o\n", static_cast<unsigned>(queue_status.msg_perm.mode));
  SHOW(syscall(SYS_msgctl, queue, IPC_RMID, nullptr));
  SHOW(syscall(SYS_msgctl, queue, IPC_RMID, nullptr));
  long set = MUST(syscall(SYS_semget, 0, 2, IPC_CREAT | IPC_DIPC | 0600));
  sembuf up{0, 1, 0};
#ifdef SYS_semop
  SHOW(syscall(SYS_semop, set, &up, 1L));
#endif
  sembuf wait{0, 0, 0};
#ifdef SYS_semtimedop
  timespec soon{0, 1000};
  SHOW(syscall(SYS_semtimedop, set, &up, 1L, nullptr));
  SHOW(syscall(SYS_semtimedop, set, &wait, 1L, &soon));
  SHOW(syscall(SYS_semtimedop, set, &wait, 1L, 1L));
#endif
#ifdef SYS_semtimedop_time64
  int64_t soon64[2] = {0, 1000};
  SHOW(syscall(SYS_semtimedop_time64, set, &up, 1L, nullptr));
  SHOW(syscall(SYS_semtimedop_time64, set, &wait, 1L, soon64));
#endif
  SHOW(syscall(SYS_semctl, set, 0, GETVAL, 0));
  SHOW(syscall(SYS_semctl, set, 0, IPC_RMID, 0));
#endif
#ifdef SYS_ipc
  constexpr long kNewStructs = sizeof(long) == 4 ? 0x100 : 0;
  long q = MUST(syscall(SYS_ipc, 13, 0, IPC_CREAT | IPC_DIPC | 0600, 0, 0, 0));
  SHOW(syscall(SYS_ipc, 11, q, 7, 0, &message, 0));
  got = {};
  struct {
    Message* message;
    long type;
  } kludge{&got, 0};
  SHOW(syscall(SYS_ipc, 12, q, 100, 0, &kludge, 0));
  printf("%ld %s\n", got.type, got.text);
  SHOW(syscall(SYS_ipc, 11, q, 7, 0, &message, 0));
  got = {};
  SHOW(syscall(SYS_ipc, 12 | 1 << 16, q, 100, 0, &got, 3));
  printf("%ld %s\n", got.type, got.text);
  SHOW(syscall(SYS_ipc, 12 | 1 << 16, q, 100, IPC_NOWAIT, &got, 3));
  msqid_ds status{};
  SHOW(syscall(SYS_ipc, 14, q, IPC_STAT | kNewStructs, 0, &status, 0));
  printf("mode %o\n", static_cast<unsigned>(status.msg_perm.mode));
  SHOW(syscall(SYS_ipc, 14, q, IPC_RMID | kNewStructs, 0, 0, 0));
  long s = MUST(syscall(SYS_ipc, 2, 0, 2, IPC_CREAT | IPC_DIPC | 0600, 0, 0));
  sembuf more{0, 2, 0};
  SHOW(syscall(SYS_ipc, 1, s, 1, 0, &more, 0));
  long argument = 0;
  SHOW(syscall(SYS_ipc, 3, s, 0, GETVAL | kNewStructs, &argument, 0));
  sembuf never{0, 0, 0};
  timespec short_time{0, 1000};
  SHOW(syscall(SYS_ipc, 4, s, 1, 0, &never, &short_time));
  SHOW(syscall(SYS_ipc, 3, s, 0, IPC_RMID | kNewStructs, &argument, 0));
  SHOW(syscall(SYS_ipc, 99, 0, 0, 0, 0, 0));
#endif
  SHOW(syscall(SYS_getpid) == getpid());
  show("above a read-only page", [] { return syscall_below_a_read_only_page(); });
  SHOW(syscall(SYS_write, -1, "x", 1L));
  char byte = 'b';
  int pipes[2];
  MUST(pipe(pipes));
  SHOW(syscall(SYS_write, pipes[1], &byte, 1L));
  SHOW(syscall(SYS_read, pipes[0], &byte, 1L));
}

// Larger than a record of the socket; the queue's limits are raised by the test.
void large_messages() {
  Queue queue;
  for (size_t bytes : {size_t{65535}, size_t{65536}, size_t{65537}, size_t{100} << 10, size_t{1} << 20}) {
    size_t total = sizeof(long) + bytes;
    char* out = static_cast<char*>(malloc(total));
    char* in = static_cast<char*>(calloc(1, total));
    for (size_t i = 0; i < total; ++i) out[i] = static_cast<char>(i * 31 + i / 4096);
    long type = 5;
    memcpy(out, &type, sizeof type);
    printf("%zu bytes\n", bytes);
    SHOW(msgsnd(queue, out, bytes, IPC_NOWAIT));
    SHOW(msgrcv(queue, in, bytes - 1, 0, IPC_NOWAIT));
    SHOW(msgrcv(queue, in, bytes, 0, IPC_NOWAIT));
    printf("same: %d\n", memcmp(in, out, total) == 0);
    // Half of the buffer can't be written: the message is gone, as with any receive that ends so.
    SHOW(msgsnd(queue, out, bytes, IPC_NOWAIT));
    SHOW(msgrcv(queue, before_the_border(2000), bytes, 0, IPC_NOWAIT));
    SHOW(msgsnd(queue, before_the_border(2000), bytes, IPC_NOWAIT));
    printf("%ld left\n", queue.count());
    free(in);
    free(out);
  }
}

}  // namespace

const Scenario kCallScenarios[] = {{"queue_calls", queue_calls},         {"queue_copies", queue_copies},
                                   {"send_errors", send_errors},         {"receive_errors", receive_errors},
                                   {"queue_control", queue_control},     {"set_calls", set_calls},
                                   {"set_errors", set_errors},           {"gets", gets},
                                   {"segment_control", segment_control}, {"by_number", by_number},
                                   {"large_messages", large_messages},   {nullptr, nullptr}};
