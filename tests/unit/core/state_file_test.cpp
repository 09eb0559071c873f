#include "daemon/core/state_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <string>

#include "tests/unit/core/damaged_text.h"

namespace dipc {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

DaemonState example() {
  DaemonState state;
  state.boot = "4fd3c1aa-93b2-4f0e-8a5e-d61b2c0f7e11:4026531839";
  state.incarnation = Incarnation{0xfedcba9876543210};
  state.owned = {OwnedObject{{Kind::kSemaphoreSet, 0x1234}, {Kind::kSemaphoreSet, 5, 7}, 2, OwnedObject::State::kLive},
                 OwnedObject{{Kind::kMessageQueue, -1},
                             {Kind::kMessageQueue, std::numeric_limits<std::int32_t>::max(), ~std::uint64_t{0}},
                             0,
                             OwnedObject::State::kFenced}};
  state.stand_ins = {StandIn{{Kind::kSemaphoreSet, 0x1235}, 7, "vax", {Kind::kSemaphoreSet, 12, 9}, 3},
                     StandIn{{Kind::kMessageQueue, 0}, 8, "sun-1.example", {Kind::kMessageQueue, 0, 1}, 0}};
  state.making = {Making{{Kind::kMessageQueue, 0x1236}, 1001}};
  state.number = 5;
  return state;
}

TEST(StateFile, WhatIsWrittenIsRead) {
  const auto read = parse_state(render_state(example()), "state");
  ASSERT_TRUE(read) << read.error().what;
  EXPECT_EQ(*read, example());
  DaemonState empty;
  empty.boot = "b";
  EXPECT_EQ(*parse_state(render_state(empty), "state"), empty);
}

TEST(StateFile, ReadsAsInItsHeader) {
  const auto read = parse_state(
      "dipc-state 1\n"
      "boot 4fd3c1aa-93b2-4f0e-8a5e-d61b2c0f7e11:4026531839\n"
      "incarnation 0x5a0c1f2e3d4b6978\n"
      "number 5\n"
      "owned sem 0x00001234 id 5 generation 0x0000000000000007 size 2 live\n"
      "stand-in sem 0x00001235 id 7 owner vax ref 12 generation 0x0000000000000009 nsems 3\n"
      "making msg 0x00001236 uid 1001\n"
      "end 4\n",
      "state");
  ASSERT_TRUE(read) << read.error().what;
  EXPECT_EQ(read->stand_ins.at(0), example().stand_ins[0]);
  EXPECT_EQ(read->owned.at(0), example().owned[0]);
  EXPECT_EQ(read->making, example().making);
  EXPECT_EQ(read->number, 5);
}

TEST(StateFile, ACutFileIsNeverTakenForAWholeOne) {
  const std::string whole = render_state(example());
  for (std::size_t length = 0; length < whole.size(); ++length) {
    const auto read = parse_state(std::string_view(whole).substr(0, length), "/var/lib/dipc/state");
    ASSERT_FALSE(read) << "cut to " << length;
    EXPECT_THAT(read.error().what, StartsWith("/var/lib/dipc/state:")) << "cut to " << length;
    EXPECT_THAT(read.error().remedy, HasSubstr("backup"));
  }
}

TEST(StateFile, ALostLineIsNoticed) {
  const std::string whole = render_state(example());
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < whole.size();) {
    const std::size_t end = whole.find('\n', at) + 1;
    lines.push_back(whole.substr(at, end - at));
    at = end;
  }
  for (std::size_t lost = 0; lost < lines.size(); ++lost) {
    std::string text;
    for (std::size_t i = 0; i < lines.size(); ++i) {
      if (i != lost) text += lines[i];
    }
    EXPECT_FALSE(parse_state(text, "state")) << "without " << lines[lost];
  }
}

TEST(StateFile, ANewerVersionIsNamed) {
  const auto read = parse_state("dipc-state 2\nboot x\n", "state");
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().what, "state:1: the state is of version '2', this dipcd reads version 1");
  EXPECT_THAT(read.error().remedy, StartsWith("start the dipcd that wrote it"));
}

TEST(StateFile, MistakesAreNamedWithTheirLine) {
  const std::string head = "dipc-state 1\nboot b\nincarnation 0x1\n";
  const auto what = [](const std::string& text) {
    const auto read = parse_state(text, "state");
    return read ? std::string("(read)") : read.error().what;
  };
  EXPECT_EQ(what(""), "state:1: the file is empty");
  EXPECT_EQ(what("ELF\n"), "state:1: this is not a state file of dipcd");
  EXPECT_EQ(
      what(head +
           "owned msg 0x1 id 5 generation 1 size 0 live\nowned msg 0x2 id 5 generation 2 size 0 registering\nend 2\n"),
      "state:5: this id stands there twice");
  EXPECT_EQ(
      what(head +
           "owned msg 0x1 id 5 generation 1 size 0 live\nowned sem 0x1 id 5 generation 2 size 0 registering\nend 2\n"),
      "(read)");
  EXPECT_EQ(what(head + "owned pipe 0x1 id 5 generation 1 size 0 live\nend 1\n"),
            "state:4: this line makes no sense: 'owned'");
  EXPECT_EQ(what(head + "owned msg 0x1 id -5 generation 1 size 0 live\nend 1\n"),
            "state:4: this line makes no sense: 'owned'");
  EXPECT_EQ(what(head + "owned msg 0x1 id 5 generation 1 size 0 alive\nend 1\n"),
            "state:4: this line makes no sense: 'owned'");
  EXPECT_EQ(what(head + "stand-in msg 0x1 id 5 owner A ref 1 generation 1 nsems 0\nend 1\n"),
            "state:4: this line makes no sense: 'stand-in'");
  EXPECT_EQ(what(head + "boot c\nend 0\n"), "state:4: this line makes no sense: 'boot'");
  EXPECT_EQ(what(head + "end 1\n"), "state:4: the end counts '1' objects, but there are 0");
  EXPECT_EQ(what(head + "end 0\nend 0\n"), "state:5: there is more after the end");
  EXPECT_EQ(what(head + "end 0"), "state:4: the file is cut short in its last line");
  EXPECT_EQ(what("dipc-state 1\nboot b\nend 0\n"), "state:3: boot or incarnation is missing");
}

TEST(StateFile, GarbageIsAnErrorAndNothingWorse) {
  const std::string whole = render_state(example());
  std::mt19937 random(5);
  std::size_t refused = 0;
  for (int round = 0; round < 5000; ++round) {
    const std::string text = damaged(whole, random);
    const auto read = parse_state(text, "state");
    if (!read) {
      ++refused;
      ASSERT_THAT(read.error().what, StartsWith("state:"));
    } else {
      // What was understood can be written and read again: nothing half-valid gets in.
      ASSERT_EQ(*parse_state(render_state(*read), "state"), *read);
    }
  }
  EXPECT_GT(refused, 1000u);
}

}  // namespace
}  // namespace dipc
