// A daemon for the tests of the shim: speaks wire/local.h and makes every call itself, in this host's kernel, under the
// caller's effective ids. So a program can be run bare and through the shim, and has to see the same.
//
//   shim_test_daemon SOCKET [--owned] [--touch] [--foreign] [--silent] [--trace] [--op-timeout-ms N]
//
// Objects that are asked for with IPC_DIPC are distributed (owned by "another host"; with --owned by this one), all
// others are not. --touch: the daemon makes the first calls on each of them itself, as for a remote caller. --foreign
// answers as the daemon of another IPC namespace, --silent never answers a hello. Prints "ready" when it listens, with
// --trace the name of each request. Ends with its standard input.

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "shim/dipc.h"
#include "shim/id_table.h"
#include "wire/local.h"

namespace {

using namespace dipc::local;
using dipc::shim::Kind;

struct Options {
  bool owned = false;
  bool foreign = false;
  bool silent = false;
  bool touch = false;
  bool trace = false;
  uint32_t op_timeout_ms = 2000;
};
Options g_options;

struct Object {
  uint32_t semaphores = 0;
  int32_t sender = 0, receiver = 0;  // pids of the last callers
  std::map<int, int32_t> operators;  // of each semaphore
};
std::mutex g_lock;
std::map<std::pair<uint32_t, int>, Object> g_objects;  // the distributed ones

constexpr size_t kMessageBytesMax = size_t{4} << 20;
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

// Memory that can't be read, with some before it that can.
void* unreadable() {
  static char* pages = [] {
    size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    char* memory =
        static_cast<char*>(mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (memory == MAP_FAILED || mprotect(memory + page, page, PROT_NONE) != 0) abort();
    return memory + page;
  }();
  return pages;
}

class Client {
 public:
  explicit Client(int socket) : socket_(socket) {}
  void serve();

 private:
  struct Call {
    Request request;
    std::vector<char> payload;
    bool complete = false;  // all declared bytes came
    ucred who{};
  };
  ssize_t read_record(std::vector<char>& record, int* memfd, ucred* who);
  void hello(const std::vector<char>& record);
  void perform(Call call);
  void end_call(bool cancel);
  void answer(const Request& request, Reply reply, const void* payload, size_t payload_bytes);
  Reply get(const Call& call);
  Reply lookup(const Call& call);
  Reply send(Call& call);
  Reply operate(Call& call);
  Reply control(Call& call, std::vector<char>* payload);
  void receive(Call& call);

  void work();

  int socket_;
  std::thread worker_;  // makes the calls, so that this one can hear of a cancellation
  std::atomic<pid_t> worker_thread_{0};
  std::mutex hand_over_;
  std::condition_variable changed_;
  std::optional<Call> next_;  // guarded by hand_over_, as is the following
  bool ended_ = false;
  std::atomic<bool> done_{true};     // the call has been made
  std::atomic<bool> replied_{true};  // and its reply sent
  // The message in the last reply; put back if it was never read.
  int last_queue_ = -1;
  std::vector<char> last_message_;
};

Reply result(long value) {
  Reply reply;
  reply.value = value;
  if (value < 0) reply.error = errno;
  return reply;
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

// Calls in which the kernel sees the daemon.
void touch(Kind kind, int id) {
  if (kind == Kind::kMessageQueue) {
    struct {
      long type;
      char text[8];
    } message{1, "touch"};
    msgsnd(id, &message, 5, 0);
    msgrcv(id, &message, 5, 0, 0);
  } else {
    sembuf up{1, 1, 0};
    semop(id, &up, 1);
  }
}

Reply Client::get(const Call& call) {
  const Request& request = call.request;
  Reply reply;
  if ((request.flags & IPC_DIPC) == 0) return reply;  // kLocal: the program asks its kernel itself
  Kind kind = static_cast<Kind>(request.kind);
  switch (kind) {
    case Kind::kMessageQueue:
      reply = result(msgget(request.key, request.flags));
      break;
    case Kind::kSemaphoreSet:
      reply = result(semget(request.key, static_cast<int>(request.size), request.flags));
      break;
    case Kind::kSegment:
      reply = result(shmget(request.key, static_cast<size_t>(request.size), request.flags));
      break;
  }
  if (reply.error != 0) return reply;
  reply.where = g_options.owned ? Where::kOwned : Where::kRemote;
  unbecome();
  if (kind == Kind::kSegment) {
    std::lock_guard guard(g_lock);
    g_objects[{request.kind, static_cast<int>(reply.value)}].sender = call.who.pid;
    return reply;
  }
  if (g_options.touch) touch(kind, static_cast<int>(reply.value));
  std::lock_guard guard(g_lock);
  Object& object = g_objects[{request.kind, static_cast<int>(reply.value)}];
  semid_ds status{};
  if (kind == Kind::kSemaphoreSet && semctl(static_cast<int>(reply.value), 0, IPC_STAT, &status) == 0) {
    object.semaphores = static_cast<uint32_t>(status.sem_nsems);
  }
  return reply;
}

Reply Client::lookup(const Call& call) {
  std::lock_guard guard(g_lock);
  Reply reply;
  auto found = g_objects.find({call.request.kind, call.request.id});
  if (found == g_objects.end()) return reply;
  reply.where = g_options.owned ? Where::kOwned : Where::kRemote;
  reply.value = call.request.id;
  reply.extra = found->second.semaphores;
  return reply;
}

Reply Client::send(Call& call) {
  void* message = call.payload.data();
  if (!call.complete) {  // the type, as far as it came, just before what can't be read
    message = static_cast<char*>(unreadable()) - std::min(call.payload.size(), sizeof(long));
    memcpy(message, call.payload.data(), std::min(call.payload.size(), sizeof(long)));
  }
#ifdef DIPC_SANITIZED
  // A sanitizer's msgsnd() reads the text before the kernel does, and takes what is meant here for a mistake.
  long sent = syscall(SYS_msgsnd, call.request.id, message, static_cast<size_t>(call.request.size), call.request.flags);
#else
  int sent = msgsnd(call.request.id, message, static_cast<size_t>(call.request.size), call.request.flags);
#endif
  Reply reply = result(sent);
  std::lock_guard guard(g_lock);
  if (reply.error == 0) g_objects[{call.request.kind, call.request.id}].sender = call.who.pid;
  return reply;
}

void Client::receive(Call& call) {
  auto room = std::clamp<int64_t>(call.request.size, 0, kMessageBytesMax);
  std::vector<char> message(sizeof(long) + static_cast<size_t>(room));
  ssize_t bytes = msgrcv(call.request.id, message.data(), static_cast<size_t>(call.request.size),
                         static_cast<long>(call.request.type), call.request.flags);
  Reply reply = result(bytes);
  message.resize(bytes < 0 ? 0 : static_cast<size_t>(bytes) + sizeof(long));
  if (bytes >= 0) {
    std::lock_guard guard(g_lock);
    g_objects[{call.request.kind, call.request.id}].receiver = call.who.pid;
    if ((call.request.flags & MSG_COPY) == 0) {
      last_message_ = message;
      last_queue_ = call.request.id;
    }
  }
  answer(call.request, reply, message.data(), message.size());
}

Reply Client::operate(Call& call) {
  const Request& request = call.request;
  auto* operations = reinterpret_cast<sembuf*>(call.complete ? call.payload.data() : unreadable());
  timespec timeout{static_cast<time_t>(request.timeout_s), static_cast<long>(request.timeout_ns)};
  bool has_timeout = (request.marks & kHasTimeout) != 0;
  Reply reply =
      result(semtimedop(request.id, operations, static_cast<size_t>(request.size), has_timeout ? &timeout : nullptr));
  if (reply.error == 0) {
    std::lock_guard guard(g_lock);
    for (int64_t i = 0; i < request.size; ++i) {
      g_objects[{request.kind, request.id}].operators[operations[i].sem_num] = call.who.pid;
    }
  }
  return reply;
}

template <typename Status>
void permissions_to(StatRecord& record, const Status& p) {
  record.key = p.__key;
  record.uid = p.uid;
  record.gid = p.gid;
  record.cuid = p.cuid;
  record.cgid = p.cgid;
  record.mode = p.mode;
  record.sequence = p.__seq;
}

Reply Client::control(Call& call, std::vector<char>* payload) {
  const Request& request = call.request;
  StatRecord record;
  Reply reply;
  if (request.command == IPC_RMID) {
    switch (static_cast<Kind>(request.kind)) {
      case Kind::kMessageQueue:
        reply = result(msgctl(request.id, IPC_RMID, nullptr));
        break;
      case Kind::kSemaphoreSet:
        reply = result(semctl(request.id, 0, IPC_RMID));
        break;
      case Kind::kSegment:
        reply = result(shmctl(request.id, IPC_RMID, nullptr));
        break;
    }
    std::lock_guard guard(g_lock);
    if (reply.error == 0) g_objects.erase({request.kind, request.id});
    return reply;
  }
  if (request.command == IPC_SET) memcpy(&record, call.payload.data(), sizeof record);
  if (static_cast<Kind>(request.kind) == Kind::kSegment) {
    shmid_ds status{};
    status.shm_perm.uid = record.uid;
    status.shm_perm.gid = record.gid;
    status.shm_perm.mode = static_cast<decltype(status.shm_perm.mode)>(record.mode);
    reply = result(shmctl(request.id, request.command, &status));
    if (request.command != IPC_STAT || reply.error != 0) return reply;
    std::lock_guard guard(g_lock);
    permissions_to(record, status.shm_perm);
    record.attach_time_s = status.shm_atime;
    record.detach_time_s = status.shm_dtime;
    record.change_time_s = status.shm_ctime;
    record.segment_bytes = status.shm_segsz;
    record.attachments = status.shm_nattch;
    record.creator_pid = g_objects[{request.kind, request.id}].sender;
    record.last_pid = status.shm_lpid;
    payload->assign(reinterpret_cast<char*>(&record), reinterpret_cast<char*>(&record + 1));
    return reply;
  }
  if (static_cast<Kind>(request.kind) == Kind::kMessageQueue) {
    msqid_ds status{};
    status.msg_perm.uid = record.uid;
    status.msg_perm.gid = record.gid;
    status.msg_perm.mode = static_cast<decltype(status.msg_perm.mode)>(record.mode);
    status.msg_qbytes = static_cast<msglen_t>(record.queue_bytes);
    reply = result(msgctl(request.id, request.command, &status));
    if (request.command != IPC_STAT || reply.error != 0) return reply;
    std::lock_guard guard(g_lock);
    const Object& object = g_objects[{request.kind, request.id}];
    permissions_to(record, status.msg_perm);
    record.send_time_s = status.msg_stime;
    record.receive_time_s = status.msg_rtime;
    record.change_time_s = status.msg_ctime;
    record.used_bytes = status.__msg_cbytes;
    record.messages = status.msg_qnum;
    record.queue_bytes = status.msg_qbytes;
    record.last_sender_pid = object.sender;
    record.last_receiver_pid = object.receiver;
    payload->assign(reinterpret_cast<char*>(&record), reinterpret_cast<char*>(&record + 1));
    return reply;
  }
  uint32_t count;
  {
    std::lock_guard guard(g_lock);
    count = g_objects[{request.kind, request.id}].semaphores;
  }
  semid_ds status{};
  switch (request.command) {
    case IPC_SET:
      status.sem_perm.uid = record.uid;
      status.sem_perm.gid = record.gid;
      status.sem_perm.mode = static_cast<decltype(status.sem_perm.mode)>(record.mode);
      return result(semctl(request.id, 0, IPC_SET, &status));
    case IPC_STAT:
      reply = result(semctl(request.id, 0, IPC_STAT, &status));
      if (reply.error != 0) return reply;
      permissions_to(record, status.sem_perm);
      record.operation_time_s = status.sem_otime;
      record.change_time_s = status.sem_ctime;
      record.semaphores = status.sem_nsems;
      payload->assign(reinterpret_cast<char*>(&record), reinterpret_cast<char*>(&record + 1));
      return reply;
    case GETALL:
      payload->resize(count * sizeof(uint16_t));
      reply = result(semctl(request.id, 0, GETALL, payload->data()));
      if (reply.error != 0) payload->clear();
      return reply;
    case SETALL:
      return result(semctl(request.id, 0, SETALL, call.complete ? call.payload.data() : unreadable()));
    case GETPID: {
      reply = result(semctl(request.id, request.semaphore, GETPID));
      std::lock_guard guard(g_lock);
      Object& object = g_objects[{request.kind, request.id}];
      if (reply.error == 0 && object.operators.contains(request.semaphore)) {
        reply.value = object.operators[request.semaphore];
      }
      return reply;
    }
    default:
      return result(semctl(request.id, request.semaphore, request.command, static_cast<int>(request.value)));
  }
}

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
