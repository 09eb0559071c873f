#include <sys/mman.h>
#include <sys/time.h>

#include "tests/shim/subject/subject.h"

char** subject_arguments;

bool is_held_against_another_machine() { return getenv("SUBJECT_OTHER_MACHINE") != nullptr; }

void Queue::send(long type, const char* text) const {
  Message message{type, {}};
  strncpy(message.text, text, sizeof message.text - 1);
  MUST(msgsnd(id_, &message, strlen(text), 0));
}

long Queue::count() const {
  msqid_ds status;
  MUST(msgctl(id_, IPC_STAT, &status));
  return static_cast<long>(status.msg_qnum);
}

void Queue::fill() const {
  msqid_ds status;
  MUST(msgctl(id_, IPC_STAT, &status));
  status.msg_qbytes = 2048;
  MUST(msgctl(id_, IPC_SET, &status));
  Message message{1, {}};
  while (msgsnd(id_, &message, sizeof message.text, IPC_NOWAIT) == 0) {
  }
  if (errno != EAGAIN) printf("filling ended with %s\n", strerrorname_np(errno));
}

Alarms::Alarms(void (*handler)(int), int flags) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  MUST(sigaction(SIGALRM, &action, nullptr));
  itimerval every{{0, 20'000}, {0, 20'000}};
  MUST(setitimer(ITIMER_REAL, &every, nullptr));
}

Alarms::~Alarms() {
  itimerval never{};
  setitimer(ITIMER_REAL, &never, nullptr);
  signal(SIGALRM, SIG_IGN);
}

pthread_t start_thread(void* (*body)(void*), void* argument) {
  pthread_t thread;
  int error = pthread_create(&thread, nullptr, body, argument);
  if (error != 0) {
    printf("no thread: %s\n", strerror(error));
    exit(3);
  }
  return thread;
}

char* before_the_border(size_t bytes) {
  static char* pages = [] {
    size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    void* memory = mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(memory);
    MUST(munmap(static_cast<char*>(memory) + page, page));
    return static_cast<char*>(memory) + page;
  }();
  return pages - bytes;
}

int main(int argc, char** argv) {
  subject_arguments = argv;
  if (argc < 2) return 2;
  for (const Scenario* list : {kCallScenarios, kSignalScenarios, kProcessScenarios, kThreadScenarios, kDipcScenarios}) {
    for (const Scenario* scenario = list; scenario->name; ++scenario) {
      if (strcmp(scenario->name, argv[1]) == 0) {
        scenario->run();
        return 0;
      }
    }
  }
  fprintf(stderr, "no scenario %s\n", argv[1]);
  return 2;
}
