#include "daemon/ctl/dead_letter_pieces.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "daemon/core/status_report.h"

namespace dipc {
namespace {

using Answer = tl::expected<DaemonAnswer, Unreachable>;
using Verb = AdminCommand::Verb;

// Answers in the order given, and remembers what it was asked.
class Daemon {
 public:
  explicit Daemon(std::vector<Answer> answers) : answers_(std::move(answers)) {}
  Ask ask() {
    return [this](const AdminCommand& command) {
      asked.push_back(to_string(command));
      return asked.size() <= answers_.size() ? answers_[asked.size() - 1] : Answer(DaemonAnswer{EIO, ""});
    };
  }
  std::vector<std::string> asked;

 private:
  std::vector<Answer> answers_;
};

Answer rows(std::uint64_t from, std::uint64_t to, std::optional<std::uint64_t> next) {
  DeadLettersReport report;
  for (std::uint64_t id = from; id <= to; ++id) report.rows.push_back({.id = id, .trouble = "x"});
  report.next = next;
  return DaemonAnswer{0, to_json(report)};
}

Answer piece(std::uint64_t offset, std::string text) {
  return DaemonAnswer{0, to_json(DeadLetterText{{.id = 7, .bytes = 6}, offset, std::move(text)})};
}

TEST(DeadLetterPieces, AListIsPutTogether) {
  Daemon daemon({rows(1, 3, 3), rows(4, 5, 5), rows(9, 9, std::nullopt)});
  const Answer answer = ask_for_all({Verb::kDeadLetters, {}}, daemon.ask());
  ASSERT_TRUE(answer);
  EXPECT_EQ(daemon.asked, (std::vector<std::string>{"deadletters", "deadletters after 3", "deadletters after 5"}));
  const auto report = dead_letters_from_json(answer->json);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->rows.size(), 6u);
  EXPECT_EQ(report->rows.back().id, 9u);
  EXPECT_FALSE(report->next);
}

TEST(DeadLetterPieces, ATextIsPutTogether) {
  Daemon daemon({piece(0, "abcd"), piece(4, "ef")});
  const Answer answer = ask_for_all({Verb::kShowLetter, {}, 7}, daemon.ask());
  ASSERT_TRUE(answer);
  EXPECT_EQ(daemon.asked, (std::vector<std::string>{"deadletters show 7", "deadletters show 7 from 4"}));
  EXPECT_EQ(dead_letter_text_from_json(answer->json)->text, "abcdef");
}

TEST(DeadLetterPieces, AFailureInBetweenIsTheAnswer) {
  Daemon daemon({piece(0, "abcd"), DaemonAnswer{EINVAL, "gone"}});
  const Answer answer = ask_for_all({Verb::kShowLetter, {}, 7}, daemon.ask());
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->error, EINVAL);
  EXPECT_EQ(answer->json, "gone");
}

TEST(DeadLetterPieces, ADaemonThatNeverEndsIsNotAskedForEver) {
  Daemon list({rows(1, 3, 3), rows(1, 3, 3), rows(1, 3, 3)});
  EXPECT_TRUE(ask_for_all({Verb::kDeadLetters, {}}, list.ask()));
  EXPECT_EQ(list.asked.size(), 2u);
  Daemon text({piece(0, "abcd"), piece(4, "")});
  EXPECT_TRUE(ask_for_all({Verb::kShowLetter, {}, 7}, text.ask()));
  EXPECT_EQ(text.asked.size(), 2u);
}

TEST(DeadLetterPieces, WhatComesWholeIsAskedOnce) {
  Daemon daemon({DaemonAnswer{0, "{}"}});
  EXPECT_EQ(ask_for_all({Verb::kStatus, {}}, daemon.ask())->json, "{}");
  EXPECT_EQ(daemon.asked.size(), 1u);
}

}  // namespace
}  // namespace dipc
