#include "daemon/core/expected_reply.h"

#include <limits>

namespace dipc {
namespace {

constexpr std::uint64_t kHoldNsMax = 10'000'000'000;  // the longest that a configuration may say (hold_time)

}  // namespace

ExpectedReply::ExpectedReply(const CallBody& call, std::int64_t semaphores) {
  if (const auto* get = std::get_if<GetCall>(&call)) {
    what_ = What::kObject;
    kind_ = get->name.kind;
  } else if (const auto* receive = std::get_if<MessageReceive>(&call)) {
    what_ = What::kMessage;
    bytes_max_ = receive->max_bytes;
    narrow_type_ = receive->type_bytes == 4;
    layout_ = receive->layout;
  } else if (const auto* control = std::get_if<Control>(&call)) {
    if (control->command == ControlCommand::kStat) what_ = What::kStat;
    if (control->command == ControlCommand::kGetAll) what_ = What::kValues;
    values_ = semaphores < 0 ? 0 : static_cast<std::uint64_t>(semaphores);
  } else if (const auto* attach = std::get_if<SegmentAttach>(&call)) {
    what_ = What::kSegment;
    page_bytes_ = attach->page_bytes;
  }
}

std::optional<std::string> ExpectedReply::objection(const Reply& reply) const {
  if (reply.error != Error::kNone) return std::nullopt;
  switch (what_) {
    case What::kNothing:
      if (!std::holds_alternative<std::monostate>(reply.body)) return "it brings data that nobody asked for";
      break;
    case What::kObject: {
      const auto* object = std::get_if<GetReply>(&reply.body);
      if (object == nullptr) return "it names no object";
      if (object->object.kind != kind_) return "the object is of another kind";
      if (object->object.id < 0 || object->size < 0) return "the object's id or size is negative";
      break;
    }
    case What::kMessage: {
      const auto* message = std::get_if<Message>(&reply.body);
      if (message == nullptr) return "it brings no message";
      if (message->form.layout != layout_ || (layout_ == 0 && message->form.structure != 0)) {
        return "the message is in another form than was asked for";
      }
      if (message->form.structure == 0 && message->text.size() > bytes_max_) {
        return "the message is longer than the room for it";
      }
      if (reply.value != static_cast<std::int64_t>(message->text.size())) return "it counts other bytes than it brings";
      if (narrow_type_ && (message->type < std::numeric_limits<std::int32_t>::min() ||
                           message->type > std::numeric_limits<std::int32_t>::max())) {
        return "the message's type does not fit the receiver's long";
      }
      break;
    }
    case What::kStat:
      if (!std::holds_alternative<Stat>(reply.body)) return "it brings no record";
      break;
    case What::kValues: {
      const auto* values = std::get_if<std::vector<std::uint16_t>>(&reply.body);
      if (values == nullptr) return "it brings no values";
      if (values->size() != values_) {
        return "it brings " + std::to_string(values->size()) + " values for " + std::to_string(values_) + " semaphores";
      }
      break;
    }
    case What::kSegment: {
      const auto* segment = std::get_if<AttachReply>(&reply.body);
      if (segment == nullptr) return "it describes no segment";
      if (segment->segment_bytes == 0) return "the segment is empty";
      if (!is_page_size(page_bytes_) || segment->unit_bytes == 0 || segment->unit_bytes % page_bytes_ != 0 ||
          segment->unit_bytes > kUnitBytesMax) {
        return "pages of " + std::to_string(segment->unit_bytes) + " bytes are no pages";
      }
      if (segment->segment_bytes / segment->unit_bytes > kPagesMax) {
        return "the segment has more pages than can be named";
      }
      if (segment->hold_ns > kHoldNsMax) return "it holds pages for too long";
      break;
    }
  }
  return std::nullopt;
}

}  // namespace dipc
