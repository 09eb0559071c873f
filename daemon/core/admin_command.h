#pragma once

// What dipcctl asks of a daemon, as the text in the payload of local::Op::kAdmin: "status", "objects", "reload",
// "forget msg 0x00001234", "deadletters", "deadletters after 500", "deadletters show 7", "deadletters show 7 from
// 65536", "deadletters requeue 7", "deadletters drop 7", "segments", "pages 0x00001234", "pages id 12". The daemon
// answers with one JSON text (status_report.h).

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "wire/messages.h"
#include "wire/result.h"

namespace dipc {

struct AdminCommand {
  enum class Verb : std::uint8_t {
    kStatus,         // StatusReport
    kObjects,        // ObjectsReport, of the whole cluster
    kReload,         // AdminDone: reads configuration, hosts.allow, logins.map and certificates again
    kForget,         // AdminDone: the referee forgets `object`, whatever its owner says
    kDeadLetters,    // DeadLettersReport: a piece of the list, what comes after `letter`
    kShowLetter,     // DeadLetterText: `letter`, and a piece of its text from byte `offset` on
    kRequeueLetter,  // AdminDone: `letter` goes back to the tail of its queue
    kDropLetter,     // AdminDone: `letter` is deleted
    kSegments,       // SegmentsReport, of this host
    kPages,          // PagesReport of `object` or, if it is there, `id`: a segment of this host
  };
  Verb verb{};
  ObjectName object;         // kForget, kPages; its key is never IPC_PRIVATE
  std::uint64_t letter = 0;  // number of a dead letter, from 1; kDeadLetters: 0 is the beginning
  std::uint64_t offset = 0;  // kShowLetter
  // kPages: of one that has no key, or had one; `object` says nothing then.
  std::optional<std::int32_t> id = std::nullopt;
  bool operator==(const AdminCommand&) const = default;

  // Members of group dipc may read; what changes something is root's (or the login's that runs the daemon).
  bool changes_something() const {
    return verb == Verb::kReload || verb == Verb::kForget || verb == Verb::kRequeueLetter || verb == Verb::kDropLetter;
  }
};

std::string to_string(const AdminCommand& command);
Result<AdminCommand> parse_admin_command(std::string_view text);

}  // namespace dipc
