#include "daemon/core/admin_command.h"

#include <array>

#include "daemon/core/object_name.h"
#include "daemon/core/text_lines.h"
#include "wire/check.h"

namespace dipc {
namespace {

constexpr std::array<std::string_view, 4> kVerbs = {"status", "objects", "reload", "forget"};

}  // namespace

std::string to_string(const AdminCommand& command) {
  const auto index = static_cast<std::size_t>(command.verb);
  DIPC_CHECK(index < kVerbs.size());
  std::string text(kVerbs[index]);
  if (command.verb == AdminCommand::Verb::kForget) {
    text.append(" ").append(format_name(command.object));
  }
  return text;
}

Result<AdminCommand> parse_admin_command(std::string_view text) {
  const std::string remedy = "known are: status, objects, reload, forget KIND KEY";
  const auto lines = split_lines(text);
  if (lines.size() != 1) return trouble("a command is one line", remedy);
  const auto& words = lines[0].words;
  for (std::size_t i = 0; i < kVerbs.size(); ++i) {
    if (words[0] != kVerbs[i]) continue;
    AdminCommand command{static_cast<AdminCommand::Verb>(i), {}};
    if (command.verb != AdminCommand::Verb::kForget) {
      if (words.size() != 1) return trouble(std::string(words[0]) + " takes no arguments", remedy);
      return command;
    }
    if (words.size() != 3) return trouble("forget takes a kind and a key", "write forget msg 0x1234");
    const auto kind = kind_from_name(words[1]);
    if (!kind) return trouble(in_quotes(words[1]) + " is no kind of object", "write msg, sem or shm");
    const auto key = parse_key(words[2]);
    if (!key || *key == 0) {
      return trouble(in_quotes(words[2]) + " is not a key",
                     "write a number other than 0, as ipcs shows it: 0x00001234");
    }
    command.object = ObjectName{*kind, *key};
    return command;
  }
  return trouble(in_quotes(words[0]) + " is no command", remedy);
}

}  // namespace dipc
