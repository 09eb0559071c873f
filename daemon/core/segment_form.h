#pragma once

// What a segment's owner declares of it, on a host whose programs attach it: whether they can have it, and how its
// pages become theirs. A page travels as it lies in the owner's memory, and lies in a host's memory as all its programs
// have it; so only a host of the other byte order has anything to do, and one byte order is enough to share a struct
// whose numbers lie across two pages. LAYOUTS.md has what is refused. Pure.

#include <memory>
#include <optional>
#include <string>

#include "arch/abi.h"
#include "layouts/page_swaps.h"
#include "layouts/segment_layout.h"
#include "wire/messages.h"

namespace dipc {

// Why a program can't have the segment that `owner` (a host) has granted it; nothing: it can. `here`: of this host's
// dipcd; `program`: of the program. `own`: what this host's administrator declares for the key; null: nothing, or this
// host is the owner.
std::optional<Trouble> objection(const AttachReply& segment, const std::string& owner, const Abi& here,
                                 const Abi& program, const SegmentLayout* own);

// What changes in pages between the way and the memory of this host, in either direction. Null: nothing.
std::shared_ptr<const PageSwaps> swaps_for(const AttachReply& segment, const Abi& here);
// One page, changed so. `swaps` may be null, and so may `contents` (zeros).
PageContents turned(const PageSwaps* swaps, PageIndex page, PageContents contents);

}  // namespace dipc
