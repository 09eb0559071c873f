#include "daemon/core/object_name.h"

#include <charconv>
#include <cstdio>

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
  int base = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    base = 16;
    text.remove_prefix(2);
  }
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return static_cast<std::int32_t>(value);
}

}  // namespace dipc
