// What only a program that runs with DIPC can see, and what it sees when DIPC fails it.

#include <dlfcn.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include <vector>

#include "tests/shim/subject/subject.h"

namespace {

using Ask = int(int);

// Of the shim, if it is there: this program is not linked with it.
template <typename F = Ask>
F* function(const char* name) {
  void* found = dlsym(RTLD_DEFAULT, name);
  if (!found) {
    printf("no %s\n", name);
    exit(3);
  }
  return reinterpret_cast<F*>(found);
}

void tell() {
  auto* version = function<const char*()>("dipc_version");
  printf("version %s\n", version());
  Ask* is_queue = function<>("dipc_is_distributed_msg");
  Ask* is_set = function<>("dipc_is_distributed_sem");
  Queue queue;
  Set set(1);
  int local = MUST(msgget(IPC_PRIVATE, 0600));
  SHOW(is_queue(queue));
  SHOW(is_set(set));
  SHOW(is_queue(local));
  SHOW(is_queue(0x7ffffff0));
  SHOW(is_queue(-1));
  MUST(msgctl(local, IPC_RMID, nullptr));
}

// More objects than the table of ids has places.
void many_ids() {
  constexpr int kObjects = 1100;
  std::vector<int> queues;
  int wrong = 0;
  for (int i = 0; i < kObjects; ++i) queues.push_back(MUST(msgget(IPC_PRIVATE, 0600 | (i % 2 == 0 ? IPC_DIPC : 0))));
  Ask* ask = function<>("dipc_is_distributed_msg");
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < kObjects; ++i) {
      Message message{i + 1, "x"};
      wrong += msgsnd(queues[static_cast<size_t>(i)], &message, 1, IPC_NOWAIT) != 0;
      wrong += (ask(queues[static_cast<size_t>(i)]) != DIPC_LOCAL) != (i % 2 == 0);
    }
  }
  for (int queue : queues) wrong += msgctl(queue, IPC_RMID, nullptr) != 0;
  printf("%d wrong\n", wrong);
}

// On the owner the kernel names the daemon where the caller was a remote one; the daemon knows better.
void pids_on_the_owner() {
  Queue queue;
  Set set(2);
  msqid_ds status;
  MUST(msgctl(queue, IPC_STAT, &status));
  printf("queue: %d %d\n", status.msg_lspid, status.msg_lrpid);
  SHOW(semctl(set, 1, GETPID));
  Message message{1, "own"};
  MUST(msgsnd(queue, &message, 3, 0));
  MUST(msgctl(queue, IPC_STAT, &status));
  printf("mine %d\n", status.msg_lspid == getpid());
#ifdef SYS_msgctl
  MUST(syscall(SYS_msgctl, static_cast<int>(queue), IPC_STAT, &status));
  printf("mine %d\n", status.msg_lspid == getpid());
#endif
}

// Waits in a call until the test does something to the daemon.
void wait_in_receive() {
  Queue queue;
  printf("waiting\n");
  fflush(stdout);
  Message message{1, {}};
  SHOW(msgrcv(queue, &message, 100, 0, 0));
  fflush(stdout);
  // The test goes on when it has read this, and starts another daemon or none.
  char byte;
  while (read(STDIN_FILENO, &byte, 1) == 1) {
    if (byte == '\n') break;
  }
  SHOW(msgsnd(queue, &message, 1, IPC_NOWAIT));
}

// Calls until the end of standard input says to stop; prints each new outcome once.
void call_all_the_time() {
  Queue queue;
  fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
  int last = -1;
  for (;;) {
    Message message{1, "x"};
    int result = msgsnd(queue, &message, 1, IPC_NOWAIT) == 0 ? 0 : errno;
    if (result == 0) msgrcv(queue, &message, 1, 0, IPC_NOWAIT);
    if (result != last) {
      printf("%s\n", result == 0 ? "works" : strerrorname_np(result));
      fflush(stdout);
      last = result;
    }
    char byte;
    if (read(STDIN_FILENO, &byte, 1) == 0) break;
  }
}

long milliseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<long>(now.tv_sec * 1000 + now.tv_nsec / 1'000'000);
}

// Nobody answers: how a get ends, and whether it took at least SUBJECT_MS of time.
void get_without_answer() {
  long began = milliseconds();
  SHOW(msgget(IPC_PRIVATE, IPC_CREAT | IPC_DIPC | 0600));
  const char* least = getenv("SUBJECT_MS");
  printf("waited %d\n", milliseconds() - began >= atol(least ? least : "0"));
}

// A queue of mode 0 owned by root is another host's, and nothing for us while no daemon says what it is.
void stand_in() {
  int queue = MUST(msgget(IPC_PRIVATE, 0));
  Message message{1, "x"};
  SHOW(msgsnd(queue, &message, 1, IPC_NOWAIT));
  SHOW(msgctl(queue, IPC_RMID, nullptr));
  int set = MUST(semget(IPC_PRIVATE, 1, 0));
  sembuf up{0, 1, 0};
  SHOW(semop(set, &up, 1));
}

void no_descriptors_left() {
  Queue queue;
  std::vector<int> taken;
  int one;
  while ((one = open("/dev/null", O_RDONLY)) >= 0) taken.push_back(one);
  Message message{1, "x"};
  SHOW(msgsnd(queue, &message, 1, 0));  // the connection is there
  auto in_thread = [&](auto body) {
    using Body = decltype(body);
    pthread_t thread = start_thread(
        [](void* argument) -> void* {
          (*static_cast<Body*>(argument))();
          return nullptr;
        },
        &body);
    pthread_join(thread, nullptr);
  };
  in_thread([&] {
    SHOW(msgsnd(queue, &message, 1, 0));
    SHOW(msgget(IPC_PRIVATE, IPC_CREAT | IPC_DIPC | 0600));
    SHOW(msgget(IPC_PRIVATE, IPC_CREAT | 0600));
  });
  // A message that needs a descriptor stays where it is until there is one.
  std::vector<char> large(sizeof(long) + 100000);
  long type = 2;
  memcpy(large.data(), &type, sizeof type);
  SHOW(msgsnd(queue, large.data(), 100000, 0));
  close(taken.back());
  SHOW(msgsnd(queue, large.data(), 100000, 0));
  one = MUST(open("/dev/null", O_RDONLY));
  SHOW(msgrcv(queue, large.data(), 100000, 2, IPC_NOWAIT));
  close(one);
  while (queue.count() < 2) usleep(1000);  // until the daemon has put it back
  SHOW(msgrcv(queue, large.data(), 100000, 2, IPC_NOWAIT));
  for (int descriptor : taken) close(descriptor);
}

// A filter that forbids socket(2) from now on.
void forbid_sockets() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),  // seccomp_data.nr
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<__u32>(SYS_socket), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog filter{sizeof program / sizeof program[0], program};
  MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter));
}

void sockets_forbidden() {
  if (getenv("SUBJECT_EARLY")) forbid_sockets();
  SHOW(msgget(IPC_PRIVATE, IPC_CREAT | IPC_DIPC | 0600) >= 0 ? 0 : -1);
  if (!getenv("SUBJECT_EARLY")) forbid_sockets();
  SHOW(msgget(IPC_PRIVATE, IPC_CREAT | 0600) >= 0 ? 0 : -1);
  in_child("child", [] {
    SHOW(msgget(IPC_PRIVATE, IPC_CREAT | IPC_DIPC | 0600) >= 0 ? 0 : -1);
    SHOW(msgget(IPC_PRIVATE, IPC_CREAT | 0600) >= 0 ? 0 : -1);
  });
}

void rooted_elsewhere() {
  Queue queue;
  Message message{1, "x"};
  SHOW(msgsnd(queue, &message, 1, 0));
  char folder[] = "/tmp/dipc-shim-XXXXXX";
  MUST(mkdtemp(folder) ? 0 : -1);
  in_child("chroot", [&] {
    MUST(chroot(folder));
    MUST(chdir("/"));
    SHOW(msgsnd(queue, &message, 1, 0));  // a new process, a new connection
    SHOW(msgget(IPC_PRIVATE, IPC_CREAT | 0600) >= 0 ? 0 : -1);
  });
  MUST(rmdir(folder));
  SHOW(msgsnd(queue, &message, 1, 0));
}

void not_dumpable() {
  MUST(prctl(PR_SET_DUMPABLE, 0));
  Queue queue;
  msqid_ds status;
  SHOW(msgctl(queue, IPC_STAT, &status));
  SHOW(msgctl(queue, IPC_SET, &status));
  SHOW(msgctl(queue, IPC_STAT, (msqid_ds*)1));
}

// argv: a library to load, flags are added; its function `make_queue` makes a distributed queue.
void deep_binding() {
  for (int flags : {RTLD_NOW, RTLD_NOW | RTLD_DEEPBIND}) {
    void* library = dlopen(subject_arguments[2], flags);
    if (!library) {
      printf("%s\n", dlerror());
      exit(3);
    }
    auto* make = reinterpret_cast<int (*)()>(dlsym(library, "make_queue"));
    int queue = make();
    SHOW(function<>("dipc_is_distributed_msg")(queue));
    msgctl(queue, IPC_RMID, nullptr);
    // Found only through the RUNPATH of the library that asks.
    auto* load = reinterpret_cast<int (*)()>(dlsym(library, "load_by_runpath"));
    printf("by RUNPATH: %d\n", load());
    dlclose(library);
  }
  printf("not ours: %d\n", dlopen("libdipc_test_neighbour.so", RTLD_NOW) != nullptr);
}

}  // namespace

// Two files in DIPC_TEST_FOLDER, of which the daemon lists one.
void file_keys() {
  const char* folder = getenv("DIPC_TEST_FOLDER");
  if (!folder || chdir(folder) != 0) exit(3);
  for (const char* name : {"listed", "other"}) close(MUST(creat(name, 0600)));
  unlink("link");
  MUST(symlink("listed", "link"));
  printf("listed %x\n", static_cast<unsigned>(ftok("listed", 'A')));
  printf("through a link %x\n", static_cast<unsigned>(ftok("./link", 0x142)));
  struct stat about;
  MUST(stat("other", &about));
  key_t libcs = static_cast<key_t>(0x41000000 | (about.st_dev & 0xff) << 16 | (about.st_ino & 0xffff));
  printf("other is libc's %d\n", ftok("other", 'A') == libcs);
  SHOW(ftok("absent", 'A'));
  SHOW(ftok("listed/none", 'A'));
}

const Scenario kDipcScenarios[] = {{"tell", tell},
                                   {"file_keys", file_keys},
                                   {"many_ids", many_ids},
                                   {"pids_on_the_owner", pids_on_the_owner},
                                   {"wait_in_receive", wait_in_receive},
                                   {"call_all_the_time", call_all_the_time},
                                   {"get_without_answer", get_without_answer},
                                   {"stand_in", stand_in},
                                   {"no_descriptors_left", no_descriptors_left},
                                   {"sockets_forbidden", sockets_forbidden},
                                   {"rooted_elsewhere", rooted_elsewhere},
                                   {"not_dumpable", not_dumpable},
                                   {"deep_binding", deep_binding},
                                   {nullptr, nullptr}};
