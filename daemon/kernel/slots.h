#pragma once

// Where received messages rest until the receiver has them. The kernel copies a message straight into a mapped file, so
// that a daemon that dies between msgrcv and the reply leaves it there (received into private memory first, SIGKILL
// lost 174 of 140,000). A slot is a header and a struct msgbuf of this machine:
//
//   free      the type is 0 and so is all of the text
//   receiving a msgrcv may be under way; a type that isn't 0 means that the kernel has delivered. The length is not
//             known then: it is at least up to the last byte that isn't 0
//   received  `text_bytes` is the length
//
// Under qemu-user a SIGKILL may lose a message all the same: qemu receives into memory of its own and copies it here.
// Slots come in sizes of powers of two, a file each, grown in chunks whose memory is reserved before use: a page that
// the file system can't give would be an EFAULT, and a receive that ends in EFAULT has consumed the message.
// A slot found with a message at start becomes a dead letter. Not thread-safe, except that the kernel may write into
// the message of a slot that is taken.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "wire/messages.h"
#include "wire/result.h"

namespace dipc {

// For whom a slot is taken, and from which queue.
struct SlotLabel {
  std::string host;
  CallId call{};
  std::int32_t queue = 0;
  std::int32_t key = 0;
  std::uint32_t owner_uid = 0;   // of the queue
  std::uint64_t generation = 0;  // of the queue
  std::string login = {};        // who receives, as its host calls it
};

class Slot;

// A message that was found in a slot or is taken out of one.
struct FoundMessage {
  SlotLabel label;
  Message message;
  bool length_exact = true;
};

class Slots {
 public:
  // `found` is called for each message that an earlier daemon left; when it says false (not kept) the file stays as it
  // is and is set aside under another name. Trouble: no such directory, or another daemon uses it.
  static Result<std::unique_ptr<Slots>> open(const std::filesystem::path& directory,
                                             const std::function<bool(const FoundMessage&)>& found,
                                             const std::function<void(const std::string&)>& log);
  ~Slots();
  Slots(const Slots&) = delete;
  Slots& operator=(const Slots&) = delete;

  // A slot with room for `text_bytes`, ready to be received into. Null: no memory.
  Slot* take(const SlotLabel& label, std::size_t text_bytes);
  void give_back(Slot* slot);

  std::size_t taken_count() const { return taken_; }

 private:
  struct Chunk;
  struct SizeClass;
  Slots() = default;
  bool grow(SizeClass& size_class);

  std::filesystem::path directory_;
  int directory_fd_ = -1;                                      // holds the lock
  std::map<std::size_t, std::unique_ptr<SizeClass>> classes_;  // by room for text
  std::size_t taken_ = 0;
};

// One slot, inside the mapped file.
class Slot {
 public:
  void* msgbuf() { return &type_; }
  std::size_t room_bytes() const { return room_bytes_; }
  SlotLabel label() const;
  // After msgrcv returned: the length is known from now on.
  void received(std::size_t text_bytes);
  std::size_t text_bytes() const { return text_bytes_; }
  long type() const { return type_; }
  const std::byte* text() const { return reinterpret_cast<const std::byte*>(&type_) + sizeof type_; }
  Message message() const;

 private:
  friend class Slots;
  enum State : std::uint32_t { kFree = 0, kReceiving = 0x44520001, kReceived = 0x44520002 };
  static constexpr std::size_t kHostBytes = 128;
  static constexpr std::size_t kLoginBytes = 64;  // longer ones are cut

  std::uint32_t state_;
  std::uint32_t index_;  // of the slot in its file
  std::size_t room_bytes_;
  std::size_t text_bytes_;
  std::uint64_t call_;
  std::uint64_t generation_;
  std::int32_t queue_;
  std::int32_t key_;
  std::uint32_t owner_uid_;
  [[maybe_unused]] std::uint32_t reserved_;
  char host_[kHostBytes];
  char login_[kLoginBytes];
  long type_;  // struct msgbuf begins here; the text follows
};

}  // namespace dipc
