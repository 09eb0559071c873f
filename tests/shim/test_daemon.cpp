// A daemon for the tests of the shim: speaks wire/local.h and makes every call itself, in this host's kernel, under the
// caller's effective ids. So a program can be run bare and through the shim, and has to see the same.
//
//   shim_test_daemon SOCKET [--owned] [--touch] [--foreign] [--silent] [--trace] [--op-timeout-ms N]
//
// Objects that are asked for with IPC_DIPC are distributed (owned by "another host"; with --owned by this one), all
// others are not. --touch: the daemon makes the first calls on each of them itself, as for a remote caller. --foreign
// answers as the daemon of another IPC namespace, --silent never answers a hello. Prints "ready" when it listens, with
// --trace the name of each request. Ends with its standard input.

#include "tests/shim/test_daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>

namespace dipc::test {
namespace {

constexpr size_t kRecordBytesMax = sizeof(Request) + kInlineBytesMax;

// The effective ids of the calling thread alone.
void become(uid_t user, gid_t group) {
#ifdef SYS_setresuid32
  constexpr long kSetUser = SYS_setresuid32, kSetGroup = SYS_setresgid32;
#else
  constexpr long kSetUser = SYS_setresuid, kSetGroup = SYS_setresgid;
#endif
  if (user != 0) {
    if (syscall(kSetGroup, -1L, static_cast<long>(group), -1L) != 0) abort();
    if (syscall(kSetUser, -1L, static_cast<long>(user), -1L) != 0) abort();
  }
}

const char* name_of(Op op) {
  switch (op) {
    case Op::kSend:
      return "send";
    case Op::kReceive:
      return "receive";
    case Op::kOperate:
      return "operate";
    default:
      return "other";
  }
}

}  // namespace

void unbecome() {
#ifdef SYS_setresuid32
  constexpr long kSetUser = SYS_setresuid32, kSetGroup = SYS_setresgid32;
#else
  constexpr long kSetUser = SYS_setresuid, kSetGroup = SYS_setresgid;
#endif
  if (getuid() == 0) {
    syscall(kSetUser, -1L, 0L, -1L);
    syscall(kSetGroup, -1L, 0L, -1L);
  }
}

void Client::serve() {
  bool said_hello = false;
  worker_ = std::thread([this] { work(); });
  for (;;) {
    std::vector<char> record(kRecordBytesMax);
    int memfd = -1;
    ucred who{};
    ssize_t bytes = read_record(record, &memfd, &who);
    if (bytes <= 0) {
      int error = bytes < 0 ? errno : 0;
      end_call(true);
      if (error == ECONNRESET && last_queue_ >= 0) {
        msgsnd(last_queue_, last_message_.data(), last_message_.size() - sizeof(long), IPC_NOWAIT);
      }
      break;
    }
    record.resize(static_cast<size_t>(bytes));
    if (!said_hello) {
      if (g_options.silent) continue;
      hello(record);
      said_hello = true;
      continue;
    }
    Call call;
    if (record.size() < sizeof call.request) break;
    memcpy(&call.request, record.data(), sizeof call.request);
    if (call.request.magic != kMagic) break;
    if (call.request.op == Op::kCancel) {
      end_call(true);
      continue;
    }
    end_call(false);
    last_queue_ = -1;
    if ((call.request.marks & kPayloadInMemfd) != 0 && memfd >= 0) {
      call.payload.resize(call.request.payload_bytes);
      ssize_t got = pread(memfd, call.payload.data(), call.payload.size(), 0);
      call.payload.resize(got > 0 ? static_cast<size_t>(got) : 0);
    } else {
      call.payload.assign(record.begin() + sizeof call.request, record.end());
    }
    if (memfd >= 0) close(memfd);
    call.complete = call.payload.size() == call.request.payload_bytes;
    call.who = who;
    done_ = false;
    replied_ = false;
    {
      std::lock_guard guard(hand_over_);
      next_ = std::move(call);
    }
    changed_.notify_one();
  }
  {
    std::lock_guard guard(hand_over_);
    ended_ = true;
  }
  changed_.notify_one();
  worker_.join();
  close(socket_);
  delete this;
}

ssize_t Client::read_record(std::vector<char>& record, int* memfd, ucred* who) {
  union {
    cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(sizeof(int))];
  } control;
  iovec part{record.data(), record.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = &control;
  message.msg_controllen = sizeof control.bytes;
  ssize_t bytes;
  do {
    bytes = recvmsg(socket_, &message, 0);
  } while (bytes < 0 && errno == EINTR);
  if (bytes <= 0) return bytes;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_type == SCM_RIGHTS) memcpy(memfd, CMSG_DATA(c), sizeof *memfd);
    if (c->cmsg_type == SCM_CREDENTIALS) memcpy(who, CMSG_DATA(c), sizeof *who);
  }
  return bytes;
}

void Client::hello(const std::vector<char>& record) {
  HelloReply reply;
  HelloRequest request;
  if (record.size() != sizeof request) reply.error = EPROTO;
  if (reply.error == 0) {
    memcpy(&request, record.data(), sizeof request);
    if (request.magic != kMagic || request.version != kVersion) reply.error = EPROTO;
  }
  reply.daemon_pid = getpid();
  reply.same_namespace = !g_options.foreign;
  reply.op_timeout_ms = g_options.op_timeout_ms;
  ::send(socket_, &reply, sizeof reply, MSG_NOSIGNAL);
}

// Waits for the call that is being made; `cancel` interrupts it. A signal may come before the thread is in its system
// call, so it is repeated.
void Client::end_call(bool cancel) {
  while (cancel && !done_) {
    pid_t thread = worker_thread_;
    if (thread != 0) syscall(SYS_tgkill, static_cast<long>(getpid()), static_cast<long>(thread), SIGUSR1);
    usleep(1000);
  }
  replied_.wait(false);
}

void Client::work() {
  worker_thread_ = static_cast<pid_t>(syscall(SYS_gettid));
  std::unique_lock lock(hand_over_);
  for (;;) {
    changed_.wait(lock, [this] { return next_ || ended_; });
    if (!next_) return;
    Call call = std::move(*next_);
    next_.reset();
    lock.unlock();
    perform(std::move(call));
    replied_ = true;
    replied_.notify_all();
    lock.lock();
  }
}

void Client::perform(Call call) {
  if (g_options.trace) {
    printf("%s\n", name_of(call.request.op));
    fflush(stdout);
  }
  become(call.who.uid, call.who.gid);
  std::vector<char> payload;
  Reply reply;
  switch (call.request.op) {
    case Op::kGet:
      reply = get(call);
      break;
    case Op::kLookup:
      reply = lookup(call);
      break;
    case Op::kSend:
      reply = send(call);
      break;
    case Op::kReceive:
      receive(call);
      return;
    case Op::kOperate:
      reply = operate(call);
      break;
    case Op::kControl:
      reply = control(call, &payload);
      break;
    case Op::kCallerPids: {
      std::lock_guard guard(g_lock);
      Object& object = g_objects[{call.request.kind, call.request.id}];
      reply.value = 1000001;  // pids that no process here has
      reply.extra = 1000002;
      if (call.request.semaphore >= 0) reply.value = 1000100 + call.request.semaphore;
      (void)object;
      break;
    }
    case Op::kNoteRemoved: {
      std::lock_guard guard(g_lock);
      g_objects.erase({call.request.kind, call.request.id});
      break;
    }
    case Op::kFtok:
      // One file is listed here, whatever it is called: the one that ends with this.
      if (std::string_view(call.payload.data(), call.payload.size()).ends_with("/listed")) {
        reply.value = 0x01000000 * (call.request.value & 0xff) + 0x111111;
        reply.extra = 1;
      }
      break;
    default:
      reply.error = ENOSYS;
  }
  answer(call.request, reply, payload.data(), payload.size());
}

void Client::answer(const Request& request, Reply reply, const void* payload, size_t payload_bytes) {
  unbecome();
  reply.call = request.call;
  reply.payload_bytes = static_cast<uint32_t>(payload_bytes);
  int memfd = -1;
  if (payload_bytes > kInlineBytesMax) {
    memfd = memfd_create("reply", MFD_CLOEXEC);
    if (write(memfd, payload, payload_bytes) != static_cast<ssize_t>(payload_bytes)) abort();
    reply.marks |= kPayloadInMemfd;
    payload_bytes = 0;
  }
  iovec parts[2] = {{&reply, sizeof reply}, {const_cast<void*>(payload), payload_bytes}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  union {
    cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int))];
  } control{};
  if (memfd >= 0) {
    message.msg_control = &control;
    message.msg_controllen = sizeof control.bytes;
    cmsghdr* c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof memfd);
    memcpy(CMSG_DATA(c), &memfd, sizeof memfd);
  }
  done_ = true;
  ssize_t sent;
  do {
    sent = sendmsg(socket_, &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0 && last_queue_ >= 0) {
    msgsnd(last_queue_, last_message_.data(), last_message_.size() - sizeof(long), IPC_NOWAIT);
    last_queue_ = -1;
  }
  if (memfd >= 0) close(memfd);
}

}  // namespace dipc::test

namespace {

using dipc::test::Client;
using dipc::test::g_options;

void on_signal(int) {}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  for (int i = 2; i < argc; ++i) {
    std::string option = argv[i];
    if (option == "--owned") g_options.owned = true;
    if (option == "--foreign") g_options.foreign = true;
    if (option == "--silent") g_options.silent = true;
    if (option == "--touch") g_options.touch = true;
    if (option == "--trace") g_options.trace = true;
    if (option == "--op-timeout-ms" && i + 1 < argc) g_options.op_timeout_ms = static_cast<uint32_t>(atoi(argv[i + 1]));
  }
  unsetenv("LD_PRELOAD");
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigaction(SIGUSR1, &action, nullptr);

  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
  unlink(argv[1]);
  int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  int on = 1;
  if (setsockopt(listener, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0 ||
      bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(listener, 128) != 0) {
    perror(argv[1]);
    return 1;
  }
  chmod(argv[1], 0666);
  printf("ready\n");
  fflush(stdout);
  std::thread watch([] {
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
    _exit(0);
  });
  watch.detach();
  for (;;) {
    int socket = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (socket < 0) continue;
    setsockopt(socket, SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
    std::thread([socket] { (new Client(socket))->serve(); }).detach();
  }
}
