#include "daemon/kernel/slots.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <limits>
#include <thread>

#include "daemon/kernel/identity.h"
#include "wire/check.h"

namespace dipc {
namespace {

constexpr std::size_t kRoomMin = 256;
// Offsets of mappings must be multiples of the page size, which is at most this on every Linux machine.
constexpr std::size_t kChunkUnit = 64 * 1024;
constexpr std::size_t kIdleBytesMax = 1024 * 1024;  // of one size: chunks that are kept although no slot is taken

constexpr std::chrono::milliseconds kGuardLetsGoWithin(3000);
constexpr std::chrono::milliseconds kLockTriedEvery(10);

// Files of another byte order or word size (a daemon under an emulator before us) are not ours to read, nor are those
// of a version with another header.
std::string file_name(std::size_t room_bytes) {
  return std::string("slots-2-") + (std::endian::native == std::endian::big ? "be" : "le") +
         std::to_string(8 * sizeof(long)) + "-" + std::to_string(room_bytes);
}

std::size_t rounded_up(std::size_t value, std::size_t unit) { return (value + unit - 1) / unit * unit; }

std::size_t slot_bytes_for(std::size_t room_bytes) { return rounded_up(sizeof(Slot) + room_bytes, 64); }
std::size_t chunk_bytes_for(std::size_t room_bytes) { return rounded_up(slot_bytes_for(room_bytes), kChunkUnit); }

// A daemon that is killed has a guard (daemon/pager/memory_guard.h), which shares its descriptors and lets go of them
// when it has looked through them all.
bool lock_soon(int fd) {
  for (auto left = kGuardLetsGoWithin; flock(fd, LOCK_EX | LOCK_NB) != 0; left -= kLockTriedEvery) {
    if (errno != EWOULDBLOCK || left <= left.zero()) return false;
    std::this_thread::sleep_for(kLockTriedEvery);
  }
  return true;
}

// 0: too large to ask for.
std::size_t room_class(std::size_t text_bytes) {
  if (text_bytes > std::numeric_limits<std::size_t>::max() / 4) return 0;
  return std::bit_ceil(std::max(text_bytes, kRoomMin));
}

}  // namespace

// ---- Slot

SlotLabel Slot::label() const {
  return {std::string(host_, strnlen(host_, sizeof host_)),   CallId{call_}, queue_, key_, owner_uid_, generation_,
          std::string(login_, strnlen(login_, sizeof login_))};
}

void Slot::received(std::size_t text_bytes) {
  DIPC_CHECK(text_bytes <= room_bytes_);
  text_bytes_ = text_bytes;
  // The length before the state that says it is valid; a SIGKILL may come between, the processor's order doesn't
  // matter.
  std::atomic_signal_fence(std::memory_order_seq_cst);
  state_ = kReceived;
}

Message Slot::message() const { return {type_, Bytes(text(), text() + text_bytes_)}; }

// ---- Slots

struct Slots::Chunk {
  std::byte* memory = nullptr;
  bool backed = false;              // memory is reserved in the file system
  std::vector<std::uint32_t> free;  // places in the chunk
};

struct Slots::SizeClass {
  std::size_t room_bytes = 0;
  int fd = -1;
  std::size_t slots_per_chunk = 0;
  std::vector<Chunk> chunks;
  std::set<std::size_t> with_room;  // chunks with free slots; the lowest are used first, so that the others fall idle
  std::size_t idle_backed = 0;      // chunks that are backed and wholly free

  std::size_t slot_bytes() const { return slot_bytes_for(room_bytes); }
  std::size_t chunk_bytes() const { return chunk_bytes_for(room_bytes); }
};

Result<std::unique_ptr<Slots>> Slots::open(const std::filesystem::path& directory,
                                           const std::function<bool(const FoundMessage&)>& found,
                                           const std::function<void(const std::string&)>& log) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error || chmod(directory.c_str(), 0700) != 0) {
    return trouble(directory.string() + ": " + (error ? error.message() : std::strerror(errno)));
  }
  std::unique_ptr<Slots> slots(new Slots);
  slots->directory_ = directory;
  slots->directory_fd_ = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (slots->directory_fd_ < 0) return trouble(directory.string() + ": " + std::strerror(errno));
  if (!lock_soon(slots->directory_fd_)) {
    return trouble(directory.string() + " is in use by another daemon", "stop it first");
  }
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename();
    if (name.starts_with("slots-") && name.find(".kept") == std::string::npos) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const std::filesystem::path& path : files) {
    const std::string name = path.filename();
    const std::size_t room_bytes = std::strtoul(name.c_str() + name.rfind('-') + 1, nullptr, 10);
    bool kept_all = true;
    if (room_bytes < kRoomMin || name != file_name(room_bytes)) {
      log(path.string() + " was left by a daemon of another architecture or version; messages in it are not read");
      kept_all = false;
    } else {
      const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
      const std::size_t chunk_bytes = chunk_bytes_for(room_bytes);
      const std::size_t slot_bytes = slot_bytes_for(room_bytes);
      std::vector<std::byte> chunk(chunk_bytes);
      for (off_t at = 0; fd >= 0; at += static_cast<off_t>(chunk_bytes)) {
        if (pread(fd, chunk.data(), chunk_bytes, at) != static_cast<ssize_t>(chunk_bytes)) break;
        for (std::size_t begin = 0; begin + slot_bytes <= chunk_bytes; begin += slot_bytes) {
          auto* const slot = reinterpret_cast<Slot*>(chunk.data() + begin);
          if ((slot->state_ != Slot::kReceiving && slot->state_ != Slot::kReceived) || slot->type_ == 0) continue;
          const bool exact = slot->state_ == Slot::kReceived && slot->text_bytes_ <= room_bytes;
          if (!exact) {
            std::size_t length = room_bytes;
            while (length > 0 && slot->text()[length - 1] == std::byte{0}) --length;
            slot->text_bytes_ = length;
          }
          kept_all = found({slot->label(), slot->message(), exact}) && kept_all;
        }
      }
      if (fd < 0) kept_all = false;
      if (fd >= 0) close(fd);
    }
    if (kept_all) {
      std::filesystem::remove(path, error);
    } else {
      const std::filesystem::path aside = path.string() + ".kept-" + std::to_string(time(nullptr));
      std::filesystem::rename(path, aside, error);
      log("messages that could not be made dead letters are left in " + aside.string());
    }
  }
  return slots;
}

Slots::~Slots() {
  for (const auto& [room, size_class] : classes_) {
    for (const Chunk& chunk : size_class->chunks) munmap(chunk.memory, size_class->chunk_bytes());
    if (size_class->fd >= 0) close(size_class->fd);
  }
  if (directory_fd_ >= 0) close(directory_fd_);
}

bool Slots::grow(SizeClass& size_class) {
  const std::size_t chunk_bytes = size_class.chunk_bytes();
  const auto offset = static_cast<off_t>(size_class.chunks.size() * chunk_bytes);
  if (posix_fallocate(size_class.fd, offset, static_cast<off_t>(chunk_bytes)) != 0) return false;
  void* const memory = mmap(nullptr, chunk_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, size_class.fd, offset);
  if (memory == MAP_FAILED) {
    DIPC_CHECK(ftruncate(size_class.fd, offset) == 0);
    return false;
  }
  Chunk chunk;
  chunk.memory = static_cast<std::byte*>(memory);
  chunk.backed = true;
  for (std::size_t place = size_class.slots_per_chunk; place > 0; --place) {
    chunk.free.push_back(static_cast<std::uint32_t>(place - 1));
  }
  ++size_class.idle_backed;
  size_class.with_room.insert(size_class.chunks.size());
  size_class.chunks.push_back(std::move(chunk));
  return true;
}

Slot* Slots::take(const SlotLabel& label, std::size_t text_bytes) {
  const std::size_t room_bytes = room_class(text_bytes);
  if (room_bytes == 0) return nullptr;
  auto& entry = classes_[room_bytes];
  if (!entry) {
    entry = std::make_unique<SizeClass>();
    entry->room_bytes = room_bytes;
    entry->slots_per_chunk = entry->chunk_bytes() / entry->slot_bytes();
  }
  SizeClass& size_class = *entry;
  if (size_class.fd < 0) {
    const std::filesystem::path path = directory_ / file_name(room_bytes);
    restore_own_groups();
    size_class.fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (size_class.fd < 0) return nullptr;
  }
  if (size_class.with_room.empty() && !grow(size_class)) return nullptr;
  const std::size_t chunk_index = *size_class.with_room.begin();
  Chunk& chunk = size_class.chunks[chunk_index];
  if (!chunk.backed) {
    const auto offset = static_cast<off_t>(chunk_index * size_class.chunk_bytes());
    if (posix_fallocate(size_class.fd, offset, static_cast<off_t>(size_class.chunk_bytes())) != 0) return nullptr;
    chunk.backed = true;
    ++size_class.idle_backed;
  }
  if (chunk.free.size() == size_class.slots_per_chunk) --size_class.idle_backed;
  const std::uint32_t place = chunk.free.back();
  chunk.free.pop_back();
  if (chunk.free.empty()) size_class.with_room.erase(chunk_index);

  auto* const slot = reinterpret_cast<Slot*>(chunk.memory + place * size_class.slot_bytes());
  DIPC_CHECK(slot->state_ == Slot::kFree && slot->type_ == 0);
  slot->index_ = static_cast<std::uint32_t>(chunk_index * size_class.slots_per_chunk + place);
  slot->room_bytes_ = room_bytes;
  slot->text_bytes_ = 0;
  slot->call_ = static_cast<std::uint64_t>(label.call);
  slot->queue_ = label.queue;
  slot->key_ = label.key;
  slot->owner_uid_ = label.owner_uid;
  slot->generation_ = label.generation;
  const std::size_t host_bytes = label.host.copy(slot->host_, Slot::kHostBytes - 1);
  slot->host_[host_bytes] = 0;
  const std::size_t login_bytes = label.login.copy(slot->login_, Slot::kLoginBytes - 1);
  slot->login_[login_bytes] = 0;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  slot->state_ = Slot::kReceiving;
  ++taken_;
  return slot;
}

void Slots::give_back(Slot* slot) {
  SizeClass& size_class = *classes_.at(slot->room_bytes_);
  const std::size_t chunk_index = slot->index_ / size_class.slots_per_chunk;
  Chunk& chunk = size_class.chunks[chunk_index];
  // Free first: what the wiping below leaves half done is no message then.
  slot->state_ = Slot::kFree;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (slot->type_ != 0) {
    std::memset(reinterpret_cast<std::byte*>(&slot->type_) + sizeof slot->type_, 0, slot->text_bytes_);
    slot->type_ = 0;
  }
  chunk.free.push_back(static_cast<std::uint32_t>(slot->index_ % size_class.slots_per_chunk));
  size_class.with_room.insert(chunk_index);
  --taken_;
  if (chunk.free.size() < size_class.slots_per_chunk) return;
  ++size_class.idle_backed;
  if (size_class.idle_backed <= std::max<std::size_t>(1, kIdleBytesMax / size_class.chunk_bytes())) return;
  const auto offset = static_cast<off_t>(chunk_index * size_class.chunk_bytes());
  // A punched hole reads as zeros, which is what free slots are.
  if (fallocate(size_class.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset,
                static_cast<off_t>(size_class.chunk_bytes())) != 0) {
    return;
  }
  chunk.backed = false;
  --size_class.idle_backed;
}

}  // namespace dipc
