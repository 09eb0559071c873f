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
};

}  // namespace dipc
