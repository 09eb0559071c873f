#include "shim/thread_state.h"

#include <fcntl.h>
#include <linux/stat.h>
#include <pthread.h>
#include <sys/mman.h>

#include <new>

#include "shim/kernel_calls.h"

namespace dipc::shim {
namespace {

constexpr size_t kStatesPerSlab = 16;

struct Slab {
  ThreadState states[kStatesPerSlab];
  std::atomic<Slab*> next{nullptr};
};

// libc allocates a thread's values of later keys from the heap.
constexpr pthread_key_t kKeysInThread = 32;

constinit Slab g_first_slab;
constinit pthread_key_t g_thread_end_key = 0;
constinit std::atomic<bool> g_has_key{false};
constinit thread_local ThreadState* t_state = nullptr;

bool identify(int descriptor, uint64_t* device, uint64_t* inode) {
  struct statx status;
  if (raw(SYS_statx, descriptor, "", AT_EMPTY_PATH, STATX_INO, &status) != 0) return false;
  *device = uint64_t{status.stx_dev_major} << 32 | status.stx_dev_minor;
  *inode = status.stx_ino;
  return true;
}

void clear(ThreadState* state) {
  for (Connection& connection : state->connections) {
    connection.socket.close();
    connection.connecting.close();
    connection = Connection{};
  }
}

void release(ThreadState* state) {
  uint32_t use = ThreadState::kTaken;
  if (!state->use.compare_exchange_strong(use, ThreadState::kLeaving, std::memory_order_acquire)) return;
  clear(state);
  state->use.store(ThreadState::kFree, std::memory_order_release);
}

// A state whose thread is gone without having said so.
bool is_orphan(const ThreadState& state) {
  return !g_has_key.load(std::memory_order_acquire) && state.use.load(std::memory_order_acquire) == state.kTaken &&
         raw(SYS_tgkill, current_pid(), state.thread, 0) == -ESRCH;
}

bool take(ThreadState& state) {
  if (is_orphan(state)) release(&state);
  uint32_t use = ThreadState::kFree;
  return state.use.load(std::memory_order_relaxed) == use &&
         state.use.compare_exchange_strong(use, ThreadState::kTaken, std::memory_order_acquire);
}

ThreadState* take_state() {
  for (Slab* slab = &g_first_slab;;) {
    for (ThreadState& state : slab->states) {
      if (take(state)) return &state;
    }
    Slab* next = slab->next.load(std::memory_order_acquire);
    if (!next) {
      void* memory = mmap(nullptr, sizeof(Slab), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (memory == MAP_FAILED) return nullptr;
      Slab* fresh = new (memory) Slab;
      if (slab->next.compare_exchange_strong(next, fresh, std::memory_order_acq_rel)) {
        next = fresh;
      } else {
        munmap(memory, sizeof(Slab));
      }
    }
    slab = next;
  }
}

void on_thread_end(void* state) {
  t_state = nullptr;  // a handler, or a later destructor of the program, gets a state of its own
  release(static_cast<ThreadState*>(state));
}

// The child must not speak on its parent's sockets, nor keep them open when the parent is gone.
void after_fork_in_child() {
  for (Slab* slab = &g_first_slab; slab; slab = slab->next.load(std::memory_order_acquire)) {
    for (ThreadState& state : slab->states) {
      if (state.use.load(std::memory_order_relaxed) == ThreadState::kFree) continue;
      clear(&state);
      if (&state == t_state) {
        state.thread = current_pid();
      } else {
        state.use.store(ThreadState::kFree, std::memory_order_relaxed);
      }
    }
  }
}

}  // namespace

bool OwnDescriptor::is_ours() const {
  uint64_t device;
  uint64_t inode;
  return number_ != 0 && identify(number_, &device, &inode) && device == device_ && inode == inode_;
}

bool OwnDescriptor::adopt(int descriptor) {
  if (!identify(descriptor, &device_, &inode_)) {
    close_descriptor(descriptor);
    return false;
  }
  number_ = descriptor;
  return true;
}

void OwnDescriptor::close() {
  close_quietly();
  number_ = 0;
}

void OwnDescriptor::close_quietly() const {
  if (is_ours()) close_descriptor(number_);
}

void Connection::drop() {
  socket.close();
  outstanding = 0;
}

void Connection::keep(const Ended& how) {
  ended[ended_next] = how;
  ended_next = (ended_next + 1) % (sizeof ended / sizeof ended[0]);
}

const Ended* Connection::find(uint64_t call) const {
  for (const Ended& how : ended) {
    if (how.call == call) return &how;
  }
  return nullptr;
}

Connection* known_connection(pid_t pid) {
  if (!t_state) return nullptr;
  for (Connection& connection : t_state->connections) {
    if (connection.pid == pid) return &connection;
  }
  return nullptr;
}

Connection* current_connection(pid_t pid) {
  ThreadState* state = t_state;
  if (!state) {
    state = take_state();
    if (!state) return nullptr;
    t_state = state;
    if (g_has_key.load(std::memory_order_acquire)) {
      pthread_setspecific(g_thread_end_key, state);
    } else {
      state->thread = static_cast<pid_t>(raw(SYS_gettid));
    }
  }
  Connection& own = state->connections[0];
  if (own.pid == 0) own.pid = pid;
  if (own.pid == pid) return &own;
  Connection& childs = state->connections[1];
  if (childs.pid != pid) {
    own.socket.close_quietly();  // the child's copy of it
    childs = Connection{};
    childs.pid = pid;
  }
  return &childs;
}

void prepare_threads() {
  pthread_key_t key;
  if (pthread_key_create(&key, on_thread_end) == 0) {
    if (key < kKeysInThread) {
      g_thread_end_key = key;
      g_has_key.store(true, std::memory_order_release);
    } else {
      pthread_key_delete(key);
    }
  }
  pthread_atfork(nullptr, nullptr, after_fork_in_child);
}

}  // namespace dipc::shim
