#pragma once

// Where messages for other hosts go in; what came of them comes back as replies and ends of sessions.

#include <string>

#include "wire/messages.h"

namespace dipc {

class PeerOutbox {
 public:
  virtual ~PeerOutbox() = default;
  // For the session with `host`, in order. A message for this host itself comes back to it at the end of the turn.
  // False: there is no session and none is expected soon; the message is gone and was certainly not received.
  virtual bool send(const std::string& host, PeerMessage message) = 0;
  // Takes a call back that was not written to a connection yet. True: `host` will never see it, and nothing more is
  // heard of it. False: it was written, or never sent.
  virtual bool withdraw(const std::string& host, CallId call) = 0;
  // False: `host` does not take what it asked for, and so much is kept for it that it is to be refused more.
  virtual bool takes_answers(const std::string& host) const = 0;
  // `host` said something that can't be: `why`, for its log and ours. Its session ends as when it is lost (later in
  // this turn), and a new one may begin.
  virtual void end_session(const std::string& host, const std::string& why) = 0;
};

}  // namespace dipc
