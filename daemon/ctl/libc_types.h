#pragma once

// Names that C libraries give to integers, and what a declaration says for them: the integer behind a name is another
// one on every machine, the name is not.

#include <string>
#include <string_view>

namespace dipc {

// "pid" for "__pid_t", "int64_t" for "intmax_t"; the name itself, if it is none of those: `time_t` stays, and so does a
// program's own.
std::string_view declared_for(std::string_view name);

// What whoever declares a field of this type should think of, because a name says less than it seems; empty: nothing.
std::string_view warning_about(std::string_view name);

}  // namespace dipc
