#include "daemon/segment_label.h"

#include <sstream>

#include "wire/local_abi.h"

namespace dipc {

// One line of words, then the declarations as they are.
std::string format_label(const SegmentLabel& label) {
  std::ostringstream text;
  text << label.segment.id << ' ' << label.segment.generation << ' ' << label.shape.segment_bytes << ' '
       << label.shape.unit_bytes << ' ' << label.shape.hold_ns << ' ' << label.owner;
  for (const uint8_t byte : local::encode_abi(label.shape.abi).bytes) text << ' ' << int{byte};
  text << '\n' << label.shape.declarations;
  return text.str();
}

std::optional<SegmentLabel> parse_label(const std::string& text) {
  const std::size_t end = text.find('\n');
  if (end == std::string::npos) return std::nullopt;
  SegmentLabel label;
  label.segment.kind = Kind::kSegment;
  std::istringstream words(text.substr(0, end));
  words >> label.segment.id >> label.segment.generation >> label.shape.segment_bytes >> label.shape.unit_bytes >>
      label.shape.hold_ns >> label.owner;
  local::AbiBytes abi;
  for (uint8_t& byte : abi.bytes) {
    int value = 0;
    words >> value;
    byte = static_cast<uint8_t>(value);
  }
  const auto decoded = local::decode_abi(abi.bytes);
  const bool has_pages = label.shape.unit_bytes != 0 && label.shape.unit_bytes % kHostPageBytesMin == 0;
  if (!words || !decoded || label.shape.segment_bytes == 0 || !has_pages) return std::nullopt;
  label.shape.abi = *decoded;
  label.shape.declarations = text.substr(end + 1);
  return label;
}

}  // namespace dipc
