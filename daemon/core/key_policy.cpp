#include "daemon/core/key_policy.h"

#include <utility>

#include "daemon/core/object_name.h"

namespace dipc {

KeyPolicy::KeyPolicy(std::vector<KeyRule> rules, std::string_view file) : rules_(std::move(rules)), file_(file) {}

const KeyRule* KeyPolicy::first_that_fits(Kind kind, std::int32_t key) const {
  for (const KeyRule& rule : rules_) {
    if (rule.speaks_of(kind, key)) return &rule;
  }
  return nullptr;
}

KeyPolicy::Decision KeyPolicy::decide(Kind kind, std::int32_t key, bool ipc_dipc) const {
  const KeyRule* rule = first_that_fits(kind, key);
  const std::size_t line = rule == nullptr ? 0 : rule->line;
  if (rule != nullptr && rule->refuse) return {ipc_dipc ? Outcome::kRefused : Outcome::kLocal, {}, line};
  if (!ipc_dipc && rule == nullptr) return {Outcome::kLocal, {}, line};
  return {Outcome::kDistributed, rule == nullptr ? std::string() : rule->home, line};
}

std::string KeyPolicy::explain(Kind kind, std::int32_t key, bool ipc_dipc) const {
  const Decision decision = decide(kind, key, ipc_dipc);
  std::string text(kind_name(kind));
  text.append(" ").append(key == 0 ? "IPC_PRIVATE" : format_key(key));
  switch (decision.outcome) {
    case Outcome::kLocal:
      text.append(" is not distributed");
      break;
    case Outcome::kDistributed:
      text.append(" is distributed");
      if (!decision.home.empty()) text.append(", made on ").append(decision.home);
      break;
    case Outcome::kRefused:
      text.append(" is refused");
      break;
  }
  if (decision.line != 0) {
    return text.append(" (").append(file_).append(":").append(std::to_string(decision.line)).append(")");
  }
  return text.append(ipc_dipc ? " (IPC_DIPC)" : " (no IPC_DIPC, no [[keys]] for it)");
}

bool KeyPolicy::serves(Kind kind, std::int32_t key) const {
  const KeyRule* rule = first_that_fits(kind, key);
  return rule == nullptr || !rule->refuse;
}

KeyPolicy::Sharing KeyPolicy::sharing(std::int32_t key) const {
  Sharing sharing;
  const KeyRule* rule = first_that_fits(Kind::kSegment, key);
  if (rule == nullptr) return sharing;
  sharing.unit = rule->unit;
  sharing.page_bytes = rule->page_bytes;
  if (rule->hold_time) sharing.hold_time = *rule->hold_time;
  return sharing;
}

}  // namespace dipc
