// fork in all its forms, exec, changed identities, and descriptors that are closed under the shim.

#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "tests/shim/subject/subject.h"

namespace {

long receive_text(int queue, long type, int flags, char* text) {
  Message message{};
  long bytes = msgrcv(queue, &message, 100, type, flags);
  if (bytes >= 0) memcpy(text, message.text, static_cast<size_t>(bytes) + 1);
  return bytes;
}

// Waits until another thread or process is blocked in a call on the set.
void until_waiting(int set, int number) {
  while (MUST(semctl(set, number, GETNCNT)) == 0) usleep(1000);
}

void* down_in_thread(void* set) {
  sembuf down{0, -1, 0};
  if (semop(*static_cast<int*>(set), &down, 1) != 0) printf("thread: %s\n", strerrorname_np(errno));
  return nullptr;
}

// The child has the parent's memory, and none of its threads and calls.
void forked_during_a_call() {
  Set set(2);
  Queue queue;
  int id = set;
  pthread_t thread = start_thread(down_in_thread, &id);
  until_waiting(set, 0);
  in_child("child", [&] {
    sembuf up{1, 5, 0};
    SHOW(semop(set, &up, 1));
    SHOW(semctl(set, 0, GETNCNT));
    queue.send(1, "from the child");
    in_child("grandchild", [&] { SHOW(semctl(set, 1, GETVAL)); });
  });
  char text[100];
  SHOW(receive_text(queue, 0, IPC_NOWAIT, text));
  SHOW(semctl(set, 0, GETNCNT));
  sembuf up{0, 1, 0};
  SHOW(semop(set, &up, 1));
  pthread_join(thread, nullptr);
  SHOW(semctl(set, 0, GETVAL));
}

// Many children at once, each of which makes its first call at the same time as the others.
void many_children() {
  constexpr int kChildren = 8;
  Queue queue;
  Set set(1);
  fflush(stdout);
  for (int i = 0; i < kChildren; ++i) {
    if (MUST(fork()) == 0) {
      for (int k = 0; k < 20; ++k) {
        sembuf up{0, 1, 0};
        if (semop(set, &up, 1) != 0) printf("semop %s\n", strerrorname_np(errno));
      }
      fflush(stdout);
      _exit(0);
    }
  }
  for (int i = 0; i < kChildren; ++i) MUST(wait(nullptr));
  SHOW(semctl(set, 0, GETVAL));
}

const Set* g_set;
volatile sig_atomic_t g_forks;
void fork_in_handler(int) {
  if (g_forks > 0) return;
  g_forks = 1;
  fflush(stdout);
  if (fork() == 0) {
    printf("child of the handler\n");
    SHOW(semctl(*g_set, 0, GETVAL));
    // Goes on in the interrupted call, as a child of the parent's handler does.
  }
}

void forked_in_a_handler() {
  Set set(1);
  g_set = &set;
  pid_t parent = getpid();
  sembuf down{0, -1, 0};
  {
    Alarms alarms(fork_in_handler);
    SHOW(semop(set, &down, 1));
  }
  if (getpid() != parent) {
    SHOW(semctl(set, 0, GETVAL));
    fflush(stdout);
    _exit(0);
  }
  while (wait(nullptr) > 0) {
  }
  SHOW(semctl(set, 0, GETVAL));
}

// A call in the memory of the parent, which must find its connection as it left it.
[[gnu::noinline]] void call_in_vfork_child(int set, sembuf* up) {
  static volatile int result;
  pid_t child = vfork();
  if (child == 0) {
    result = semop(set, up, 1);
    _exit(0);
  }
  MUST(waitpid(child, nullptr, 0));
  printf("child: %d\n", result);
}

void vforked() {
  Set set(1);
  sembuf up{0, 1, 0};
  SHOW(semop(set, &up, 1));
  for (int i = 0; i < 3; ++i) {
    call_in_vfork_child(set, &up);
    SHOW(semop(set, &up, 1));
  }
  SHOW(semctl(set, 0, GETVAL));
}

// No fork handler runs for a child made so.
void cloned() {
  Set set(1);
  sembuf up{0, 1, 0};
  SHOW(semop(set, &up, 1));
  fflush(stdout);
  // s390x takes the stack before the flags; both are harmless as 0 there.
  long child = MUST(syscall(SYS_clone, static_cast<long>(SIGCHLD), 0L, 0L, 0L, 0L));
  if (child == 0) {
    SHOW(semop(set, &up, 1));
    SHOW(semop(set, &up, 1));
    fflush(stdout);
    _exit(0);
  }
  MUST(waitpid(static_cast<pid_t>(child), nullptr, 0));
  SHOW(semop(set, &up, 1));
  SHOW(semctl(set, 0, GETVAL));
}

// The id is all that the new program knows. SUBJECT_LAUNCHER: what stands before a program of this machine on a command
// line (an emulator), words separated by blanks.
void executed() {
  Queue queue;
  Set set(2);
  sembuf up{1, 1, 0};
  SHOW(semop(set, &up, 1));
  in_child("exec", [&] {
    char ids[2][16];
    snprintf(ids[0], sizeof ids[0], "%d", static_cast<int>(queue));
    snprintf(ids[1], sizeof ids[1], "%d", static_cast<int>(set));
    char words[1000] = "";
    if (const char* launcher = getenv("SUBJECT_LAUNCHER")) strncpy(words, launcher, sizeof words - 1);
    char* arguments[20];
    int count = 0;
    for (char* word = strtok(words, " "); word; word = strtok(nullptr, " ")) arguments[count++] = word;
    arguments[count++] = subject_arguments[0];
    for (const char* word : {"use_inherited_ids", const_cast<const char*>(ids[0]), const_cast<const char*>(ids[1])}) {
      arguments[count++] = const_cast<char*>(word);
    }
    arguments[count] = nullptr;
    execv(arguments[0], arguments);
    perror("execv");
    _exit(1);
  });
  char text[100];
  SHOW(receive_text(queue, 0, IPC_NOWAIT, text));
  printf("'%s'\n", text);
}

void use_inherited_ids() {
  int queue = atoi(subject_arguments[2]);
  int set = atoi(subject_arguments[3]);
  SHOW(semctl(set, 1, GETVAL));
  unsigned short values[2] = {4, 5};
  SHOW(semctl(set, 0, SETALL, values));
  Message message{1, "by id alone"};
  SHOW(msgsnd(queue, &message, 12, 0));
}

// Everything is closed and the numbers are used again: the shim must not write to what lies there now.
void descriptors_closed() {
  Queue queue;
  Message message{1, "text"};
  SHOW(msgsnd(queue, &message, 5, 0));
  fflush(stdout);
  for (int round = 0; round < 3; ++round) {
    rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    int top = limit.rlim_cur < 8192 ? static_cast<int>(limit.rlim_cur) : 8192;
    for (int i = 3; i < top; ++i) close(i);
    char name[] = "/tmp/dipc-shim-XXXXXX";
    int file = MUST(mkstemp(name));
    unlink(name);
    if (round > 0) {
      for (int i = 3; i < top - 4; ++i) {
        if (i != file) dup2(file, i);
      }
    }
    if (round == 2) {  // and something that looks like a socket of ours
      int pair[2];
      MUST(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair));
      for (int i = top - 200; i < top - 4; ++i) dup2(pair[0], i);
    }
    SHOW(msgsnd(queue, &message, 5, 0));
    SHOW(msgrcv(queue, &message, 5, 0, 0));
    printf("file has %ld bytes\n", static_cast<long>(lseek(file, 0, SEEK_END)));
    for (int i = 3; i < top; ++i) close(i);
  }
  SHOW(queue.count());
}

void close_in_handler(int) {
  for (int i = 3; i < 1024; ++i) close(i);  // the tests have no more
}

void descriptors_closed_in_a_handler() {
  Queue queue;
  Set set(1);
  Message message{};
  sembuf down{0, -1, 0};
  {
    Alarms alarms(close_in_handler);
    SHOW(msgrcv(queue, &message, 100, 0, 0));
    SHOW(semop(set, &down, 1));
  }
  queue.send(1, "still there");
  SHOW(msgrcv(queue, &message, 100, 0, IPC_NOWAIT));
  SHOW(semctl(set, 0, GETNCNT));
}

void daemonized() {
  Queue queue;
  queue.send(1, "before");
  in_child("daemon", [&] {
    in_child("second fork", [&] {
      setsid();
      for (int i = 0; i < 1024; ++i) {
        if (i != 1) close(i);
      }
      char text[100];
      SHOW(receive_text(queue, 0, 0, text));
      queue.send(2, "after");
    });
  });
  char text[100];
  SHOW(receive_text(queue, 0, 0, text));
}

// The identity of a call is that of the moment.
void identities() {
  if (getuid() != 0) {
    printf("not root\n");
    return;
  }
  Queue queue(0600);
  Set set(1, 0644);
  Message message{1, "text"};
  sembuf up{0, 1, 0};
  auto all = [&] {
    SHOW(msgsnd(queue, &message, 5, 0));
    SHOW(semop(set, &up, 1));
    SHOW(semctl(set, 0, GETVAL));
    SHOW(msgctl(queue, IPC_RMID, nullptr) == 0 ? 0 : -1);
  };
  MUST(setgroups(0, nullptr));
  MUST(setegid(1000));
  MUST(seteuid(1000));
  all();
  MUST(seteuid(0));
  MUST(setegid(0));
  SHOW(msgsnd(queue, &message, 5, 0));
  in_child("dropped", [&] {
    MUST(setgid(1001));
    MUST(setuid(1001));
    all();
    Queue own(0600);
    SHOW(msgsnd(own, &message, 5, 0));
    msqid_ds status;
    SHOW(msgctl(own, IPC_STAT, &status));
    printf("%u %u %u\n", status.msg_perm.uid, status.msg_perm.cuid, status.msg_perm.cgid);
  });
  SHOW(msgsnd(queue, &message, 5, 0));
}

}  // namespace

const Scenario kProcessScenarios[] = {{"forked_during_a_call", forked_during_a_call},
                                      {"many_children", many_children},
                                      {"forked_in_a_handler", forked_in_a_handler},
                                      {"vforked", vforked},
                                      {"cloned", cloned},
                                      {"executed", executed},
                                      {"use_inherited_ids", use_inherited_ids},
                                      {"descriptors_closed", descriptors_closed},
                                      {"descriptors_closed_in_a_handler", descriptors_closed_in_a_handler},
                                      {"daemonized", daemonized},
                                      {"identities", identities},
                                      {nullptr, nullptr}};
