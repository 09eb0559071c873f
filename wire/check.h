#pragma once

// DIPC_CHECK(x): x is true unless this program has a bug. On in every build; reports and aborts, so that the bug is
// found where it is and not in somebody's data.

#include <cstdio>
#include <cstdlib>

#define DIPC_CHECK(condition)                                                                            \
  do {                                                                                                   \
    if (!(condition)) [[unlikely]] {                                                                     \
      std::fprintf(stderr, "%s:%d: internal error: %s does not hold\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                                      \
    }                                                                                                    \
  } while (false)
