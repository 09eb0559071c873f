#include "daemon/kernel/dead_letters.h"

#include <sys/stat.h>

#include <fstream>

#include "tests/unit/kernel/kernel_fixture.h"

namespace dipc::test {
namespace {

DeadLetter sample(std::int64_t type) {
  DeadLetter letter;
  letter.time_s = 1795365000;
  letter.reason = "the queue is full";
  letter.host = "vax";
  letter.key = static_cast<std::int32_t>(0xdeadbeef);
  letter.queue = 32769;
  letter.owner = "alicia";
  letter.message = {type, bytes_of(std::string("line\n\nnot a header: \0 9", 22))};
  return letter;
}

class DeadLettersTest : public ::testing::Test {
 protected:
  DeadLetters open(std::size_t letters_max) {
    auto letters = DeadLetters::open(directory_.path() / "letters", letters_max,
                                     [this](const std::string& line) { log_.push_back(line); });
    EXPECT_TRUE(letters) << letters.error().what;
    return std::move(*letters);
  }
  TemporaryDirectory directory_;
  std::vector<std::string> log_;
};

TEST_F(DeadLettersTest, ALetterIsReadAsItWasWritten) {
  DeadLetters letters = open(10);
  DeadLetter letter = sample(-1);
  letter.length_exact = false;
  const auto name = letters.add(letter);
  ASSERT_TRUE(name);
  EXPECT_EQ(*letters.read(*name), letter);
  struct stat status {};
  ASSERT_EQ(stat((directory_.path() / "letters").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0700u);
  ASSERT_EQ(stat((directory_.path() / "letters" / *name).c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0600u);
}

TEST_F(DeadLettersTest, NamesFromPeersCanNotForgeLines) {
  DeadLetters letters = open(10);
  DeadLetter letter = sample(5);
  letter.host = "vax\ntype: 99\n\nx";
  const auto name = letters.add(letter);
  const auto read = letters.read(*name);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->message, letter.message);
  EXPECT_EQ(read->host, "vax?type: 99??x");
}

TEST_F(DeadLettersTest, LettersOfEarlierRunsCountAndKeepTheirOrder) {
  {
    DeadLetters letters = open(3);
    letters.add(sample(1));
    letters.add(sample(2));
  }
  DeadLetters letters = open(3);
  EXPECT_EQ(letters.count(), 2u);
  letters.add(sample(3));
  letters.add(sample(4));
  ASSERT_EQ(letters.count(), 3u);
  ASSERT_EQ(log_.size(), 1u);
  EXPECT_NE(log_[0].find("type 1"), std::string::npos) << log_[0];
  std::vector<std::int64_t> types;
  for (const std::string& name : letters.names()) types.push_back(letters.read(name)->message.type);
  EXPECT_EQ(types, (std::vector<std::int64_t>{2, 3, 4}));
}

TEST_F(DeadLettersTest, ARemovedLetterIsGone) {
  DeadLetters letters = open(3);
  const auto name = letters.add(sample(1));
  EXPECT_TRUE(letters.remove(*name));
  EXPECT_EQ(letters.count(), 0u);
  EXPECT_FALSE(letters.read(*name));
  EXPECT_FALSE(letters.remove("../letters"));
  EXPECT_FALSE(letters.read("../../etc/passwd"));
  EXPECT_EQ(open(3).count(), 0u);
}

TEST_F(DeadLettersTest, WhatIsNoLetterIsRefused) {
  const std::string good = encode_dead_letter(sample(5));
  EXPECT_TRUE(decode_dead_letter(good));
  EXPECT_FALSE(decode_dead_letter(good + "x"));
  EXPECT_FALSE(decode_dead_letter(good.substr(0, good.size() - 1)));
  EXPECT_FALSE(decode_dead_letter("hello\n\n"));
  for (std::size_t length = 0; length < good.size(); ++length) EXPECT_FALSE(decode_dead_letter(good.substr(0, length)));
}

TEST_F(DeadLettersTest, ALetterThatCanNotBeWrittenIsSaid) {
  DeadLetters letters = open(3);
  std::filesystem::remove_all(directory_.path() / "letters");
  EXPECT_FALSE(letters.add(sample(1)));
  EXPECT_EQ(letters.count(), 0u);
}

}  // namespace
}  // namespace dipc::test
