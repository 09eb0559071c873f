#pragma once

// What a PageDirectory (page_directory.h) is made again from when its daemon was killed: to be written down before what
// it says is sent, where a kill does not reach.

#include <cstdint>
#include <map>
#include <optional>
#include <set>

#include "wire/page_messages.h"

namespace dipc {

struct PageRecord {
  std::set<HostId> holders;
  std::optional<HostId> requester;  // was granted the page and has not said that it has it
  bool requester_writes = false;    // it was granted it for writing
  bool written = false;             // ever, by somebody else than that one
  bool lost = false;
  bool exclusive = false;  // the one holder may write
  bool in_doubt = false;   // one that is out of reach may have written to it since, if nobody else has it
  bool operator==(const PageRecord&) const = default;
};

struct MemberRecord {
  std::uint64_t attachments = 0;
  bool may_write = false;
  bool out_of_reach = false;
  bool operator==(const MemberRecord&) const = default;
};

struct DirectoryRecords {
  std::uint64_t epoch = 0;  // greater with each directory that is made from it
  std::map<HostId, MemberRecord> members;
  std::map<PageIndex, PageRecord> pages;  // those that were ever asked for
  bool removed = false;
  bool operator==(const DirectoryRecords&) const = default;
};

}  // namespace dipc
