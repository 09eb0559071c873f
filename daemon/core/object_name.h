#pragma once

// How kinds and keys are written in files, logs and tools: "msg", "sem", "shm"; 0x00001234.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "wire/messages.h"

namespace dipc {

std::string_view kind_name(Kind kind);  // "msg", "sem", "shm"
std::optional<Kind> kind_from_name(std::string_view name);

std::string format_key(std::int32_t key);         // 0x and eight hexadecimal digits, as ipcs prints it
std::string format_name(const ObjectName& name);  // "msg 0x00001234"
// "0x1234", "4660"; 0..0xffffffff, the keys above 0x7fffffff being the negative key_t values. Empty: not a key.
std::optional<std::int32_t> parse_key(std::string_view text);

}  // namespace dipc
