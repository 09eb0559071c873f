#include "daemon/dead_letter_commands.h"

#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "daemon/core/number_text.h"
#include "daemon/core/object_name.h"
#include "daemon/io/log.h"
#include "daemon/naming.h"

namespace dipc {
namespace {

constexpr const char* kTopic = "dead letters";

DeadLettersReport::Row row_of(std::uint64_t number, const DeadLetter& letter, std::uint64_t text_bytes) {
  DeadLettersReport::Row row;
  row.id = number;
  row.time = utc(letter.time_s);
  row.reason = letter.reason;
  row.host = letter.host;
  row.login = letter.login;
  row.queue = letter.queue;
  row.key = letter.key;
  row.generation = letter.generation;
  row.owner = letter.owner;
  row.type = letter.message.type;
  row.bytes = text_bytes;
  row.length_exact = letter.length_exact;
  return row;
}

std::string described(std::uint64_t number, const DeadLettersReport::Row& row) {
  return "letter " + std::to_string(number) + " (queue " + std::to_string(row.queue) + ", key " + format_key(row.key) +
         ", type " + std::to_string(row.type) + ", " + std::to_string(row.bytes) + " bytes, for " + row.host + ")";
}

Trouble not_put(const DeadLetter& letter, int error) {
  const std::string queue = "queue " + std::to_string(letter.queue);
  if (error == EAGAIN) return {queue + " is full", "let its programs receive, then try again"};
  if (error == EACCES) return {queue + " may not be written by the user that runs this dipcd", "run dipcd as root"};
  if (error == EINVAL && object_is_there(Kind::kMessageQueue, letter.queue)) {
    return {"the kernel does not take the message into " + queue + ": " + std::to_string(letter.message.text.size()) +
                " bytes, type " + std::to_string(letter.message.type),
            "raise kernel.msgmax if it is smaller than the message"};
  }
  if (error == EINVAL || error == EIDRM) return {queue + " is gone", "show the letter, then drop it"};
  return {queue + ": " + std::strerror(error), {}};
}

}  // namespace

DeadLetterCommands::DeadLetterCommands(DeadLetters& letters, Owned owned, Put put)
    : letters_(letters), owned_(std::move(owned)), put_(std::move(put)) {}

DeadLettersReport DeadLetterCommands::list(std::uint64_t after) const {
  DeadLettersReport report;
  for (const std::string& name : letters_.names()) {
    const std::uint64_t number = dead_letter_number(name).value_or(0);
    if (number <= after) continue;
    if (report.rows.size() == kRowsMax) {
      report.next = report.rows.back().id;
      break;
    }
    const auto head = letters_.head(name);
    if (head) {
      report.rows.push_back(row_of(number, head->letter, head->text_bytes));
    } else {
      DeadLettersReport::Row& row = report.rows.emplace_back();
      row.id = number;
      row.trouble = head.error().what;
    }
  }
  return report;
}

Result<std::string> DeadLetterCommands::name_of(std::uint64_t letter) const {
  const std::string name = dead_letter_name(letter);
  if (letters_.has(name)) return name;
  return trouble("there is no dead letter " + std::to_string(letter), "dipcctl deadletters lists them");
}

Result<DeadLetterText> DeadLetterCommands::show(std::uint64_t letter, std::uint64_t offset) const {
  const auto name = name_of(letter);
  if (!name) return tl::unexpected(name.error());
  const auto head = letters_.head(*name);
  if (!head) return tl::unexpected(head.error());
  if (offset > head->text_bytes) {
    return trouble("the text of letter " + std::to_string(letter) + " has " + std::to_string(head->text_bytes) +
                   " bytes");
  }
  auto text = letters_.text(*name, *head, offset, kPieceBytes);
  if (!text) return tl::unexpected(text.error());
  return DeadLetterText{row_of(letter, head->letter, head->text_bytes), offset, std::move(*text)};
}

Result<void> DeadLetterCommands::check_queue(const DeadLetter& letter) const {
  const std::string queue = "queue " + std::to_string(letter.queue);
  const std::string remedy = "show the letter, then drop it; a program can send its contents anew";
  if (letter.message.type < 1 || letter.message.type > std::numeric_limits<long>::max()) {
    return trouble("no message of this machine can have type " + std::to_string(letter.message.type), remedy);
  }
  if (letter.generation == 0) return trouble("the letter does not say which " + queue + " it came from", remedy);
  const OwnedObject* const object = owned_(letter.queue);
  if (object == nullptr) return trouble(queue + " is gone, or no distributed queue of this host", remedy);
  if (object->ref.generation != letter.generation) {
    return trouble("the queue that the letter came from is gone; " + queue + " is another one now", remedy);
  }
  if (object->state == OwnedObject::State::kFenced) {
    return trouble(queue + " is fenced: its name is another host's now", remedy);
  }
  return {};
}

Result<AdminDone> DeadLetterCommands::requeue(std::uint64_t letter, const std::string& who) {
  const auto name = name_of(letter);
  if (!name) return tl::unexpected(name.error());
  const auto whole = letters_.read(*name);
  if (!whole) return tl::unexpected(whole.error());
  if (const auto good = check_queue(*whole); !good) return tl::unexpected(good.error());
  const std::string what = described(letter, row_of(letter, *whole, whole->message.text.size()));
  // A daemon that is killed below leaves message and letter: then this line tells how that came.
  log_change(kTopic, "by " + who + ": " + what + " is to go back into its queue");
  if (const int error = put_(whole->queue, whole->message); error != 0) {
    const Trouble why = not_put(*whole, error);
    log_change(kTopic, "letter " + std::to_string(letter) + " stays a letter: " + why.what);
    return tl::unexpected(why);
  }
  AdminDone done{{what + " is at the tail of its queue"}};
  if (!whole->length_exact) done.done.emplace_back("its length was not known: zeros at its end may lack");
  if (const auto removed = letters_.remove(*name); !removed) {
    log_change(kTopic,
               "letter " + std::to_string(letter) + " is back in its queue, but stays: " + removed.error().what);
    done.done.push_back("the letter can't be removed, drop it, do not requeue it: " + removed.error().what);
    return done;
  }
  log_change(kTopic, "letter " + std::to_string(letter) + " is back in its queue");
  return done;
}

Result<AdminDone> DeadLetterCommands::drop(std::uint64_t letter, const std::string& who) {
  const auto name = name_of(letter);
  if (!name) return tl::unexpected(name.error());
  // What can't be read can be dropped all the same.
  const auto head = letters_.head(*name);
  const std::string what = head ? described(letter, row_of(letter, head->letter, head->text_bytes))
                                : "letter " + std::to_string(letter) + " (not to be read: " + head.error().what + ")";
  if (const auto removed = letters_.remove(*name); !removed) return tl::unexpected(removed.error());
  log_change(kTopic, "by " + who + ": " + what + " dropped");
  return AdminDone{{what + " dropped"}};
}

}  // namespace dipc
