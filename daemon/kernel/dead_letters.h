#pragma once

// Messages that left a queue and whose delivery stayed in doubt: kept for the administrator, because at-most-once
// forbids to deliver them again. One file a letter in a directory of mode 0700, the oldest goes when there are too
// many.
//
// A file NUMBER.letter, twelve digits, is lines of text, an empty line, and the text of the message as it was in the
// owner's queue. Unknown lines are passed over:
//
//   dipc dead letter 1
//   time: 1795365000            seconds since 1970
//   reason: the session with vax ended before it said whether the message arrived
//   host: vax                   whose receive had taken the message
//   login: alice                who received, as that host calls it; absent: not known
//   kind-key: 0x00001234        the queue's key, 0x00000000 = IPC_PRIVATE or not known any more
//   queue-id: 32769
//   generation: 1b2c3d4e5f60718 of the queue, hexadecimal; absent: not known
//   owner: alicia               login of the queue's owner, or its uid
//   type: 42
//   bytes: 100                  of text
//   length: exact               or "at least": the daemon died before it knew the length; zeros at the end may lack
//
// Other files in the directory, and those that are no letter of this version, are never changed but by remove().

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "wire/messages.h"
#include "wire/result.h"

namespace dipc {

struct DeadLetter {
  std::int64_t time_s = 0;
  std::string reason;
  std::string host;
  std::string login;
  std::int32_t key = 0;
  std::int32_t queue = 0;
  std::uint64_t generation = 0;  // 0: not known
  std::string owner;
  bool length_exact = true;
  Message message;
  bool operator==(const DeadLetter&) const = default;
};

// All of a letter but its text.
struct DeadLetterHead {
  DeadLetter letter;             // its message.text is empty
  std::uint64_t text_bytes = 0;  // how much there is
  std::size_t text_at = 0;       // from the beginning of the file
};

std::string encode_dead_letter(const DeadLetter& letter);
Result<DeadLetter> decode_dead_letter(std::string_view file);
// `beginning` is at least the first kDeadLetterHeadBytesMax bytes of a file of `file_bytes`, or all of it.
Result<DeadLetterHead> decode_dead_letter_head(std::string_view beginning, std::uint64_t file_bytes);
inline constexpr std::size_t kDeadLetterHeadBytesMax = 8192;

// What the file of a letter is called, and the reverse; letters are numbered from 1, by age.
std::string dead_letter_name(std::uint64_t number);
std::optional<std::uint64_t> dead_letter_number(std::string_view name);

class DeadLetters {
 public:
  // `log` hears of each letter that had to go. Trouble: the directory can't be made or read.
  static Result<DeadLetters> open(const std::filesystem::path& directory, std::size_t letters_max,
                                  std::function<void(const std::string&)> log);

  // The letter's name. Trouble: not written (the disk is full); then the caller must keep the message.
  Result<std::string> add(const DeadLetter& letter);
  // Oldest first.
  const std::vector<std::string>& names() const { return names_; }
  bool has(const std::string& name) const;
  // Trouble: it is not there (any more), not to be read, or no letter of this version.
  Result<DeadLetterHead> head(const std::string& name) const;
  // At most `bytes_max` of the text from byte `offset` on; `head` is that of the letter.
  Result<std::string> text(const std::string& name, const DeadLetterHead& head, std::uint64_t offset,
                           std::size_t bytes_max) const;
  Result<DeadLetter> read(const std::string& name) const;
  Result<void> remove(const std::string& name);
  std::size_t count() const { return names_.size(); }

 private:
  void make_room();

  std::filesystem::path directory_;
  std::size_t letters_max_ = 0;
  std::function<void(const std::string&)> log_;
  std::vector<std::string> names_;  // sorted, which is by age
  std::uint64_t next_number_ = 1;
};

}  // namespace dipc
