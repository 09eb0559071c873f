#include "wire/messages.h"

#include <algorithm>

namespace dipc {

bool consumes_message(const CallBody& body) {
  const auto* receive = std::get_if<MessageReceive>(&body);
  return receive != nullptr && !receive->copy;
}

bool uses_undo(const CallBody& body) {
  const auto* operate = std::get_if<SemaphoreOperate>(&body);
  return operate != nullptr &&
         std::any_of(operate->ops.begin(), operate->ops.end(), [](const SemaphoreOp& op) { return op.undo; });
}

bool removes(const CallBody& body) {
  const auto* control = std::get_if<Control>(&body);
  return control != nullptr && control->command == ControlCommand::kRemove;
}

}  // namespace dipc
