#include "daemon/kernel/dead_letters.h"

#include <sys/stat.h>

#include <fstream>
#include <iterator>
#include <map>

#include "tests/unit/kernel/kernel_fixture.h"

namespace dipc::test {
namespace {

DeadLetter sample(std::int64_t type) {
  DeadLetter letter;
  letter.time_s = 1795365000;
  letter.reason = "the queue is full";
  letter.host = "vax";
  letter.login = "alice";
  letter.generation = 0xfedcba9876543210u;
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
  for (const auto& [line, damaged] : std::map<std::string, std::string>{{"queue-id: 32769", "queue-id: 4294967297"},
                                                                        {"type: 5", "type: 5x"},
                                                                        {"length: exact", "length: 7"},
                                                                        {"0xdeadbeef", "0x-5"},
                                                                        {"host: vax", "host vax"}}) {
    std::string file = good;
    const std::size_t at = file.find(line);
    ASSERT_NE(at, std::string::npos) << line;
    EXPECT_FALSE(decode_dead_letter(file.replace(at, line.size(), damaged))) << damaged;
  }
}

TEST_F(DeadLettersTest, ALetterOfALaterVersionIsNamedAsThat) {
  std::string file = encode_dead_letter(sample(5));
  file.replace(0, file.find('\n'), "dipc dead letter 12");
  const auto read = decode_dead_letter(file);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().what, "it is a dead letter of version 12, this dipcd knows version 1");
}

TEST_F(DeadLettersTest, FieldsOfALaterVersionAreNoMatter) {
  std::string file = encode_dead_letter(sample(5));
  file.insert(file.find('\n') + 1, "colour: blue\n");
  EXPECT_EQ(*decode_dead_letter(file), sample(5));
}

TEST_F(DeadLettersTest, ALongHeadStillFits) {
  DeadLetters letters = open(3);
  DeadLetter letter = sample(5);
  letter.reason = letter.host = letter.login = letter.owner = std::string(100000, 'x');
  const auto head = letters.head(*letters.add(letter));
  ASSERT_TRUE(head) << head.error().what;
  EXPECT_EQ(head->text_bytes, letter.message.text.size());
}

TEST_F(DeadLettersTest, ATextIsReadInPieces) {
  DeadLetters letters = open(3);
  DeadLetter letter = sample(5);
  letter.message.text = bytes_of(std::string(10000, 'a') + "end");
  const std::string name = *letters.add(letter);
  const auto head = letters.head(name);
  EXPECT_EQ(*letters.text(name, *head, 0, 10), "aaaaaaaaaa");
  EXPECT_EQ(*letters.text(name, *head, 9999, 100), "aend");
  EXPECT_EQ(*letters.text(name, *head, 20000, 100), "");
}

class GarbageInTheFolder : public DeadLettersTest {
 protected:
  GarbageInTheFolder() { std::filesystem::create_directory(folder()); }
  std::filesystem::path folder() const { return directory_.path() / "letters"; }
  void put(const std::string& name, const std::string& text) const { std::ofstream(folder() / name) << text; }
  std::string text_of(const std::string& name) const {
    std::ifstream file(folder() / name);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }
};

TEST_F(GarbageInTheFolder, FilesOfOtherNamesAreLeftAlone) {
  for (const char* name : {"-00000000001.letter", "7.letter", "0000000000007.letter", "notes.unfinished", "README",
                           "000000000000.letter", "99999999999999999999.letter"}) {
    put(name, "mine");
  }
  DeadLetters letters = open(2);
  EXPECT_EQ(letters.count(), 0u);
  for (int i = 1; i <= 5; ++i) EXPECT_TRUE(letters.add(sample(i)));
  EXPECT_EQ(letters.names(), (std::vector<std::string>{"000000000004.letter", "000000000005.letter"}));
  EXPECT_EQ(text_of("notes.unfinished"), "mine");
  EXPECT_EQ(text_of("7.letter"), "mine");
}

TEST_F(GarbageInTheFolder, ALetterIsNeverWrittenOverAFileThatIsThere) {
  DeadLetters letters = open(10);
  put("000000000001.letter", "put back by somebody while the daemon runs");
  put("000000000002.letter", "and another");
  EXPECT_EQ(*letters.add(sample(1)), "000000000003.letter");
  EXPECT_EQ(text_of("000000000002.letter"), "and another");
}

TEST_F(GarbageInTheFolder, NumbersBeginAnewAfterTheHighest) {
  put("999999999999.letter", "x");
  DeadLetters letters = open(10);
  EXPECT_EQ(*letters.add(sample(1)), "000000000001.letter");
  EXPECT_TRUE(letters.has("000000000001.letter"));
  EXPECT_TRUE(letters.has("999999999999.letter"));
}

TEST_F(GarbageInTheFolder, WhatIsNotUnderstoodIsNotThrownAwayForRoom) {
  put("000000000001.letter", "dipc dead letter 2\n\nof a later dipcd");
  DeadLetters letters = open(2);
  for (int i = 1; i <= 4; ++i) EXPECT_TRUE(letters.add(sample(i)));
  EXPECT_EQ(text_of("000000000001.letter"), "dipc dead letter 2\n\nof a later dipcd");
  ASSERT_FALSE(log_.empty());
  EXPECT_NE(log_[0].find("version 2"), std::string::npos) << log_[0];
}

TEST_F(GarbageInTheFolder, PipesFoldersAndLinksDoNotHoldUpTheDaemon) {
  ASSERT_EQ(mkfifo((folder() / "000000000001.letter").c_str(), 0600), 0);
  std::filesystem::create_directory(folder() / "000000000002.letter");
  std::filesystem::create_symlink("/etc/passwd", folder() / "000000000003.letter");
  DeadLetters letters = open(2);
  EXPECT_EQ(letters.count(), 3u);
  for (const std::string& name : letters.names()) {
    EXPECT_FALSE(letters.head(name)) << name;
    EXPECT_FALSE(letters.read(name)) << name;
  }
  EXPECT_TRUE(letters.add(sample(1)));
}

TEST_F(DeadLettersTest, ALetterThatCanNotBeWrittenIsSaid) {
  DeadLetters letters = open(3);
  std::filesystem::remove_all(directory_.path() / "letters");
  EXPECT_FALSE(letters.add(sample(1)));
  EXPECT_EQ(letters.count(), 0u);
}

}  // namespace
}  // namespace dipc::test
