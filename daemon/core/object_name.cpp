#include "daemon/core/object_name.h"

#include <cstdio>

#include "daemon/core/number_text.h"
#include "wire/check.h"

namespace dipc {

std::string_view kind_name(Kind kind) {
  switch (kind) {
    case Kind::kMessageQueue:
      return "msg";
    case Kind::kSemaphoreSet:
      return "sem";
    case Kind::kSegment:
      return "shm";
  }
  constexpr bool kind_has_a_name = false;
  DIPC_CHECK(kind_has_a_name);
}

std::optional<Kind> kind_from_name(std::string_view name) {
  if (name == "msg") return Kind::kMessageQueue;
  if (name == "sem") return Kind::kSemaphoreSet;
  if (name == "shm") return Kind::kSegment;
  return std::nullopt;
}

std::string format_key(std::int32_t key) {
  char text[11];
  std::snprintf(text, sizeof text, "0x%08x", static_cast<unsigned>(key));
  return text;
}

std::string format_name(const ObjectName& name) {
  return std::string(kind_name(name.kind)).append(" ").append(format_key(name.key));
}

std::optional<std::int32_t> parse_key(std::string_view text) {
  const auto value = parse_prefixed_number<std::uint32_t>(text);
  if (!value) return std::nullopt;
  return static_cast<std::int32_t>(*value);
}

}  // namespace dipc
