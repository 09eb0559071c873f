#pragma once

// What is wrong with a text, which is the file a.types.

#include <gtest/gtest.h>

#include "layouts/parser.h"

namespace dipc::layout_test {

inline Troubles troubles(std::string_view text) {
  const TypeFile file{"a.types", text};
  const auto types = parse_types({&file, 1});
  return types ? Troubles{} : types.error();
}

// The only trouble of a text.
inline Trouble trouble_of(std::string_view text) {
  const Troubles all = troubles(text);
  EXPECT_EQ(all.size(), 1U) << text;
  return all.empty() ? Trouble{} : all.front();
}

}  // namespace dipc::layout_test
