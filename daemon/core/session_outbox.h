#pragma once

// The messages of one side of a session on their way to the peer: those that wait to be written, and those written and
// not acknowledged, whose bytes are bounded.
// In: add(), acknowledge()   Out: write_next()   Owns: every message until it is acknowledged, withdrawn or taken back.
//
// Messages are written in the order of add(), with one exception: Cancel, Taken, Returned, ProcessEnded and what is
// said of pages take no room and so overtake those that wait for it, but never each other, nor the call, or a call of
// the process, that they are about.

#include <cstdint>
#include <deque>
#include <vector>

#include "wire/messages.h"

namespace dipc {

class SessionOutbox {
 public:
  // `bytes` bounds what is written and not acknowledged; a message larger than that goes alone.
  explicit SessionOutbox(std::uint64_t bytes) : bytes_most_(bytes) {}

  void add(PeerMessage message);
  // Takes back a Call that is not written. False: there is none.
  bool withdraw(CallId call);
  // The next message that may be written now, with the sequence number written(); nothing if there is none. It stays
  // here; the pointer is good until the next call that changes the box.
  const PeerMessage* write_next();
  // The peer has everything up to this sequence number, which lies in [acknowledged(), written()].
  void acknowledge(std::uint64_t up_to);

  std::uint64_t written() const { return acknowledged_ + written_.size(); }
  std::uint64_t acknowledged() const { return acknowledged_; }
  // A message that is to be written again: acknowledged() < sequence <= written().
  const PeerMessage& at(std::uint64_t sequence) const;
  std::uint64_t waiting_bytes() const { return waiting_bytes_; }
  // Everything here but this host's own calls, whether written or not: what the peer led to and does not take.
  std::uint64_t answer_bytes() const { return answer_bytes_; }

  // All of them, in the order of add(); the box is empty afterwards and counts from 0 again.
  struct Rest {
    std::vector<PeerMessage> unwritten;
    std::vector<PeerMessage> unacknowledged;
  };
  Rest take_rest();

  // What a message takes in a buffer, near enough for a bound; 0 for those outside it.
  static std::uint64_t bytes_of(const PeerMessage& message);

 private:
  struct Waiting {
    PeerMessage message;
    std::uint64_t bytes = 0;
    std::uint64_t order = 0;  // of add()
    std::uint64_t after = 0;  // urgent: not before the bounded message with this order
  };
  struct Written {
    PeerMessage message;
    std::uint64_t bytes = 0;
  };
  bool has_room(const Waiting& waiting) const;
  std::uint64_t last_related(const PeerMessage& urgent) const;
  const PeerMessage* write_front(std::deque<Waiting>& of);

  std::uint64_t bytes_most_;
  std::uint64_t added_ = 0;
  std::deque<Waiting> bounded_;
  std::deque<Waiting> urgent_;
  std::uint64_t waiting_bytes_ = 0;
  std::uint64_t answer_bytes_ = 0;
  std::deque<Written> written_;
  std::uint64_t written_bytes_ = 0;
  std::uint64_t acknowledged_ = 0;
};

}  // namespace dipc
