#pragma once

// `dipcctl ftok`: the key that ftok(3) has for a path listed under [ftok], on every host.

#include <optional>
#include <string>

#include "wire/parsed.h"

namespace dipc {

struct FtokAnswer {
  std::string key;                 // as format_key() writes it
  std::optional<Trouble> warning;  // ftok on this host won't give it, and why
};

// `id` as programs write it, A for 'A', or its number. Troubles: one of the two can't be what a program gives.
Parsed<FtokAnswer> answer_ftok(const std::string& path, const std::string& id);

}  // namespace dipc
