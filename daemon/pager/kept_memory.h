#pragma once

// The memory of segments that a daemon which was killed has left: its guard (memory_guard.h) has it, with the
// userfaultfds of the programs, and hands all of it to the next daemon once.
//
// What can't be trusted (a program has moved its memory just when the daemon was killed) is not among it; programs that
// touch that get SIGBUS.

#include <sys/types.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "daemon/core/page_cache.h"
#include "daemon/pager/mapped_ranges.h"
#include "daemon/pager/memory_record.h"
#include "daemon/pager/pager.h"

namespace dipc {

struct KeptAttachment {
  AttachTicket ticket{};
  pid_t pid = 0;  // 0: not known
  uid_t uid = 0;
  bool writable = false;
  std::vector<MappedRange> ranges;
  Descriptor userfaultfd;
};

struct KeptSegment {
  std::string label;  // Pager::Options
  MemoryRecord record;
  Descriptor memory, for_reading;
  Descriptor directory;  // Pager::Options; none: it is another host's segment
  std::vector<KeptAttachment> attachments;
};

// Of a segment that was taken over: what is so.
struct HeldMemory {
  std::map<PageIndex, PageCache::Access> pages;
  std::vector<std::pair<AttachTicket, uid_t>> attachments;
};

class KeptMemory {
 public:
  // From the guard that listens at `socket`, if there is one.
  static KeptMemory fetch(const std::string& socket);

  std::vector<KeptSegment>& segments() { return segments_; }
  // What was wrong with some of it.
  const std::vector<std::string>& troubles() const { return troubles_; }
  // The guard may go: every segment has been taken over, or discarded. Without it the guard takes all from the
  // programs.
  void taken();

 private:
  bool receive();

  std::vector<KeptSegment> segments_;
  std::vector<std::string> troubles_;
  Descriptor connection_;
};

// SIGBUS for who touches it.
void discard(KeptSegment kept);

// A pager that goes on with it; `held` is what the PageCache is to know. Trouble: it is discarded.
Result<std::unique_ptr<Pager>> take_over(Pager::Options options, Pager::Handler& handler, KeptSegment kept,
                                         HeldMemory& held);

}  // namespace dipc
