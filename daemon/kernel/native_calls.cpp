#include "daemon/kernel/native_calls.h"

#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

#include "wire/check.h"
#include "wire/overloaded.h"

namespace dipc {
namespace {

constexpr long kLongMax = std::numeric_limits<long>::max();
constexpr long kLongMin = std::numeric_limits<long>::min();

// A readable page with an unreadable one behind it, for the life of the process: the kernel, or qemu in its place,
// finds the fault itself, at the very access where it would have found it in the caller.
class FaultingPages {
 public:
  FaultingPages() : page_bytes_(static_cast<std::size_t>(sysconf(_SC_PAGESIZE))) {
    void* pages = mmap(nullptr, 2 * page_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    DIPC_CHECK(pages != MAP_FAILED);
    base_ = static_cast<std::byte*>(pages);
    DIPC_CHECK(mprotect(base_ + page_bytes_, page_bytes_, PROT_NONE) == 0);
  }
  ~FaultingPages() { munmap(base_, 2 * page_bytes_); }
  FaultingPages(const FaultingPages&) = delete;
  FaultingPages& operator=(const FaultingPages&) = delete;
  std::byte* unreadable() const { return base_ + page_bytes_; }

 private:
  std::size_t page_bytes_;
  std::byte* base_ = nullptr;
};

const FaultingPages& faulting_pages() {
  static const auto* const pages = new FaultingPages;  // kept to the end: threads may outlive static objects
  return *pages;
}

// The kernel refuses a negative tv_sec with EINVAL, which is what a negative time-out stands for. A 32-bit tv_sec ends
// after 68 years; nobody sees the end of that wait.
timespec to_timespec(Duration left) {
  timespec time{};
  if (left < Duration::zero()) {
    time.tv_sec = -1;
    return time;
  }
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
  const auto seconds_max = static_cast<std::chrono::seconds::rep>(std::numeric_limits<decltype(time.tv_sec)>::max());
  time.tv_sec = static_cast<decltype(time.tv_sec)>(std::min<std::chrono::seconds::rep>(seconds.count(), seconds_max));
  time.tv_nsec = static_cast<decltype(time.tv_nsec)>((left - seconds).count());
  return time;
}

Outcome outcome_of(long value) {
  if (value < 0) return {-1, errno};
  return {value, 0};
}

Outcome make(const NativeSend& call, int flags) {
  if (call.text_is_readable) return outcome_of(msgsnd(call.queue, call.message.data(), call.text_bytes, flags));
  // The type can be read, the text can't: it lies at the end of a readable page. Several threads may be here, so each
  // has pages of its own.
  const FaultingPages pages;
  std::byte* const at = pages.unreadable() - sizeof(long);
  std::memcpy(at, call.message.data(), sizeof(long));
#ifdef DIPC_SANITIZED
  // A sanitizer's msgsnd() reads the text before the kernel does, and takes what is meant here for a mistake.
  return outcome_of(syscall(SYS_msgsnd, call.queue, at, call.text_bytes, flags));
#else
  return outcome_of(msgsnd(call.queue, at, call.text_bytes, flags));
#endif
}

Outcome make(const NativeReceive& call, int flags) {
  const Outcome outcome = outcome_of(msgrcv(call.queue, call.into, call.text_bytes, call.type, call.flags | flags));
  // qemu-user writes some type also where nothing came; in a slot that would be a message that was received.
  if (outcome.error != 0) std::memset(call.into, 0, sizeof(long));
  return outcome;
}

Outcome make(const NativeOperate& call, int flags, const std::optional<Duration>& left) {
  timespec time{};
  timespec* time_pointer = nullptr;
  if (left) {
    time = to_timespec(*left);
    time_pointer = &time;
  }
  if (call.unreadable) {
    return outcome_of(semtimedop(call.set, static_cast<sembuf*>(unreadable_memory()), call.count, time_pointer));
  }
  // semtimedop(2) does not write to the operations; its prototype merely lacks the const.
  if (flags == 0)
    return outcome_of(semtimedop(call.set, const_cast<sembuf*>(call.ops.data()), call.count, time_pointer));
  std::vector<sembuf> ops = call.ops;
  for (sembuf& op : ops) op.sem_flg = static_cast<short>(op.sem_flg | flags);
  return outcome_of(semtimedop(call.set, ops.data(), call.count, time_pointer));
}

}  // namespace

void* unreadable_memory() { return faulting_pages().unreadable(); }

NativeSend to_native(const MessageSend& call) {
  NativeSend native;
  native.queue = call.object.id;
  native.no_wait = call.no_wait;
  native.message.resize(sizeof(long) + call.text.size());
  // A type beyond our long is as little a type of this machine as 0 is: the kernel says EINVAL where it says it of 0.
  const long type = call.type > kLongMax ? 0 : call.type < kLongMin ? kLongMin : static_cast<long>(call.type);
  std::memcpy(native.message.data(), &type, sizeof type);
  if (!call.text.empty()) std::memcpy(native.message.data() + sizeof type, call.text.data(), call.text.size());
  // A size beyond our size_t is beyond any msgmax: the kernel says EINVAL of the largest too.
  native.text_bytes =
      static_cast<std::size_t>(std::min<std::uint64_t>(call.declared_bytes, std::numeric_limits<std::size_t>::max()));
  // More declared than given is unreadable, whatever the peer says: nothing beyond the text may be read here.
  native.text_is_readable = !call.unreadable && call.declared_bytes <= call.text.size();
  return native;
}

std::optional<std::uint64_t> text_bytes_wanted(const MessageReceive& call) {
  const bool negative = call.type_bytes == 4 ? static_cast<std::int32_t>(call.max_bytes) < 0
                                             : static_cast<std::int64_t>(call.max_bytes) < 0;
  if (negative) return std::nullopt;
  return call.type_bytes == 4 ? call.max_bytes & std::numeric_limits<std::uint32_t>::max() : call.max_bytes;
}

std::optional<NativeReceive> to_native(const MessageReceive& call, void* into, std::size_t room_bytes) {
  NativeReceive native;
  native.queue = call.object.id;
  native.into = into;
  const std::optional<std::uint64_t> wanted = text_bytes_wanted(call);
  native.text_bytes = wanted ? static_cast<std::size_t>(std::min<std::uint64_t>(*wanted, room_bytes))
                             : std::numeric_limits<std::size_t>::max();
  // With less room than the caller has, a longer message would be cut shorter than it asked for: E2BIG instead, and the
  // executor gives more room.
  const bool clamped = wanted && *wanted > room_bytes;
  if (call.no_error && !clamped) native.flags |= MSG_NOERROR;
  if (call.no_wait) native.flags |= IPC_NOWAIT;
  if (call.except) native.flags |= MSG_EXCEPT;
  if (call.copy) native.flags |= MSG_COPY;
  native.type = static_cast<long>(std::clamp<std::int64_t>(call.type, kLongMin, kLongMax));
  if (call.type > kLongMax && !call.copy) {
    if (!call.except) return std::nullopt;
    native.type = 0;  // every message here has another type: any
    native.flags &= ~MSG_EXCEPT;
  }
  return native;
}

NativeOperate to_native(const SemaphoreOperate& call) {
  NativeOperate native;
  native.set = call.object.id;
  native.count = static_cast<unsigned>(call.declared_ops);  // as the system call itself takes it
  native.unreadable = call.unreadable || native.count != call.ops.size();
  native.ops.reserve(call.ops.size());
  for (const SemaphoreOp& op : call.ops) {
    int flags = 0;
    if (op.no_wait) flags |= IPC_NOWAIT;
    if (op.undo) flags |= SEM_UNDO;
    native.ops.push_back(sembuf{op.number, op.delta, static_cast<short>(flags)});
  }
  if (call.timeout_ns) native.timeout = Duration(*call.timeout_ns);
  return native;
}

int object_of(const NativeCall& call) {
  return std::visit(Overloaded{[](const NativeSend& send) { return send.queue; },
                               [](const NativeReceive& receive) { return receive.queue; },
                               [](const NativeOperate& operate) { return operate.set; }},
                    call);
}

Outcome attempt(const NativeCall& call) {
  return std::visit(Overloaded{[](const NativeSend& send) { return make(send, IPC_NOWAIT); },
                               [](const NativeReceive& receive) {
                                 // MSG_COPY without IPC_NOWAIT is EINVAL and never sleeps.
                                 return make(receive, (receive.flags & MSG_COPY) != 0 ? 0 : IPC_NOWAIT);
                               },
                               [](const NativeOperate& operate) { return make(operate, IPC_NOWAIT, operate.timeout); }},
                    call);
}

bool is_undecided(const NativeCall& call, const Outcome& outcome) {
  return std::visit(Overloaded{[&](const NativeSend& send) { return outcome.error == EAGAIN && !send.no_wait; },
                               [&](const NativeReceive& receive) {
                                 return outcome.error == ENOMSG && (receive.flags & (IPC_NOWAIT | MSG_COPY)) == 0;
                               },
                               [&](const NativeOperate& operate) {
                                 const auto waits = [](const sembuf& op) { return (op.sem_flg & IPC_NOWAIT) == 0; };
                                 return outcome.error == EAGAIN && operate.timeout != Duration::zero() &&
                                        std::any_of(operate.ops.begin(), operate.ops.end(), waits);
                               }},
                    call);
}

Outcome make_blocking(const NativeCall& call, std::optional<Duration> left) {
  return std::visit(Overloaded{[](const NativeSend& send) { return make(send, send.no_wait ? IPC_NOWAIT : 0); },
                               [](const NativeReceive& receive) { return make(receive, 0); },
                               [&](const NativeOperate& operate) { return make(operate, 0, left); }},
                    call);
}

}  // namespace dipc
