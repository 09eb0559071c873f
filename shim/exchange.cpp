#include "shim/exchange.h"

#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unwind.h>

#include "shim/daemon_link.h"
#include "shim/kernel_calls.h"
#include "shim/paged_memory.h"
#include "shim/thread_state.h"

namespace dipc::shim {
namespace {

// No owner takes a payload near this (MSGMAX is 8 KiB by default, SEMOPM 500): larger ones are not read at all, so that
// a wild size does not make us copy all that lies above the buffer.
constexpr size_t kBodyBytesMax = size_t{64} << 20;
constexpr int64_t kRetryNs = 1'000'000;  // after ENOBUFS: 1 ms

bool is_gone(long result) { return result == -EPIPE || result == -ECONNRESET || result == -ENOTCONN; }

// What recvmsg found: the reply's header and, if any came along, a descriptor or two (else -1).
struct Received {
  long bytes;
  int memfd;
  int other;
};

// `room_bytes` of a payload go to `room`. With MSG_PEEK the record stays, and descriptors are duplicates.
Received receive(int socket, local::Reply* reply, void* room, size_t room_bytes, int flags, bool wants_descriptors) {
  union {
    cmsghdr align;
    char bytes[CMSG_SPACE(2 * sizeof(int)) + CMSG_SPACE(sizeof(ucred))];
  } control;
  iovec parts[2] = {{reply, sizeof *reply}, {room, room_bytes}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = room_bytes > 0 ? 2 : 1;
  if (wants_descriptors) {
    message.msg_control = &control;
    message.msg_controllen = sizeof control.bytes;
  }
  long bytes = raw(SYS_recvmsg, socket, &message, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  int came[2] = {-1, -1};
  if (bytes >= 0 && wants_descriptors) {
    for (cmsghdr* part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
      if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS) {
        size_t came_bytes = part->cmsg_len - CMSG_LEN(0);
        memcpy(came, CMSG_DATA(part), came_bytes < sizeof came ? came_bytes : sizeof came);
      }
    }
  }
  return {bytes, came[0], came[1]};
}

void send_cancel(const Connection& connection, uint64_t call) {
  local::Request cancel;
  cancel.op = local::Op::kCancel;
  cancel.call = call;
  send_record(connection.socket.number(), &cancel, sizeof cancel, {}, -1);
}

// A call is still outstanding on this socket: we are in a handler that interrupted it, or a handler has left it by
// siglongjmp. Ends it, and keeps how it ended for its frame. A message is not taken from a frame that could not have
// it any more: the socket is closed with the message unread, and the daemon puts it back.
void end_outstanding(Connection& connection) {
  if (connection.outstanding == 0) return;
  Ended how;
  how.call = connection.outstanding;
  how.error = EINTR;
  if (!connection.socket.is_ours()) {
    if (!connection.outstanding_can_end) how.error = ECONNRESET;
    connection.socket.forget();
    connection.outstanding = 0;
    connection.keep(how);
    return;
  }
  if (connection.outstanding_can_end) send_cancel(connection, connection.outstanding);
  int64_t deadline_ns = monotonic_ns() + op_timeout_ns();
  sigset_t all;
  sigfillset(&all);
  local::Reply reply;
  long got;
  for (;;) {
    int64_t left_ns = deadline_ns - monotonic_ns();
    int ready = wait_for(connection.socket.number(), POLLIN, left_ns > 0 ? left_ns : 0, &all);
    if (ready == -EINTR) continue;  // one of libc's own signals
    if (ready <= 0) {
      got = 0;
      break;
    }
    got = receive(connection.socket.number(), &reply, nullptr, 0, MSG_PEEK, false).bytes;
    if (got != -EAGAIN && got != -EINTR) break;
  }
  bool is_message = connection.outstanding_op == local::Op::kReceive && reply.error == 0;
  if (got != sizeof reply || reply.magic != local::kMagic || reply.call != connection.outstanding) {
    how.error = ECONNRESET;
    connection.drop();
  } else if (is_message) {
    connection.drop();
  } else {
    receive(connection.socket.number(), &reply, nullptr, 0, 0, false);
    how.error = 0;
    how.reply_error = reply.error;
    how.value = reply.value;
    how.extra = reply.extra;
    how.where = reply.where;
    how.ask_again = reply.error == 0 && reply.payload_bytes > 0;
    connection.outstanding = 0;
  }
  connection.keep(how);
}

// A thread that is cancelled, or that calls pthread_exit in a handler, while a call of it waits, is unwound through the
// frame below: this is the personality of that frame. There is nothing to land on; what has to be done is done here.
// The program's cleanup handlers find the signal mask as they left it, and the call is over.
extern "C" [[gnu::used]] _Unwind_Reason_Code dipc_shim_unwound(int, _Unwind_Action actions, _Unwind_Exception_Class,
                                                               _Unwind_Exception*, _Unwind_Context*) {
  Connection* connection = known_connection(current_pid());
  if ((actions & _UA_FORCE_UNWIND) != 0 && connection && connection->outstanding != 0) {
    end_outstanding(*connection);
    restore_signals(&connection->waiting_mask);
  }
  return _URC_CONTINUE_UNWIND;
}

// Waits as wait_for() does, without limit, through libc's ppoll: msgsnd and msgrcv are cancellation points of POSIX,
// the other calls are none.
[[gnu::noinline]] int wait_cancellable(Connection& connection, const sigset_t* mask) {
  // 0x1b: DW_EH_PE_pcrel | DW_EH_PE_sdata4. The compiler's own way to say it brings libgcc's unwinder along.
  asm volatile(".cfi_personality 0x1b, dipc_shim_unwound");
  pollfd entry{connection.socket.number(), POLLIN, 0};
  sigset_t outer = connection.waiting_mask;
  connection.waiting_mask = *mask;
  int saved = errno;
  int ready = next_ppoll.get()(&entry, 1, nullptr, mask);
  if (ready < 0) ready = -errno;
  errno = saved;
  connection.waiting_mask = outer;
  return ready;
}

}  // namespace

struct Exchange::Frame {
  Connection* connection;
  sigset_t programs_mask;
  pid_t pid;
  uint64_t call;
  bool was_cancelled;

  bool is_in_charge() const { return connection->outstanding == call; }
};

Exchange::Result Exchange::fail(int with) {
  error = with;
  return Result::kFailed;
}

Exchange::Result Exchange::run() {
  prepare();
  if (has_paged_memory() && !room_is_ours) {  // while signals are blocked nobody could bring a page
    if (body) touch_paged(body, body_bytes, false);
    if (room) touch_paged(room, room_bytes, true);
  }
  Frame frame{};
  block_signals(&frame.programs_mask);
  frame.pid = current_pid();
  frame.connection = current_connection(frame.pid);
  request.issued_ns = static_cast<uint64_t>(monotonic_ns());
  Result result = frame.connection ? exchange(frame) : fail(ENOMEM);
  restore_signals(&frame.programs_mask);
  return result;
}

Exchange::Result Exchange::exchange(Frame& frame) {
  Connection& connection = *frame.connection;
  for (int attempt = 0;; ++attempt) {
    end_outstanding(connection);
    switch (reach_daemon(connection, {&frame.programs_mask, interruptible, waits_for_absent, tries_once})) {
      case Reach::kConnected:
        break;
      case Reach::kNoDaemon:
        return waits_for_absent ? fail(EHOSTUNREACH) : Result::kNoDaemon;
      case Reach::kSilent:
        return fail(ETIMEDOUT);
      case Reach::kCannot:
        return waits_for_absent ? fail(EHOSTUNREACH) : Result::kCannot;
      case Reach::kInterrupted:
        return fail(EINTR);
    }
    if (connection.outstanding != 0) continue;  // a handler ran while we waited for the daemon, and left a call
    frame.call = ++connection.last_call;
    frame.was_cancelled = false;
    request.call = frame.call;
    Result sent = send(frame);
    if (sent == Result::kFailed && error == EPIPE) {  // the daemon was gone before it saw the request
      connection.drop();
      if (tries_once && attempt > 0) return fail(EHOSTUNREACH);
      continue;
    }
    if (sent == Result::kFailed) return sent;
    bool again = false;
    Result result = wait(frame);
    if (result == Result::kFailed && !frame.is_in_charge() && error == EAGAIN) result = resume(frame, &again);
    if (!again) return result;
  }
}

// kReply here means that the request is on its way.
Exchange::Result Exchange::send(Frame& frame) {
  Connection& connection = *frame.connection;
  Body part{body, head_bytes, body_bytes - head_bytes};
  int memfd = -1;
  request.marks &= ~static_cast<uint32_t>(local::kPayloadInMemfd);
  request.payload_bytes = body_bytes < UINT32_MAX ? static_cast<uint32_t>(body_bytes) : UINT32_MAX;
  if (body_bytes > kBodyBytesMax) part.second_bytes = 0;
  // The whole body in a memfd, or as much of it as is readable with the record.
  auto put_in_memfd = [&] {
    memfd = memfd_from(body, body_bytes);
    if (memfd < 0 && memfd != -EFAULT) return false;
    if (memfd >= 0) {
      request.marks |= local::kPayloadInMemfd;
      part.first_bytes = 0;
    }
    part.second_bytes = 0;
    return true;
  };
  if (part.first_bytes + part.second_bytes > local::kInlineBytesMax && !put_in_memfd()) return fail(ENOMEM);
  int64_t deadline_ns = 0;  // none yet: nothing has gone wrong
  Result result = fail(EPIPE);
  for (;;) {
    long sent = send_record(connection.socket.number(), &request, sizeof request, part, memfd < 0 ? passed : memfd);
    if (sent >= static_cast<long>(sizeof request)) {
      connection.outstanding = frame.call;
      connection.outstanding_op = request.op;
      connection.outstanding_can_end = interruptible;
      result = Result::kReply;
      break;
    }
    if (sent == -EFAULT && part.second_bytes > 0) {
      part.second_bytes = 0;
    } else if (sent == -EFAULT) {
      result = fail(EFAULT);
      break;
    } else if (sent == -EMSGSIZE && part.second_bytes > 0) {  // a small net.core.wmem_default
      if (put_in_memfd()) continue;
      result = fail(ENOMEM);
      break;
    } else if (is_gone(sent)) {
      break;
    } else if (sent == -EAGAIN || sent == -ENOBUFS || sent == -ENOMEM || sent == -ETOOMANYREFS) {
      int64_t now_ns = monotonic_ns();
      if (deadline_ns == 0) deadline_ns = now_ns + op_timeout_ns();
      if (now_ns >= deadline_ns) {
        result = fail(ETIMEDOUT);
        break;
      }
      sigset_t all;
      sigfillset(&all);
      wait_for(-1, 0, kRetryNs, &all);
    } else if (sent != -EINTR) {
      result = fail(EHOSTUNREACH);  // the kernel refuses what we claim or the send itself
      break;
    }
  }
  if (memfd >= 0) close_descriptor(memfd);
  return result;
}

// EAGAIN says that this frame is no longer the one that waits.
Exchange::Result Exchange::wait(Frame& frame) {
  Connection& connection = *frame.connection;
  for (;;) {
    int socket = connection.socket.number();
    int ready = cancellable                        ? wait_cancellable(connection, &frame.programs_mask)
                : request.op == local::Op::kLookup ? wait_for_awake(socket, POLLIN, -1, &frame.programs_mask)
                                                   : wait_for(socket, POLLIN, -1, &frame.programs_mask);
    if (ready < 0) {  // a handler ran: it may have made calls of its own, closed everything, or forked
      if (!frame.is_in_charge()) return fail(EAGAIN);
      if (current_pid() != frame.pid) return fail(EINTR);
      if (!connection.socket.is_ours()) {
        connection.socket.forget();
        connection.outstanding = 0;
        return fail(interruptible ? EINTR : ECONNRESET);
      }
      if (interruptible && !frame.was_cancelled) {
        send_cancel(connection, frame.call);
        frame.was_cancelled = true;
      }
      continue;
    }
    bool came = false;
    Result result = descriptors     ? take_descriptors(frame, &came)
                    : wants_payload ? take_message(frame, &came)
                                    : take_reply(frame, &came);
    if (!came) continue;
    if (result == Result::kReply && reply.call != frame.call) {
      connection.drop();
      return fail(ECONNRESET);
    }
    connection.outstanding = 0;
    return result;
  }
}

Exchange::Result Exchange::take_reply(Frame& frame, bool* came) {
  Connection& connection = *frame.connection;
  Received received = receive(connection.socket.number(), &reply, nullptr, 0, 0, false);
  if (received.bytes == -EAGAIN || received.bytes == -EINTR) return Result::kReply;
  *came = true;
  if (received.bytes != sizeof reply || reply.magic != local::kMagic) {
    connection.drop();
    return fail(ECONNRESET);
  }
  return Result::kReply;
}

// Looks first, because what goes to the program must fit exactly: qemu checks a whole buffer, not what is written to
// it; and a message whose descriptor we have no room for must not be taken.
Exchange::Result Exchange::take_message(Frame& frame, bool* came) {
  Connection& connection = *frame.connection;
  int socket = connection.socket.number();
  Received seen = receive(socket, &reply, nullptr, 0, MSG_PEEK, true);
  if (seen.bytes == -EAGAIN || seen.bytes == -EINTR) return Result::kReply;
  *came = true;
  if (seen.bytes != sizeof reply || reply.magic != local::kMagic) {
    if (seen.memfd >= 0) close_descriptor(seen.memfd);
    connection.drop();
    return fail(ECONNRESET);
  }
  size_t bytes = reply.payload_bytes < room_bytes ? reply.payload_bytes : room_bytes;
  Result result = Result::kReply;
  if (reply.error == 0 && (reply.marks & local::kPayloadInMemfd) != 0) {
    if (seen.memfd < 0) {
      connection.drop();  // unread, so it goes back
      return fail(ENOMEM);
    }
    if (read_memfd(seen.memfd, room, bytes) != 0) result = fail(EFAULT);
    bytes = 0;
  }
  if (seen.memfd >= 0) close_descriptor(seen.memfd);
  if (reply.error != 0) bytes = 0;
  // Takes the record off the socket, also where the program's buffer turns out bad: so does msgrcv(2).
  local::Reply again;
  Received taken = receive(socket, &again, room, bytes, 0, false);
  if (result == Result::kReply && taken.bytes != static_cast<long>(sizeof again + bytes)) {
    if (is_gone(taken.bytes)) {
      connection.drop();
      return fail(ECONNRESET);
    }
    result = fail(room_is_ours ? ECONNRESET : EFAULT);
  }
  return result;
}

Exchange::Result Exchange::take_descriptors(Frame& frame, bool* came) {
  Connection& connection = *frame.connection;
  Received taken = receive(connection.socket.number(), &reply, room, room_bytes, 0, true);
  if (taken.bytes == -EAGAIN || taken.bytes == -EINTR) return Result::kReply;
  *came = true;
  (*descriptors)[0] = taken.memfd;
  (*descriptors)[1] = taken.other;
  size_t expected = sizeof reply + (reply.error == 0 ? room_bytes : 0);
  if (taken.bytes == static_cast<long>(expected) && reply.magic == local::kMagic) return Result::kReply;
  connection.drop();
  return fail(ECONNRESET);
}

// A nested call has ended ours; this is how.
Exchange::Result Exchange::resume(Frame& frame, bool* again) {
  const Ended* how = frame.connection->find(frame.call);
  if (!how) return fail(interruptible ? EINTR : ECONNRESET);
  if (how->error != 0) return fail(how->error);
  if (how->ask_again) {
    *again = repeatable;
    return repeatable ? Result::kReply : fail(ECONNRESET);
  }
  reply = local::Reply{};
  reply.call = how->call;
  reply.error = how->reply_error;
  reply.value = how->value;
  reply.extra = how->extra;
  reply.where = how->where;
  return Result::kReply;
}

}  // namespace dipc::shim
