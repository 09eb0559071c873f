#pragma once

// How a daemon calls a segment in what it leaves to the next one (daemon/pager/kept_memory.h).

#include <optional>
#include <string>

#include "wire/messages.h"

namespace dipc {

struct SegmentLabel {
  std::string owner;
  ObjectRef segment;
  AttachReply shape;
};

std::string format_label(const SegmentLabel& label);
// Nothing: not of this version.
std::optional<SegmentLabel> parse_label(const std::string& text);

}  // namespace dipc
