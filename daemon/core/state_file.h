#pragma once

// What a dipcd writes down about its own host, so that after a restart it knows which kernel objects are its doing.
// Lost, it can't tell its stand-ins from other people's objects. Text, one object a line, to be read by people in
// trouble:
//
//   dipc-state 1
//   boot 4fd3c1aa-93b2-4f0e-8a5e-d61b2c0f7e11/4026531839
//   incarnation 0x5a0c1f2e3d4b6978
//   number 5
//   owned msg 0x00001234 id 5 generation 0x0000000000000007 size 0 live
//   stand-in sem 0x00001235 id 7 owner vax ref 12 generation 0x0000000000000009 nsems 3
//   making msg 0x00001236 uid 1001
//   end 4
//
// The last line counts the objects, and the number: without it the file was cut short. daemon/io/atomic_file.h writes
// it so that this can't happen by a crash of ours, but disks fill and people copy.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/core/owned_objects.h"
#include "wire/messages.h"
#include "wire/result.h"

namespace dipc {

// The placeholder in this host's kernel for an object that another host owns.
struct StandIn {
  ObjectName name;         // key 0: an IPC_PRIVATE object with a home elsewhere
  std::int32_t id = 0;     // in this host's kernel
  std::string owner;       // host
  ObjectRef object;        // on the owner; of the name's kind
  std::int64_t nsems = 0;  // semaphore sets
  bool operator==(const StandIn&) const = default;
};

// An object that is being made at this moment: written before the kernel is asked, so that a daemon that is killed
// between the two does not leave an object that nobody knows.
struct Making {
  ObjectName name;
  std::uint32_t uid = 0;  // as whom
  bool operator==(const Making&) const = default;
};

struct DaemonState {
  std::string boot;  // as Hello.boot: no blanks in it
  Incarnation incarnation{};
  std::vector<OwnedObject> owned;
  std::vector<StandIn> stand_ins;
  std::vector<Making> making;
  std::uint16_t number = 0;  // of this host, by the referee's word; 0: none yet, and no line
  bool operator==(const DaemonState&) const = default;
};

// DIPC_CHECK: boot and owners are words (not empty, no blanks or control characters).
std::string render_state(const DaemonState& state);

// `file` is how errors name the text. Trouble: another version, cut short, a line that makes no sense, an id that
// stands there twice for one kind. Nothing is guessed: a state that is not whole is not used.
Result<DaemonState> parse_state(std::string_view text, std::string_view file);

}  // namespace dipc
