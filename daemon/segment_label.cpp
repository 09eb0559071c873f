#include "daemon/segment_label.h"

#include <sstream>

namespace dipc {

std::string format_label(const SegmentLabel& label) {
  std::ostringstream text;
  text << label.segment.id << ' ' << label.segment.generation << ' ' << label.shape.segment_bytes << ' '
       << label.shape.unit_bytes << ' ' << label.shape.hold_ns << ' ' << label.owner;
  return text.str();
}

std::optional<SegmentLabel> parse_label(const std::string& text) {
  SegmentLabel label;
  label.segment.kind = Kind::kSegment;
  std::istringstream words(text);
  words >> label.segment.id >> label.segment.generation >> label.shape.segment_bytes >> label.shape.unit_bytes >>
      label.shape.hold_ns >> label.owner;
  if (!words || label.shape.segment_bytes == 0 || label.shape.unit_bytes == 0) return std::nullopt;
  return label;
}

}  // namespace dipc
