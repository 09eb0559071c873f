// Threads in calls at once, and threads that are cancelled in one.

#include <pthread.h>
#include <sys/resource.h>

#include <atomic>

#include "tests/shim/subject/subject.h"

namespace {

constexpr int kThreads = 8;
constexpr int kMessagesEach = 50;

struct Echo {
  int to;
  int from;
  long number;
  int wrong;
};

void* client(void* argument) {
  auto* echo = static_cast<Echo*>(argument);
  for (int i = 0; i < kMessagesEach; ++i) {
    Message message{echo->number, {}};
    memcpy(message.text, &i, sizeof i);
    if (msgsnd(echo->to, &message, sizeof i, 0) != 0) ++echo->wrong;
    message = {};
    if (msgrcv(echo->from, &message, 100, echo->number, 0) != sizeof i) ++echo->wrong;
    int got;
    memcpy(&got, message.text, sizeof got);
    if (got != i) ++echo->wrong;
  }
  return nullptr;
}

void* server(void* argument) {
  auto* echo = static_cast<Echo*>(argument);
  for (int i = 0; i < kThreads * kMessagesEach; ++i) {
    Message message;
    if (msgrcv(echo->to, &message, 100, 0, 0) != sizeof(int)) ++echo->wrong;
    if (msgsnd(echo->from, &message, sizeof(int), 0) != 0) ++echo->wrong;
  }
  return nullptr;
}

void many_threads() {
  Queue to;
  Queue from;
  pthread_t threads[kThreads + 1];
  Echo echoes[kThreads + 1];
  for (int i = 0; i <= kThreads; ++i) {
    echoes[i] = {to, from, i + 1, 0};
    threads[i] = start_thread(i == kThreads ? server : client, &echoes[i]);
  }
  int wrong = 0;
  for (int i = 0; i <= kThreads; ++i) {
    pthread_join(threads[i], nullptr);
    wrong += echoes[i].wrong;
  }
  printf("%d wrong, %ld and %ld left\n", wrong, to.count(), from.count());
}

void* one_call(void* set) {
  sembuf up{0, 1, 0};
  if (semop(*static_cast<int*>(set), &up, 1) != 0) printf("semop %s\n", strerrorname_np(errno));
  return nullptr;
}

// A thread that ends leaves no descriptor behind.
void threads_come_and_go() {
  rlimit few{100, 100};
  MUST(setrlimit(RLIMIT_NOFILE, &few));
  Set set(1);
  int id = set;
  for (int i = 0; i < 200; ++i) {
    pthread_t thread = start_thread(one_call, &id);
    pthread_join(thread, nullptr);
  }
  SHOW(semctl(set, 0, GETVAL));
}

struct Victim {
  int queue;
  int set;
  int full;
  enum { kReceive, kSend, kOperate } what;
  std::atomic<int> cleaned;
  std::atomic<int> blocked_signals;
  std::atomic<int> result;
  std::atomic<bool> ready;
};

void clean(void* argument) {
  auto* victim = static_cast<Victim*>(argument);
  sigset_t now;
  pthread_sigmask(SIG_SETMASK, nullptr, &now);
  victim->blocked_signals = sigismember(&now, SIGTERM) + sigismember(&now, SIGUSR1);
  victim->cleaned = 1;
}

void* blocked(void* argument) {
  auto* victim = static_cast<Victim*>(argument);
  pthread_cleanup_push(clean, victim);
  Message message{1, {}};
  sembuf down{0, -1, 0};
  victim->ready = true;
  switch (victim->what) {
    case Victim::kReceive:
      victim->result = static_cast<int>(msgrcv(victim->queue, &message, 100, 0, 0));
      break;
    case Victim::kSend:
      victim->result = msgsnd(victim->full, &message, sizeof message.text, 0);
      break;
    case Victim::kOperate:
      victim->result = semop(victim->set, &down, 1);
      if (victim->result < 0) victim->result = -errno;
      break;
  }
  pthread_cleanup_pop(0);
  return nullptr;
}

// msgrcv and msgsnd are cancellation points, semop is none. `wait_us`: how long after the thread
// said that it is about to call.
void cancel(decltype(Victim::what) what, useconds_t wait_us) {
  Queue queue;
  Queue full;
  full.fill();
  Set set(1);
  Victim victim{queue, set, full, what, 0, 0, 0, false};
  pthread_t thread = start_thread(blocked, &victim);
  while (!victim.ready) sched_yield();
  if (what == Victim::kOperate) {
    while (semctl(set, 0, GETNCNT) == 0) usleep(1000);
  }
  if (wait_us > 0) usleep(wait_us);
  pthread_cancel(thread);
  if (what == Victim::kOperate) {
    usleep(20000);
    sembuf up{0, 1, 0};
    MUST(semop(set, &up, 1));
  }
  void* how = nullptr;
  pthread_join(thread, &how);
  printf("cancelled %d, cleaned %d, result %s, blocked %d\n", how == PTHREAD_CANCELED, victim.cleaned.load(),
         victim.result == 0 ? "none" : strerrorname_np(-victim.result), victim.blocked_signals.load());
  // What the thread waited for is still there for others.
  queue.send(1, "next");
  Message message{};
  long got = msgrcv(queue, &message, 100, 0, IPC_NOWAIT);
  printf("next: %ld %s\n", got, got < 0 ? strerrorname_np(errno) : message.text);
  SHOW(semctl(set, 0, GETNCNT));
}

void cancelled() {
  for (useconds_t wait_us : {50000u, 0u, 50000u}) {
    cancel(Victim::kReceive, wait_us);
    cancel(Victim::kSend, wait_us);
  }
  cancel(Victim::kOperate, 0);
}

void* not_cancellable(void* argument) {
  auto* victim = static_cast<Victim*>(argument);
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, nullptr);
  victim->ready = true;
  Message message{};
  victim->result = static_cast<int>(msgrcv(victim->queue, &message, 100, 0, 0));
  return nullptr;
}

void cancellation_disabled() {
  Queue queue;
  Victim victim{queue, -1, -1, Victim::kReceive, 0, 0, 0, false};
  pthread_t thread = start_thread(not_cancellable, &victim);
  while (!victim.ready) sched_yield();
  usleep(20000);
  pthread_cancel(thread);
  usleep(20000);
  queue.send(1, "four");
  void* how = nullptr;
  pthread_join(thread, &how);
  printf("cancelled %d, result %d\n", how == PTHREAD_CANCELED, victim.result.load());
}

// setuid() in one thread is carried out in all of them, by a signal that must not be blocked. It ends blocked calls.
void* wait_for_message(void* argument) {
  auto* victim = static_cast<Victim*>(argument);
  victim->ready = true;
  Message message{};
  long bytes;
  do {
    bytes = msgrcv(victim->queue, &message, 100, 0, 0);
  } while (bytes < 0 && errno == EINTR);
  victim->result = static_cast<int>(bytes);
  return nullptr;
}

void identity_of_all_threads() {
  Queue queue(0666);
  Victim victim{queue, -1, -1, Victim::kReceive, 0, 0, 0, false};
  pthread_t thread = start_thread(wait_for_message, &victim);
  while (!victim.ready) sched_yield();
  usleep(20000);
  for (int i = 0; i < 10; ++i) {
    MUST(seteuid(geteuid()));
    usleep(1000);
  }
  queue.send(1, "done");
  pthread_join(thread, nullptr);
  printf("%d\n", victim.result.load());
}

}  // namespace

const Scenario kThreadScenarios[] = {{"many_threads", many_threads},
                                     {"threads_come_and_go", threads_come_and_go},
                                     {"cancelled", cancelled},
                                     {"cancellation_disabled", cancellation_disabled},
                                     {"identity_of_all_threads", identity_of_all_threads},
                                     {nullptr, nullptr}};
