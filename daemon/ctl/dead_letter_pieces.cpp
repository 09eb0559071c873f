#include "daemon/ctl/dead_letter_pieces.h"

#include <iterator>

#include "daemon/core/status_report.h"

namespace dipc {
namespace {

using Answer = tl::expected<DaemonAnswer, Unreachable>;

Answer ask_for_list(AdminCommand command, const Ask& ask) {
  DeadLettersReport all;
  for (;;) {
    Answer answer = ask(command);
    if (!answer || answer->error != 0) return answer;
    auto piece = dead_letters_from_json(answer->json);
    if (!piece) return answer;
    std::move(piece->rows.begin(), piece->rows.end(), std::back_inserter(all.rows));
    // Numbers grow from piece to piece; a daemon that doesn't say so would be asked for ever.
    if (!piece->next || *piece->next <= command.letter) return DaemonAnswer{0, to_json(all)};
    command.letter = *piece->next;
  }
}

Answer ask_for_text(AdminCommand command, const Ask& ask) {
  DeadLetterText all;
  for (;;) {
    Answer answer = ask(command);
    if (!answer || answer->error != 0) return answer;
    auto piece = dead_letter_text_from_json(answer->json);
    if (!piece) return answer;
    all.row = piece->row;
    all.text.append(piece->text);
    command.offset = all.text.size();
    if (piece->text.empty() || all.text.size() >= all.row.bytes) return DaemonAnswer{0, to_json(all)};
  }
}

}  // namespace

Answer ask_for_all(const AdminCommand& command, const Ask& ask) {
  if (command.verb == AdminCommand::Verb::kDeadLetters) return ask_for_list(command, ask);
  if (command.verb == AdminCommand::Verb::kShowLetter) return ask_for_text(command, ask);
  return ask(command);
}

}  // namespace dipc
