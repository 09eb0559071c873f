#pragma once

// What an administrator does with dead letters (kernel/dead_letters.h): look at them, put them back, drop them. Answers
// come in pieces, so that the loop never stands still for a long list or a long text.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "daemon/core/owned_objects.h"
#include "daemon/core/status_report.h"
#include "daemon/kernel/dead_letters.h"
#include "wire/result.h"

namespace dipc {

class DeadLetterCommands {
 public:
  static constexpr std::size_t kRowsMax = 500;          // of a piece of the list
  static constexpr std::size_t kPieceBytes = 64 << 10;  // of a text

  // nullptr: this host owns no queue of that id.
  using Owned = std::function<const OwnedObject*(std::int32_t queue)>;
  // Appends to a queue without waiting; what msgsnd(2) says, an errno or 0.
  using Put = std::function<int(std::int32_t queue, const Message& message)>;
  // `letters` is borrowed.
  DeadLetterCommands(DeadLetters& letters, Owned owned, Put put);

  // What comes after the letter of that number; 0: from the oldest on. A file that can't be read is a row that says so.
  DeadLettersReport list(std::uint64_t after) const;
  // Trouble: no such letter, not to be read, or the text ends before `offset`.
  Result<DeadLetterText> show(std::uint64_t letter, std::uint64_t offset) const;
  // Into the queue that it came from, at the tail; the letter is removed when the message is in the queue. A daemon
  // killed in between leaves both. Trouble: the letter stays as it is. `who` goes into the log.
  Result<AdminDone> requeue(std::uint64_t letter, const std::string& who);
  Result<AdminDone> drop(std::uint64_t letter, const std::string& who);

 private:
  Result<std::string> name_of(std::uint64_t letter) const;
  Result<void> check_queue(const DeadLetter& letter) const;

  DeadLetters& letters_;
  Owned owned_;
  Put put_;
};

}  // namespace dipc
