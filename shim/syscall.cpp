// syscall(2) by number: the System V calls in all the forms that machines have of them, the `ipc` multiplexer of 32-bit
// machines included. Every other number reaches libc's function by a jump, with stack and registers as they came. The
// file is compiled with sibling calls at every level of optimisation.

#include <bit>

#include "shim/control.h"

namespace dipc::shim {
namespace {

struct Words {
  long number, a, b, c, d, e, f;
  long native() const { return next_syscall.get()(number, a, b, c, d, e, f); }
};

template <typename T>
T* pointer(long word) {
  return std::bit_cast<T*>(word);
}

bool is_system_v(long number) {
  switch (number) {
#ifdef SYS_msgget
    case SYS_msgget:
    case SYS_msgsnd:
    case SYS_msgrcv:
    case SYS_msgctl:
    case SYS_semget:
    case SYS_semctl:
    case SYS_shmget:
    case SYS_shmctl:
    case SYS_shmat:
    case SYS_shmdt:
#endif
#ifdef SYS_semop
    case SYS_semop:
#endif
#ifdef SYS_semtimedop
    case SYS_semtimedop:
#endif
#ifdef SYS_semtimedop_time64
    case SYS_semtimedop_time64:
#endif
#ifdef SYS_ipc
    case SYS_ipc:
#endif
      return true;
    default:
      return false;
  }
}

// `pair`: how two numbers of this width make a struct timespec of the system call in question.
template <typename Word>
int read_kernel_timeout(Timeout* into, const void* programs) {
  Word pair[2];
  int error = copy_in(pair, programs, sizeof pair);
  // Where long has 32 bits, that is all the kernel keeps of the nanoseconds.
  if (error == 0) *into = {pair[0], static_cast<long>(pair[1])};
  return error;
}

template <typename Word>
long timed_operate(const Words& words, long id, long operations, long count, long timeout) {
  return operate(
      static_cast<int>(id), pointer<sembuf>(operations), static_cast<size_t>(count), timeout != 0,
      [&](Timeout* into) { return read_kernel_timeout<Word>(into, pointer<void>(timeout)); },
      [&] { return words.native(); });
}

SemctlArgument semctl_argument(long word) {
  // An int of the union lies in the first bytes of the register's memory image, whatever the byte order; so does the
  // kernel read it.
  SemctlArgument argument{};
  static_assert(sizeof argument == sizeof word);
  memcpy(&argument, &word, sizeof word);
  return argument;
}

long queue_control(const Words& words, long id, int command, long status) {
  return control_queue(static_cast<int>(id), command, pointer<msqid_ds>(status), Shape::kKernel,
                       [&] { return words.native(); });
}

long set_control(const Words& words, long id, long semaphore, int command, long argument) {
  return control_set(static_cast<int>(id), static_cast<int>(semaphore), command, semctl_argument(argument),
                     Shape::kKernel, [&] { return words.native(); });
}

long segment_control(const Words& words, long id, int command, long status) {
  return control_segment(static_cast<int>(id), command, pointer<shmid_ds>(status), Shape::kKernel,
                         [&] { return words.native(); });
}

#ifdef SYS_ipc
// ipc(call, first, second, third, ptr, fifth), ipc/syscall.c of the kernel.
enum Multiplexed {
  kSemop = 1,
  kSemget = 2,
  kSemctl = 3,
  kSemtimedop = 4,
  kMsgsnd = 11,
  kMsgrcv = 12,
  kMsgget = 13,
  kMsgctl = 14,
  kShmat = 21,
  kShmdt = 22,
  kShmget = 23,
  kShmctl = 24,
};
constexpr int kNewStructs = 0x100;  // IPC_64: without it the structs have 16-bit ids and other shapes

// True if the command has a struct of the old shape, which nothing since 2.4 uses: no distributed object has it.
bool is_old_shape(int command) {
  return sizeof(long) == 4 && (command & kNewStructs) == 0 && (command == IPC_STAT || command == IPC_SET);
}

long multiplexed(const Words& words) {
  int version = static_cast<int>(words.a >> 16 & 0xffff);
  long first = words.b;
  long second = words.c;
  long third = words.d;
  long address = words.e;
  auto native = [&] { return words.native(); };
  int command;
  switch (words.a & 0xffff) {
    case kSemop:
      return operate(
          static_cast<int>(first), pointer<sembuf>(address), static_cast<size_t>(second), false,
          [](Timeout*) { return 0; }, native);
    case kSemtimedop:
#ifdef __s390x__  // has no fifth argument
      return timed_operate<long>(words, first, address, second, third);
#else
      return timed_operate<long>(words, first, address, second, words.f);
#endif
    case kSemget:
      return get_object(Kind::kSemaphoreSet, static_cast<int>(first), static_cast<int>(second), static_cast<int>(third),
                        native);
    case kMsgget:
      return get_object(Kind::kMessageQueue, static_cast<int>(first), 0, static_cast<int>(second), native);
    case kShmget:
      return get_object(Kind::kSegment, static_cast<int>(first), second, static_cast<int>(third), native);
    case kShmat: {
      if (version != 0) return native();  // EINVAL
      void* at = attach_segment(static_cast<int>(first), pointer<void>(address), static_cast<int>(second), [&] {
        long result = native();  // which stores the address itself
        return result < 0 ? MAP_FAILED : nullptr;
      });
      if (at == nullptr || at == MAP_FAILED) return at ? -1 : 0;
      int error = copy_out(pointer<void>(third), &at, sizeof at);
      if (error == 0) return 0;
      int detached;
      remote_detach(at, &detached);
      return fail_with(error);
    }
    case kShmdt:
      return detach_segment(pointer<void>(address), [&] { return static_cast<int>(native()); });
    case kMsgsnd:
      return send_message(static_cast<int>(first), pointer<void>(address), static_cast<size_t>(second),
                          static_cast<int>(third), native);
    case kMsgrcv: {
      long message_and_type[2] = {address, words.f};
      if (version == 0 && address != 0) {  // both behind one pointer
        int error = copy_in(message_and_type, pointer<void>(address), sizeof message_and_type);
        if (error != 0) return fail_with(error);
      } else if (version == 0) {
        return native();
      }
      return receive_message(static_cast<int>(first), pointer<void>(message_and_type[0]), static_cast<size_t>(second),
                             message_and_type[1], static_cast<int>(third), native);
    }
    case kMsgctl:
      command = static_cast<int>(second);
      if (!is_old_shape(command)) return queue_control(words, first, command & ~kNewStructs, address);
      if (!queue_ids.goes_to_kernel(static_cast<int>(first))) {
        Route way = route(Kind::kMessageQueue, static_cast<int>(first));
        if (way != Route::kKernel) return way == Route::kFailed ? -1 : fail_with(EINVAL);
      }
      return native();
    case kSemctl: {
      command = static_cast<int>(third);
      if (is_old_shape(command)) {
        if (!set_ids.goes_to_kernel(static_cast<int>(first))) {
          Route way = route(Kind::kSemaphoreSet, static_cast<int>(first));
          if (way != Route::kKernel) return way == Route::kFailed ? -1 : fail_with(EINVAL);
        }
        return native();
      }
      if (address == 0) return native();  // EINVAL
      long argument;
      int error = copy_in(&argument, pointer<void>(address), sizeof argument);
      if (error != 0) return fail_with(error);
      return set_control(words, first, second, command & ~kNewStructs, argument);
    }
    case kShmctl:
      command = static_cast<int>(second);
      if (!is_old_shape(command)) return segment_control(words, first, command & ~kNewStructs, address);
      if (!segment_ids.goes_to_kernel(static_cast<int>(first))) {
        Route way = route(Kind::kSegment, static_cast<int>(first));
        if (way != Route::kKernel) return way == Route::kFailed ? -1 : fail_with(EINVAL);
      }
      return native();
    default:
      return native();
  }
}
#endif

long system_v(const Words& words) {
  auto native = [&] { return words.native(); };
  switch (words.number) {
#ifdef SYS_msgget
    case SYS_msgget:
      return get_object(Kind::kMessageQueue, static_cast<int>(words.a), 0, static_cast<int>(words.b), native);
    case SYS_semget:
      return get_object(Kind::kSemaphoreSet, static_cast<int>(words.a), static_cast<int>(words.b),
                        static_cast<int>(words.c), native);
    case SYS_shmget:
      return get_object(Kind::kSegment, static_cast<int>(words.a), words.b, static_cast<int>(words.c), native);
    case SYS_shmat:
      return reinterpret_cast<long>(attach_segment(static_cast<int>(words.a), pointer<void>(words.b),
                                                   static_cast<int>(words.c),
                                                   [&] { return pointer<void>(words.native()); }));
    case SYS_shmdt:
      return detach_segment(pointer<void>(words.a), [&] { return static_cast<int>(words.native()); });
    case SYS_msgsnd:
      return send_message(static_cast<int>(words.a), pointer<void>(words.b), static_cast<size_t>(words.c),
                          static_cast<int>(words.d), native);
    case SYS_msgrcv:
      return receive_message(static_cast<int>(words.a), pointer<void>(words.b), static_cast<size_t>(words.c), words.d,
                             static_cast<int>(words.e), native);
    case SYS_msgctl:
      return queue_control(words, words.a, static_cast<int>(words.b), words.c);
    case SYS_semctl:
      return set_control(words, words.a, words.b, static_cast<int>(words.c), words.d);
    case SYS_shmctl:
      return segment_control(words, words.a, static_cast<int>(words.b), words.c);
#endif
#ifdef SYS_semop
    case SYS_semop:
      return operate(
          static_cast<int>(words.a), pointer<sembuf>(words.b), static_cast<size_t>(words.c), false,
          [](Timeout*) { return 0; }, native);
#endif
#ifdef SYS_semtimedop
    case SYS_semtimedop:
      return timed_operate<long>(words, words.a, words.b, words.c, words.d);
#endif
#ifdef SYS_semtimedop_time64
    case SYS_semtimedop_time64:
      return timed_operate<int64_t>(words, words.a, words.b, words.c, words.d);
#endif
#ifdef SYS_ipc
    case SYS_ipc:
      return multiplexed(words);
#endif
    default:
      return words.native();
  }
}

long system_v_by_words(long number, long a, long b, long c, long d, long e, long f) {
  return system_v({number, a, b, c, d, e, f});
}

}  // namespace
}  // namespace dipc::shim

// Declared with those words only that come in registers: the others stay on the stack, where the function that we jump
// to finds them. Declared with all, the compiler would write the last ones back to where it read them, into what may be
// a variable of a caller that passed fewer.
#if defined(__x86_64__) && !defined(__ILP32__)
#define DIPC_REGISTER_WORDS long number, long a, long b, long c, long d, long e
#define DIPC_REGISTER_NAMES number, a, b, c, d, e
#elif defined(__aarch64__) || defined(__riscv) || defined(__powerpc__)
#define DIPC_REGISTER_WORDS long number, long a, long b, long c, long d, long e, long f
#define DIPC_REGISTER_NAMES number, a, b, c, d, e, f
#elif defined(__s390x__)
#define DIPC_REGISTER_WORDS long number, long a, long b, long c, long d
#define DIPC_REGISTER_NAMES number, a, b, c, d
#elif defined(__arm__)
#define DIPC_REGISTER_WORDS long number, long a, long b, long c
#define DIPC_REGISTER_NAMES number, a, b, c
#elif defined(__m68k__) || defined(__i386__)
#define DIPC_REGISTER_WORDS long number
#define DIPC_REGISTER_NAMES number
#else
#error "which arguments of a function come in registers here?"
#endif

extern "C" [[gnu::visibility("default")]] long dipc_syscall(DIPC_REGISTER_WORDS) __asm__("syscall");

long dipc_syscall(DIPC_REGISTER_WORDS) {
  using namespace dipc::shim;
  using Jump = long(DIPC_REGISTER_WORDS);
  void* target =
      is_system_v(number) ? reinterpret_cast<void*>(&system_v_by_words) : reinterpret_cast<void*>(next_syscall.get());
  asm("" : "+r"(target));  // the compiler must not see how many words it really takes
  return reinterpret_cast<Jump*>(target)(DIPC_REGISTER_NAMES);
}
