// Signal handlers that run while a call is blocked: they end it, leave it, or make calls themselves.

#include <pthread.h>
#include <setjmp.h>
#include <sys/time.h>
#include <time.h>

#include <atomic>

#include "tests/shim/subject/subject.h"

namespace {

volatile sig_atomic_t g_handled;
void note(int) { g_handled = 1; }

// Whatever SA_RESTART says, these calls are not restarted.
void interrupted(int flags) {
  Queue queue;
  Queue full;
  full.fill();
  Set set(1);
  Message message{1, {}};
  sembuf down{0, -1, 0};
  sembuf up{0, 1, 0};
  timespec long_time{100, 0};
  Alarms alarms(note, flags);
  g_handled = 0;
  SHOW(msgrcv(queue, &message, 100, 0, 0));
  message.type = 1;  // qemu writes to it even where the call fails
  SHOW(msgsnd(full, &message, sizeof message.text, 0));
  message.type = 1;
  SHOW(semop(set, &down, 1));
  SHOW(semtimedop(set, &down, 1, &long_time));
  printf("handled %d\n", g_handled);
  // What does not block is not interrupted.
  int failures = 0;
  for (int i = 0; i < 60; ++i) {
    failures += semop(set, &up, 1) != 0;
    failures += semop(set, &down, 1) != 0;
    failures += msgsnd(queue, &message, 1, IPC_NOWAIT) != 0;
    failures += msgrcv(queue, &message, 1, 0, IPC_NOWAIT) != 1;
  }
  printf("%d failures\n", failures);
}
void interrupted_restarting() { interrupted(SA_RESTART); }
void interrupted_plain() { interrupted(0); }

struct Later {
  int queue;
  pthread_t target;
  int signal;
  std::atomic<bool> stop;
};

// Sends the signal many times, then the message that ends the call.
void* signal_then_send(void* argument) {
  auto* later = static_cast<Later*>(argument);
  for (int i = 0; i < 20; ++i) {
    pthread_kill(later->target, later->signal);
    usleep(5000);
  }
  Message message{9, "late"};
  msgsnd(later->queue, &message, 4, 0);
  return nullptr;
}

// A blocked or ignored signal does not end a call; a blocked one is handled when it is let through.
void not_interrupted() {
  Queue queue;
  struct sigaction action {};
  action.sa_handler = note;
  MUST(sigaction(SIGUSR1, &action, nullptr));
  signal(SIGUSR2, SIG_IGN);
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  MUST(sigprocmask(SIG_BLOCK, &blocked, nullptr));
  for (int number : {SIGUSR1, SIGUSR2}) {
    Later later{queue, pthread_self(), number, false};
    g_handled = 0;
    pthread_t thread = start_thread(signal_then_send, &later);
    Message message{};
    SHOW(msgrcv(queue, &message, 100, 0, 0));
    printf("'%.4s' handled %d\n", message.text, g_handled);
    pthread_join(thread, nullptr);
  }
  sigset_t now;
  sigprocmask(SIG_SETMASK, nullptr, &now);
  printf("blocked: %d %d\n", sigismember(&now, SIGUSR1), sigismember(&now, SIGUSR2));
  sigprocmask(SIG_UNBLOCK, &blocked, nullptr);
  printf("handled %d\n", g_handled);
}

// SIGSTOP and SIGCONT are no interruption.
void stopped_and_continued() {
  Queue queue;
  fflush(stdout);
  pid_t child = MUST(fork());
  if (child == 0) {
    Message message{};
    SHOW(msgrcv(queue, &message, 100, 0, 0));
    fflush(stdout);
    _exit(0);
  }
  for (int i = 0; i < 5; ++i) {
    usleep(20000);
    int status;
    kill(child, SIGSTOP);
    MUST(waitpid(child, &status, WUNTRACED));
    kill(child, SIGCONT);
  }
  queue.send(1, "go on");
  MUST(waitpid(child, nullptr, 0));
}

sigjmp_buf g_back;
void jump(int) { siglongjmp(g_back, 1); }

void* leave_and_end(void* queue) {
  sigset_t alarm_only;
  sigemptyset(&alarm_only);
  sigaddset(&alarm_only, SIGALRM);
  if (sigsetjmp(g_back, 1) == 0) {
    pthread_sigmask(SIG_UNBLOCK, &alarm_only, nullptr);
    Message none;
    msgrcv(*static_cast<int*>(queue), &none, 100, 0, 0);
    printf("came back\n");
  }
  pthread_exit(nullptr);
}

// Blocks in a call until the handler jumps out of it.
void block_and_jump(int queue, int set, bool receives) {
  Alarms alarms(jump);
  if (sigsetjmp(g_back, 1) == 0) {
    Message message;
    sembuf down{0, -1, 0};
    if (receives) {
      msgrcv(queue, &message, 100, 0, 0);
    } else {
      semop(set, &down, 1);
    }
    printf("came back\n");
  }
}

// The call that the handler left must not take the next message, nor disturb the calls that follow.
void left_by_jump() {
  Queue queue;
  Set set(1);
  int lost = 0;
  for (int i = 0; i < 20; ++i) {
    block_and_jump(queue, set, i % 2 == 0);
    queue.send(1, "mine");
    Message message{};
    lost += msgrcv(queue, &message, 100, 0, IPC_NOWAIT) != 4 || memcmp(message.text, "mine", 4) != 0;
  }
  printf("%d lost\n", lost);
  SHOW(semctl(set, 0, GETNCNT));
  SHOW(semctl(set, 0, GETVAL));
  // A thread that was left so can still end.
  sigset_t alarm_only;
  sigemptyset(&alarm_only);
  sigaddset(&alarm_only, SIGALRM);
  pthread_sigmask(SIG_BLOCK, &alarm_only, nullptr);
  Alarms alarms(jump);
  int id = queue;
  pthread_t thread = start_thread(leave_and_end, &id);
  pthread_join(thread, nullptr);
  printf("joined\n");
}

const Queue* g_queue;
const Set* g_set;
int g_rounds;
void call_from_handler(int) {
  // Each kind of call, on the objects that the interrupted call is about.
  Message message{2, "from the handler"};
  int error = errno;
  msqid_ds status;
  if (msgsnd(*g_queue, &message, 16, IPC_NOWAIT) != 0) printf("send %s\n", strerrorname_np(errno));
  if (msgctl(*g_queue, IPC_STAT, &status) != 0) printf("stat %s\n", strerrorname_np(errno));
  if (semctl(*g_set, 0, GETVAL) != 0) printf("value\n");
  if (msgrcv(*g_queue, &message, 100, 2, IPC_NOWAIT) != 16) printf("receive %s\n", strerrorname_np(errno));
  ++g_rounds;
  errno = error;
}

void calls_in_handlers() {
  Queue queue;
  Queue full;
  full.fill();
  Set set(1);
  g_queue = &queue;
  g_set = &set;
  Message message{};
  sembuf down{0, -1, 0};
  {
    Alarms alarms(call_from_handler);
    SHOW(msgrcv(queue, &message, 100, 1, 0));
    SHOW(msgsnd(full, &(message = Message{1, {}}), sizeof message.text, 0));
    SHOW(semop(set, &down, 1));
  }
  printf("handler ran %d\n", g_rounds >= 3);
  SHOW(msgrcv(queue, &message, 100, 0, IPC_NOWAIT));
  SHOW(semctl(set, 0, GETVAL));
  SHOW(semctl(set, 0, GETNCNT));
}

// Handlers interrupted by handlers, each in a call of its own.
int g_depth;
void nest(int) {
  if (++g_depth < 4) {
    Message message;
    sigset_t mine;
    sigemptyset(&mine);
    sigaddset(&mine, SIGALRM);
    sigprocmask(SIG_UNBLOCK, &mine, nullptr);
    int depth = g_depth;
    long result = msgrcv(*g_queue, &message, 100, 0, 0);
    sigprocmask(SIG_BLOCK, &mine, nullptr);
    printf("depth %d: %ld %s\n", depth, result, strerrorname_np(errno));
  }
}

void nested_handlers() {
  Queue queue;
  g_queue = &queue;
  g_depth = 0;
  Message message;
  Alarms alarms(nest, SA_RESTART);
  SHOW(msgrcv(queue, &message, 100, 0, 0));
}

// Messages that are sent while the receiver is interrupted all the time arrive once each.
void receive_again(int) {
  static int turn;
  if (++turn % 3 == 0) {
    msqid_ds status;
    msgctl(*g_queue, IPC_STAT, &status);
  }
}

void storm() {
  constexpr int kMessages = 400;
  Queue queue;
  g_queue = &queue;
  fflush(stdout);
  pid_t child = MUST(fork());
  if (child == 0) {
    for (int i = 0; i < kMessages; ++i) {
      Message message{1, {}};
      memcpy(message.text, &i, sizeof i);
      if (msgsnd(queue, &message, sizeof i, 0) != 0) printf("send %s\n", strerrorname_np(errno));
      if (i % 20 == 0) usleep(3000);
    }
    fflush(stdout);
    _exit(0);
  }
  struct sigaction action {};
  action.sa_handler = receive_again;
  MUST(sigaction(SIGALRM, &action, nullptr));
  int seen[kMessages] = {};
  bool was_interrupted = false;
  for (int got = 0, turn = 0; got < kMessages; ++turn) {
    // One signal, somewhere in the call; none in the call that follows an interruption, or a slow machine gets nowhere.
    if (!was_interrupted) {
      itimerval soon{{0, 0}, {0, 50 + turn * 37 % 1500}};
      MUST(setitimer(ITIMER_REAL, &soon, nullptr));
    }
    Message message{};
    long bytes = msgrcv(queue, &message, 100, 0, 0);
    was_interrupted = bytes < 0 && errno == EINTR;
    if (was_interrupted) continue;
    if (bytes != sizeof(int)) {
      printf("receive: %ld %s\n", bytes, strerrorname_np(errno));
      break;
    }
    int number;
    memcpy(&number, message.text, sizeof number);
    ++seen[number];
    ++got;
  }
  itimerval never{};
  setitimer(ITIMER_REAL, &never, nullptr);
  int wrong = 0;
  for (int count : seen) wrong += count != 1;
  while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  printf("%d not exactly once, %ld left\n", wrong, queue.count());
}

}  // namespace

const Scenario kSignalScenarios[] = {{"interrupted_restarting", interrupted_restarting},
                                     {"interrupted_plain", interrupted_plain},
                                     {"not_interrupted", not_interrupted},
                                     {"stopped_and_continued", stopped_and_continued},
                                     {"left_by_jump", left_by_jump},
                                     {"calls_in_handlers", calls_in_handlers},
                                     {"nested_handlers", nested_handlers},
                                     {"storm", storm},
                                     {nullptr, nullptr}};
