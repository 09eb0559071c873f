#include "tests/soak/ledger.h"

#include <algorithm>
#include <cstdio>
#include <sstream>

namespace dipc::soak {

namespace {

constexpr std::size_t kNamedMax = 5;  // of many that went wrong in the same way

std::string text_of(MessageName message) {
  return "message " + std::to_string(message.number) + " of sender " + std::to_string(message.sender);
}

std::string key_text(int key) {
  char text[32];
  std::snprintf(text, sizeof text, "%#x", static_cast<unsigned>(key));
  return text;
}

// errno values after which a call was certainly not made.
bool certainly_not_made(const std::string& error) {
  return error == "EAGAIN" || error == "EINTR" || error == "EHOSTUNREACH" || error == "ETIMEDOUT";
}

std::string list_of(const std::vector<MessageName>& messages) {
  std::string text;
  for (std::size_t i = 0; i < messages.size() && i < kNamedMax; ++i) {
    text += (i == 0 ? "" : ", ") + text_of(messages[i]);
  }
  if (messages.size() > kNamedMax) text += " and " + std::to_string(messages.size() - kNamedMax) + " more";
  return text;
}

}  // namespace

std::optional<MessageName> name_of_text(std::string_view text) {
  std::istringstream words{std::string(text.substr(0, 48))};
  MessageName name;
  if (!(words >> name.sender >> name.number)) return std::nullopt;
  return name;
}

void Ledger::add_sender_line(unsigned process, int key, const std::string& line) {
  std::istringstream words(line);
  std::string verb;
  std::string outcome;
  MessageName message{process, 0};
  words >> verb >> message.number >> outcome;
  if (outcome == "ok") {
    sends_[message] = Fate::kSent;
    ++successes_[{process, key}];
    return;
  }
  ++counts_.errors[outcome];
  if (outcome == "ECONNRESET") {
    sends_[message] = Fate::kInDoubt;
  } else if (certainly_not_made(outcome)) {
    sends_[message] = Fate::kNotSent;
  } else {
    outcries_.push_back("sender " + std::to_string(process) + " of queue " + key_text(key) + ": msgsnd fails with " +
                        outcome);
  }
}

void Ledger::note_doubtful(int key, std::pair<int, int> operation) {
  Range& range = books_[{key, operation.first}];
  (operation.second > 0 ? range.greatest : range.least) += operation.second;
}

void Ledger::add_book_line(unsigned process, int key, const std::string& line,
                           std::optional<std::pair<int, int>>& open) {
  std::istringstream words(line);
  std::string verb;
  std::string what;
  int operation = 0;
  words >> verb >> what;
  if (words >> operation) {
    open = {std::stoi(what), operation};
    return;
  }
  if (!open) return;
  if (what == "ok") {
    Range& range = books_[{key, open->first}];
    range.least += open->second;
    range.greatest += open->second;
    ++counts_.booked;
    ++successes_[{process, key}];
  } else {
    ++counts_.errors[what];
    if (what == "ECONNRESET") {
      note_doubtful(key, *open);
    } else if (!certainly_not_made(what)) {
      outcries_.push_back("set " + key_text(key) + ": semop fails with " + what);
    }
  }
  open.reset();
}

void Ledger::add_log(unsigned process, const std::string& role, int key, const std::string& text) {
  std::istringstream lines(text);
  bool ended = false;
  unsigned last_number = 0;
  std::optional<std::pair<int, int>> open;  // of the book: told, and not yet how it went
  const bool receives = role == "receiver" || role == "mortal-receiver" || role == "drain";
  const bool sends = role == "sender" || role == "mortal-sender";
  if (sends) queue_of_sender_[process] = key;
  if (receives) receivers_[process] = {key, role == "drain", {}};
  for (std::string line; std::getline(lines, line);) {
    if (line == "end") {
      ended = true;
    } else if (line.starts_with("! ")) {
      outcries_.push_back(role + " " + std::to_string(process) + " of " + key_text(key) + ": " + line.substr(2));
    } else if (line.starts_with("e ")) {
      ++counts_.errors[line.substr(2)];
      const bool may = certainly_not_made(line.substr(2)) || line == "e ECONNRESET" || line == "e ENOMSG";
      if (receives && !may)
        outcries_.push_back(role + " of queue " + key_text(key) + ": msgrcv fails with " + line.substr(2));
      if (role == "account" && (!may || line == "e ENOMSG")) {
        outcries_.push_back("account " + key_text(key) + ": semop fails with " + line.substr(2));
      }
    } else if (line.starts_with("s ")) {
      add_sender_line(process, key, line);
      last_number = static_cast<unsigned>(std::stoul(line.substr(2)));
    } else if (line.starts_with("b ")) {
      add_book_line(process, key, line, open);
    } else if (line.starts_with("r ")) {
      if (const auto message = name_of_text(std::string_view(line).substr(2))) {
        receivers_[process].messages.push_back(*message);
        ++successes_[{process, key}];
      }
    } else if (line == "t") {
      ++counts_.undone_operations;
      ++successes_[{process, key}];
    } else if (line == "c") {
      ++counts_.churned;
    }
  }
  if (ended) return;
  ++counts_.killed;
  if (sends) sends_[{process, last_number + 1}] = Fate::kInDoubt;
  if (open) note_doubtful(key, *open);
  if (receives) ++killed_receivers_[key];
  if (role == "sender" || role == "receiver" || role == "drain") {
    outcries_.push_back(role + " " + std::to_string(process) + " of " + key_text(key) + " did not come to its end");
  }
}

std::map<MessageName, std::size_t> Ledger::times_received() const {
  std::map<MessageName, std::size_t> times;
  for (const auto& [process, receiver] : receivers_) {
    for (const MessageName& message : receiver.messages) ++times[message];
  }
  return times;
}

std::map<int, Ledger::Missing> Ledger::missing_by_queue() const {
  const auto times = times_received();
  std::map<int, Missing> missing;
  for (const auto& [message, fate] : sends_) {
    if (fate != Fate::kSent || times.contains(message) || letters_.contains(message)) continue;
    missing[queue_of_sender_.at(message.sender)].messages.push_back(message);
  }
  for (const auto* allowed : {&killed_receivers_, &excused_}) {
    for (const auto& [key, count] : *allowed) missing[key].allowed += count;
  }
  return missing;
}

std::size_t Ledger::missing(int key) const {
  const auto all = missing_by_queue();
  const auto found = all.find(key);
  return found == all.end() ? 0 : found->second.messages.size();
}

void Ledger::check_order(const std::set<int>& ordered, std::vector<std::string>& found) const {
  std::map<unsigned, unsigned> greatest;  // sender -> number, by anybody
  std::vector<MessageName> early;
  for (const bool drained : {false, true}) {  // what was left came after all that was received
    for (const auto& [process, receiver] : receivers_) {
      if (!ordered.contains(receiver.key) || receiver.drains != drained) continue;
      std::map<unsigned, unsigned> last = drained ? greatest : std::map<unsigned, unsigned>();
      for (const MessageName& message : receiver.messages) {
        if (message.number < last[message.sender]) early.push_back(message);
        last[message.sender] = message.number;
      }
      for (const auto& [sender, number] : last) greatest[sender] = std::max(greatest[sender], number);
    }
  }
  if (!early.empty()) found.push_back("came after a later one of their sender: " + list_of(early));
}

std::vector<std::string> Ledger::violations(const std::set<int>& ordered) const {
  std::vector<std::string> found = outcries_;
  std::vector<MessageName> twice;
  std::vector<MessageName> ghosts;
  const auto times = times_received();
  const auto judge = [&](const MessageName& message) {
    const auto send = sends_.find(message);
    if (send == sends_.end() || send->second == Fate::kNotSent) ghosts.push_back(message);
  };
  for (const auto& [message, count] : times) {
    if (count > 1) twice.push_back(message);
    judge(message);
  }
  for (const MessageName& message : letters_) {
    if (!times.contains(message)) judge(message);
    if (letters_.count(message) > 1) twice.push_back(message);
  }
  if (!twice.empty()) found.push_back("received, or dead letters, more than once: " + list_of(twice));
  if (!ghosts.empty()) found.push_back("came although they were certainly not sent: " + list_of(ghosts));
  for (const auto& [key, missing] : missing_by_queue()) {
    if (missing.messages.size() <= missing.allowed) continue;
    found.push_back("queue " + key_text(key) + ": " + std::to_string(missing.messages.size()) +
                    " messages are nowhere, killed receivers account for " + std::to_string(missing.allowed) + ": " +
                    list_of(missing.messages));
  }
  check_order(ordered, found);
  return found;
}

Ledger::Range Ledger::book(int key, int semaphore) const {
  const auto found = books_.find({key, semaphore});
  return found == books_.end() ? Range{} : found->second;
}

Ledger::Figures Ledger::figures() const {
  Figures figures = counts_;
  const auto times = times_received();
  for (const auto& [message, fate] : sends_) {
    figures.sent += fate == Fate::kSent;
    figures.in_doubt += fate == Fate::kInDoubt;
  }
  for (const auto& [process, receiver] : receivers_) {
    (receiver.drains ? figures.drained : figures.received) += receiver.messages.size();
  }
  figures.dead_letters = letters_.size();
  for (const MessageName& message : letters_) figures.letters_received += times.contains(message);
  for (const auto& [key, missing] : missing_by_queue()) figures.lost_with_receivers += missing.messages.size();
  return figures;
}

}  // namespace dipc::soak
