#include "daemon/core/admin_command.h"

#include <optional>
#include <span>

#include "daemon/core/number_text.h"
#include "daemon/core/object_name.h"
#include "daemon/core/text_lines.h"

namespace dipc {
namespace {

using Verb = AdminCommand::Verb;
using Words = std::span<const std::string_view>;

const std::string kRemedy =
    "known are: status, objects, reload, forget KIND KEY, segments, pages [KEY | id ID], deadletters [show ID | "
    "requeue ID | drop ID]";

Result<AdminCommand> parse_forget(Words arguments) {
  if (arguments.size() != 2) return trouble("forget takes a kind and a key", "write forget msg 0x1234");
  const auto kind = kind_from_name(arguments[0]);
  if (!kind) return trouble(in_quotes(arguments[0]) + " is no kind of object", "write msg, sem or shm");
  const auto key = parse_key(arguments[1]);
  if (!key || *key == 0) {
    return trouble(in_quotes(arguments[1]) + " is not a key",
                   "write a number other than 0, as ipcs shows it: 0x00001234");
  }
  return AdminCommand{Verb::kForget, ObjectName{*kind, *key}};
}

Result<AdminCommand> parse_pages(Words arguments) {
  if (arguments.size() == 2 && arguments[0] == "id") {
    const auto id = parse_number<std::int32_t>(arguments[1]);
    if (id && *id >= 0) return AdminCommand{Verb::kPages, {}, 0, 0, *id};
    return trouble(in_quotes(arguments[1]) + " is not the id of a segment",
                   "write a number as dipcctl segments shows it, pages --id 12");
  }
  const auto key = arguments.size() == 1 ? parse_key(arguments[0]) : std::nullopt;
  if (!key || *key == 0) {
    return trouble("pages takes the key of a segment, or the id of one that has none",
                   "write pages 0x1234, or pages --id 12; dipcctl segments lists both");
  }
  return AdminCommand{Verb::kPages, ObjectName{Kind::kSegment, *key}};
}

Result<AdminCommand> parse_dead_letters(Words arguments) {
  AdminCommand command{Verb::kDeadLetters, {}};
  if (arguments.empty()) return command;
  if (arguments[0] == "show") {
    command.verb = Verb::kShowLetter;
  } else if (arguments[0] == "requeue") {
    command.verb = Verb::kRequeueLetter;
  } else if (arguments[0] == "drop") {
    command.verb = Verb::kDropLetter;
  } else if (arguments[0] != "after") {
    return trouble("deadletters has no " + in_quotes(arguments[0]), kRemedy);
  }
  const bool from = command.verb == Verb::kShowLetter && arguments.size() == 4 && arguments[2] == "from";
  if (arguments.size() != 2 && !from) {
    return trouble("deadletters " + std::string(arguments[0]) + " takes one ID", kRemedy);
  }
  const auto letter = parse_number<std::uint64_t>(arguments[1]);
  if (!letter || *letter == 0) {
    return trouble(in_quotes(arguments[1]) + " is not the ID of a dead letter",
                   "write a number as dipcctl deadletters shows it");
  }
  command.letter = *letter;
  if (from) {
    const auto offset = parse_number<std::uint64_t>(arguments[3]);
    if (!offset) return trouble(in_quotes(arguments[3]) + " is not a place in a text", "write a number of bytes");
    command.offset = *offset;
  }
  return command;
}

}  // namespace

std::string to_string(const AdminCommand& command) {
  const std::string letter = std::to_string(command.letter);
  switch (command.verb) {
    case Verb::kStatus:
      return "status";
    case Verb::kObjects:
      return "objects";
    case Verb::kReload:
      return "reload";
    case Verb::kForget:
      return "forget " + format_name(command.object);
    case Verb::kDeadLetters:
      return command.letter == 0 ? "deadletters" : "deadletters after " + letter;
    case Verb::kShowLetter:
      return "deadletters show " + letter + (command.offset == 0 ? "" : " from " + std::to_string(command.offset));
    case Verb::kRequeueLetter:
      return "deadletters requeue " + letter;
    case Verb::kDropLetter:
      return "deadletters drop " + letter;
    case Verb::kSegments:
      return "segments";
    case Verb::kPages:
      return "pages " + (command.id ? "id " + std::to_string(*command.id) : format_key(command.object.key));
  }
  return {};
}

Result<AdminCommand> parse_admin_command(std::string_view text) {
  const auto lines = split_lines(text);
  if (lines.size() != 1) return trouble("a command is one line", kRemedy);
  const std::string_view verb = lines[0].words[0];
  const Words arguments = Words(lines[0].words).subspan(1);
  if (verb == "forget") return parse_forget(arguments);
  if (verb == "pages") return parse_pages(arguments);
  if (verb == "deadletters") return parse_dead_letters(arguments);
  for (const AdminCommand& command : {AdminCommand{Verb::kStatus, {}}, AdminCommand{Verb::kObjects, {}},
                                      AdminCommand{Verb::kReload, {}}, AdminCommand{Verb::kSegments, {}}}) {
    if (verb != to_string(command)) continue;
    if (!arguments.empty()) return trouble(std::string(verb) + " takes no arguments", kRemedy);
    return command;
  }
  return trouble(in_quotes(verb) + " is no command", kRemedy);
}

}  // namespace dipc
