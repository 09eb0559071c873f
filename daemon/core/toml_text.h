#pragma once

// toml++ for reading files that people write. Include this and not toml++ itself, and in one source file of a program's
// part only: it costs two seconds of each compilation.
//
// toml++ 3.3 relies on its assertions to stop some malformed texts ("[&", "[[[a]]]": github.com/marzer/tomlplusplus,
// issue 294), so that a typing error would abort the daemon, or worse where NDEBUG turns the assertion into an
// assumption. Here a failed assertion is a syntax error like any other, in every build.

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace dipc::detail {
struct TomlAssertion {};
// Apart, so that toml++'s noexcept functions call something rather than throw in plain sight: those would end the
// program, as the assertion would.
[[noreturn]] inline void toml_assertion_failed() { throw TomlAssertion(); }
}  // namespace dipc::detail

#ifdef TOML_ASSERT
#error "include daemon/core/toml_text.h before, and instead of, toml++"
#endif
#define TOML_EXCEPTIONS 1
#define TOML_HEADER_ONLY 1
#define TOML_ASSERT(expression)                                 \
  do {                                                          \
    if (!(expression)) ::dipc::detail::toml_assertion_failed(); \
  } while (false)
#pragma push_macro("NDEBUG")
#undef NDEBUG  // with it toml++ does not ask TOML_ASSERT
#include <toml++/toml.h>
#pragma pop_macro("NDEBUG")

#include "daemon/core/parsed.h"
#include "daemon/core/text_lines.h"

namespace dipc {

namespace detail {

// Where a failed assertion struck is not told, but every text that holds the place fails in the same way, and none that
// ends before it: the first such line is found by halving.
inline std::size_t line_of_assertion(std::string_view text) {
  const auto fails = [](std::string_view part) {
    try {
      static_cast<void>(toml::parse(part));
    } catch (const toml::parse_error&) {
    } catch (const TomlAssertion&) {
      return true;
    }
    return false;
  };
  std::vector<std::size_t> ends;
  for (std::size_t end = text.find('\n'); end != std::string_view::npos; end = text.find('\n', end + 1)) {
    ends.push_back(end);
  }
  ends.push_back(text.size());
  const auto found =
      std::partition_point(ends.begin(), ends.end(), [&](std::size_t end) { return !fails(text.substr(0, end)); });
  return static_cast<std::size_t>(found - ends.begin()) + (found == ends.end() ? 0 : 1);
}

}  // namespace detail

// A syntax error is one Trouble with file and line: toml++ does not read on after it.
inline Parsed<toml::table> parse_toml(std::string_view text, std::string_view file) {
  const auto wrong = [&](std::size_t line, std::string_view what) {
    return tl::unexpected(Troubles{
        trouble_at(file, line, what, "each line is a setting, key = value, or a [table]; text stands in quotes")});
  };
  try {
    return toml::parse(text, file);
  } catch (const toml::parse_error& error) {
    return wrong(std::max<std::size_t>(1, error.source().begin.line), error.description());
  } catch (const detail::TomlAssertion&) {
    return wrong(detail::line_of_assertion(text), "this can't be read as TOML");
  }
}

}  // namespace dipc
