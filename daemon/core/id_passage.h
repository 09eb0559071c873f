#pragma once

// How process ids and logins that messages carry (fields declared pid, uid, gid) come to mean the same on every host.
//
//   on a host      a pid of its own is the number that its kernel gave; one of another host is that host's number times
//                  2^22 and the pid there. So programs without DIPC see their own pids, and two processes of two hosts
//                  never have one number.
//   on the way     every pid has its host's number (wire/peer.capnp, PayloadForm); logins are names
//
// 0 and negative numbers are no pids and pass.

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "layouts/id_rewriter.h"

namespace dipc {

inline constexpr unsigned kPidBits = 22;  // include/linux/threads.h: PID_MAX_LIMIT is 4194304 on 64-bit machines
inline constexpr std::uint16_t kHostNumberMax = 511;  // what is left of 31 bits

// `own`: this host's number, 0 = none yet. kInvalid: not a pid of 31 bits; kHostUnreachable: one of this host, which
// has no number, as it has never reached the referee.
IdRewriter::Answer pid_leaving(std::int64_t pid, std::uint16_t own);
IdRewriter::Answer pid_entering(std::int64_t pid, std::uint16_t own);

// The ids of one message, leaving this host.
class IdsLeaving final : public IdRewriter {
 public:
  // The login or group of a number, as the other host is to look it up; empty: there is none.
  using NameOf = std::function<std::string(Meaning, std::uint32_t)>;
  IdsLeaving(std::uint16_t own, NameOf name_of) : own_(own), name_of_(std::move(name_of)) {}

  Answer rewrite(Meaning meaning, std::int64_t value) override;
  // Those that were asked for, in the order of their numbers.
  std::vector<std::string> take_logins() { return std::exchange(logins_, {}); }

 private:
  const std::uint16_t own_;
  const NameOf name_of_;
  std::vector<std::string> logins_;
  std::map<std::pair<Meaning, std::int64_t>, std::int64_t> known_;
};

// Entering it.
class IdsEntering final : public IdRewriter {
 public:
  // This host's number for a login or group of the other; nothing: nobody here.
  using IdOf = std::function<std::optional<std::uint32_t>(Meaning, const std::string&)>;
  // `logins` is borrowed.
  IdsEntering(std::uint16_t own, const std::vector<std::string>& logins, IdOf id_of)
      : own_(own), logins_(logins), id_of_(std::move(id_of)) {}

  Answer rewrite(Meaning meaning, std::int64_t value) override;
  // The login or group that nobody here is, once rewrite() has failed for one.
  const std::string& unknown() const { return unknown_; }

 private:
  const std::uint16_t own_;
  const std::vector<std::string>& logins_;
  const IdOf id_of_;
  std::map<std::pair<Meaning, std::int64_t>, std::int64_t> known_;
  std::string unknown_;
};

}  // namespace dipc
