#include "daemon/ctl/ftok_command.h"

#include <filesystem>

#include "daemon/core/ftok_paths.h"
#include "daemon/core/object_name.h"
#include "daemon/core/text_lines.h"

namespace dipc {
namespace {

// What is a digit is meant as a number.
std::optional<std::int32_t> id_from(const std::string& text) {
  if (text.size() == 1 && (text[0] < '0' || text[0] > '9')) return static_cast<unsigned char>(text[0]);
  const auto number = parse_key(text);
  return number && *number >= 1 && *number <= 255 ? std::optional(*number) : std::nullopt;
}

}  // namespace

Parsed<FtokAnswer> answer_ftok(const std::string& path, const std::string& id) {
  std::error_code absent;
  const std::string resolved = std::filesystem::canonical(path, absent).string();
  const auto number = id_from(id);
  Troubles troubles;
  if (const std::string objection = path_objection(path); !objection.empty()) {
    troubles.push_back({in_quotes(path) + " " + objection,
                        "write it as realpath prints it" + (absent ? std::string() : ", " + resolved)});
  }
  if (!number) {
    troubles.push_back({in_quotes(id) + " is no id for ftok", "write a character, as A, or a number from 1 to 255"});
  }
  if (!troubles.empty()) return tl::unexpected<Troubles>(std::move(troubles));
  FtokAnswer answer{format_key(ftok_key(path, *number)), std::nullopt};
  if (absent) {
    answer.warning = Trouble{in_quotes(path) + " on this host: " + absent.message(),
                             "ftok fails here until the file is there; make it, or check the spelling"};
  } else if (resolved != path) {
    answer.warning = Trouble{in_quotes(path) + " is " + resolved + " on this host, links resolved, and known by that",
                             "list " + resolved + " under [ftok], and ask for its key"};
  }
  return answer;
}

}  // namespace dipc
