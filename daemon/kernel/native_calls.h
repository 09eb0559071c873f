#pragma once

// Remote calls in this machine's terms: C types of this ABI, buffers of our own, kernel ids. What a caller on another
// machine asked for may not be representable here (a msgsz beyond our size_t, a msgtyp beyond our long); the
// translation keeps the kernel's judgement wherever there is one. Rules: msgop(2), semop(2), ipc/msg.c and ipc/sem.c of
// Linux.

#include <sys/sem.h>
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "daemon/core/time.h"
#include "wire/messages.h"

namespace dipc {

// What a system call said: `error` is errno, 0 = it succeeded and `value` is what it returned. `thread`: the one that
// made it, where it may have slept; otherwise 0.
struct Outcome {
  long value = 0;
  int error = 0;
  pid_t thread = 0;
};

// `message` is struct msgbuf: a long and the text. `buffer` is given to the kernel: message.data(), or something that
// can't be read.
struct NativeSend {
  int queue = 0;
  std::vector<std::byte> message;
  std::size_t text_bytes = 0;  // msgsz
  bool no_wait = false;
  bool text_is_readable = true;  // false: EFAULT where the kernel comes to the text. A caller whose type can't be read
                                 // has had its EFAULT before this
};

// `into` is a struct msgbuf with room for text_bytes, borrowed (a slot, see slots.h).
struct NativeReceive {
  int queue = 0;
  void* into = nullptr;        // struct msgbuf; its type becomes 0 if the call fails
  std::size_t text_bytes = 0;  // msgsz
  long type = 0;
  int flags = 0;  // MSG_NOERROR, MSG_EXCEPT, MSG_COPY, IPC_NOWAIT
};

struct NativeOperate {
  int set = 0;
  std::vector<sembuf> ops;
  unsigned count = 0;  // nsops; equal to ops.size() unless unreadable
  bool unreadable = false;
  std::optional<Duration> timeout;  // as asked for; negative is what the kernel calls invalid
};

using NativeCall = std::variant<NativeSend, NativeReceive, NativeOperate>;

NativeSend to_native(const MessageSend& call);
// `room_bytes` is how much text `into` can hold; text_bytes becomes the smaller of it and what the caller asked for, or
// a size that the kernel refuses where the caller's own kernel would have.
// A msgtyp that no message of this machine can have, wanted exactly: nothing (the caller gets EINVAL:
// it would wait for ever here).
std::optional<NativeReceive> to_native(const MessageReceive& call, void* into, std::size_t room_bytes);
NativeOperate to_native(const SemaphoreOperate& call);

// The text that the receive may need room for; nothing where the caller's msgsz is negative as its ssize_t (EINVAL).
std::optional<std::uint64_t> text_bytes_wanted(const MessageReceive& call);

int object_of(const NativeCall& call);

// Makes the call with IPC_NOWAIT: never sleeps.
Outcome attempt(const NativeCall& call);
// Whether attempt()'s answer leaves open what the call will be when it may wait. For semop with some IPC_NOWAIT flags
// EAGAIN is such an answer: only the kernel knows whether the operation that has to wait is one of those.
bool is_undecided(const NativeCall& call, const Outcome& outcome);
// Makes the call with its real flags; `left` is what is left of a semop's time-out. EINTR comes back as such.
Outcome make_blocking(const NativeCall& call, std::optional<Duration> left);

// Memory that a system call can't read: SETALL and IPC_SET of callers whose buffer could not be read.
void* unreadable_memory();

}  // namespace dipc
