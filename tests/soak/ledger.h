#pragma once

// The books of one round of a soak: what the processes of the load wrote down about every message and every semaphore
// operation, and whether it adds up. Pure: text in, sentences out.
//
// A message that was sent is received, rests in its queue, or is a dead letter. It may be missing only where a receiver
// of that queue was killed, one message for each: it had it and could not say so. A send that failed with ECONNRESET,
// or whose sender was killed in it, is in doubt: at most one message. One that failed otherwise was not made.

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace dipc::soak {

// A message: its sender's number, and its own among that sender's.
struct MessageName {
  unsigned sender = 0;
  unsigned number = 0;
  auto operator<=>(const MessageName&) const = default;
};

// At the beginning of each text.
std::optional<MessageName> name_of_text(std::string_view text);

class Ledger {
 public:
  // Contents of one file of the load, by what its name says.
  void add_log(unsigned process, const std::string& role, int key, const std::string& text);
  void add_dead_letter(MessageName message) { letters_.insert(message); }
  // So many messages of the queue may be missing for another reason.
  void excuse(int key, std::size_t messages) { excused_[key] += messages; }

  // Call after all logs were added.
  //
  // What must not be; empty if all is well. `ordered` are the queues whose receivers are neither killed nor
  // interrupted: nothing goes back into these, so each sender's messages come in order.
  std::vector<std::string> violations(const std::set<int>& ordered) const;
  // Messages that are nowhere although they were sent, of one queue; for a second look before they count as lost.
  std::size_t missing(int key) const;
  // What the book's semaphores may hold by now: the least and the greatest, semaphore by semaphore, added to what they
  // held before.
  struct Range {
    long least = 0;
    long greatest = 0;
  };
  Range book(int key, int semaphore) const;

  struct Figures {
    std::uint64_t sent = 0, received = 0, drained = 0, in_doubt = 0, dead_letters = 0, letters_received = 0;
    std::uint64_t lost_with_receivers = 0, killed = 0, undone_operations = 0, booked = 0, churned = 0;
    std::map<std::string, std::uint64_t> errors;  // errno name -> how many calls
  };
  Figures figures() const;
  // Calls that came to something: (process, key of its object) -> how many.
  const std::map<std::pair<unsigned, int>, std::uint64_t>& successes() const { return successes_; }

 private:
  enum class Fate { kSent, kNotSent, kInDoubt };
  struct Receiver {
    int key = 0;
    bool drains = false;
    std::vector<MessageName> messages;  // in the order in which they came
  };
  struct Missing {
    std::vector<MessageName> messages;
    std::size_t allowed = 0;
  };
  void add_sender_line(unsigned process, int key, const std::string& line);
  void add_book_line(unsigned process, int key, const std::string& line, std::optional<std::pair<int, int>>& open);
  void note_doubtful(int key, std::pair<int, int> operation);
  std::map<int, Missing> missing_by_queue() const;
  void check_order(const std::set<int>& ordered, std::vector<std::string>& found) const;
  std::map<MessageName, std::size_t> times_received() const;

  std::map<MessageName, Fate> sends_;
  std::map<unsigned, int> queue_of_sender_;
  std::map<unsigned, Receiver> receivers_;
  std::map<int, std::size_t> killed_receivers_;  // by queue
  std::map<int, std::size_t> excused_;           // by queue
  std::multiset<MessageName> letters_;
  std::map<std::pair<int, int>, Range> books_;  // (key, semaphore)
  std::vector<std::string> outcries_;           // the "!" lines
  std::map<std::pair<unsigned, int>, std::uint64_t> successes_;
  Figures counts_;  // what is counted while reading
};

}  // namespace dipc::soak
