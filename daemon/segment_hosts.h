#pragma once

// Hosts by number, as the state machines of shared memory know them. Numbers are this daemon's own and never leave it.

#include <map>
#include <optional>
#include <string>

#include "wire/page_messages.h"

namespace dipc {

class SegmentHosts {
 public:
  // What stands for every host that this one has never had a session with.
  static constexpr HostId kStranger{0};

  explicit SegmentHosts(const std::string& self) : self_(admit(self)) {}

  HostId self() const { return self_; }
  // A host that there is a session with, or this one.
  HostId admit(const std::string& name) {
    const auto [known, is_new] = numbers_.emplace(name, HostId{static_cast<std::uint32_t>(numbers_.size()) + 1});
    if (is_new) names_.emplace(known->second, name);
    return known->second;
  }
  // A host that somebody speaks of.
  HostId find(const std::string& name) const {
    const auto known = numbers_.find(name);
    return known == numbers_.end() ? kStranger : known->second;
  }
  // DIPC_CHECK by at(): a number that admit() gave.
  const std::string& name(HostId host) const { return names_.at(host); }

 private:
  std::map<std::string, HostId> numbers_;
  std::map<HostId, std::string> names_;
  HostId self_;
};

}  // namespace dipc
