#pragma once

// Messages that left a queue and whose delivery stayed in doubt: kept for the administrator, because at-most-once
// forbids to deliver them again. One file a letter in a directory of mode 0700, the oldest goes when there are too
// many.
//
// A file is lines of text, an empty line, and the text of the message as it was in the owner's queue:
//
//   dipc dead letter 1
//   time: 1795365000            seconds since 1970
//   reason: the session with vax ended before it said whether the message arrived
//   host: vax                   whose receive had taken the message
//   kind-key: 0x00001234        the queue's key, 0x00000000 = IPC_PRIVATE or not known any more
//   queue-id: 32769
//   owner: alicia               login of the queue's owner, or its uid
//   type: 42
//   bytes: 100                  of text
//   length: exact               or "at least": the daemon died before it knew the length; zeros at the end may lack

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "wire/messages.h"
#include "wire/result.h"

namespace dipc {

struct DeadLetter {
  std::int64_t time_s = 0;
  std::string reason;
  std::string host;
  std::int32_t key = 0;
  std::int32_t queue = 0;
  std::string owner;
  bool length_exact = true;
  Message message;
  bool operator==(const DeadLetter&) const = default;
};

std::string encode_dead_letter(const DeadLetter& letter);
Result<DeadLetter> decode_dead_letter(const std::string& file);

class DeadLetters {
 public:
  // `log` hears of each letter that had to go. Trouble: the directory can't be made or read.
  static Result<DeadLetters> open(const std::filesystem::path& directory, std::size_t letters_max,
                                  std::function<void(const std::string&)> log);

  // The letter's name. Trouble: not written (the disk is full); then the caller must keep the message.
  Result<std::string> add(const DeadLetter& letter);
  // Oldest first.
  std::vector<std::string> names() const { return names_; }
  Result<DeadLetter> read(const std::string& name) const;
  Result<void> remove(const std::string& name);
  std::size_t count() const { return names_.size(); }

 private:
  std::filesystem::path directory_;
  std::size_t letters_max_ = 0;
  std::function<void(const std::string&)> log_;
  std::vector<std::string> names_;  // sorted, which is by age
  std::uint64_t next_number_ = 1;
};

}  // namespace dipc
