#pragma once

// What became of a list of lines whose order matters, for the log and for who asked.

#include <string>
#include <string_view>
#include <vector>

namespace dipc {

// "hosts.allow: added sun 10.0.0.2", "hosts.allow: removed ...", first what was removed. A line that stands there twice
// counts twice. Where lines that stayed have changed places: "logins.map: its lines stand in another order". Empty: all
// is as it was. `what` is how the list is called.
std::vector<std::string> line_changes(std::string_view what, const std::vector<std::string>& before,
                                      const std::vector<std::string>& after);

}  // namespace dipc
