#include "daemon/core/key_policy.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace dipc {
namespace {

using Outcome = KeyPolicy::Outcome;

KeyPolicy policy(const std::string& keys) {
  const auto parsed = parse_configuration("cluster = 'lab'\nreferee = 'sun'\n" + keys, "dipc.toml", {"sun", {}});
  EXPECT_TRUE(parsed) << (parsed ? "" : parsed.error()[0].what);
  return parsed ? KeyPolicy(parsed->keys, parsed->file) : KeyPolicy();
}

TEST(KeyPolicy, WithoutTablesTheFlagDecides) {
  const KeyPolicy none;
  EXPECT_EQ(none.decide(Kind::kMessageQueue, 0x1234, false).outcome, Outcome::kLocal);
  EXPECT_EQ(none.decide(Kind::kMessageQueue, 0x1234, true).outcome, Outcome::kDistributed);
  EXPECT_EQ(none.decide(Kind::kSemaphoreSet, 0, true).outcome, Outcome::kDistributed);
  EXPECT_EQ(none.decide(Kind::kMessageQueue, 0x1234, true).home, "");
  EXPECT_TRUE(none.serves(Kind::kMessageQueue, 0x1234));
}

TEST(KeyPolicy, ARangeHasBothItsEnds) {
  const KeyPolicy keys = policy("[[keys]]\nrange = '0x1000-0x1fff'\nhome = 'vax'\n");
  EXPECT_EQ(keys.decide(Kind::kMessageQueue, 0xfff, false).outcome, Outcome::kLocal);
  EXPECT_EQ(keys.decide(Kind::kMessageQueue, 0x1000, false).outcome, Outcome::kDistributed);
  EXPECT_EQ(keys.decide(Kind::kMessageQueue, 0x1fff, false).home, "vax");
  EXPECT_EQ(keys.decide(Kind::kMessageQueue, 0x2000, false).outcome, Outcome::kLocal);
}

TEST(KeyPolicy, NegativeKeysAreTheUpperHalf) {
  const KeyPolicy keys = policy("[[keys]]\nrange = '0x7fffffff-0x80000001'\n");
  EXPECT_EQ(keys.decide(Kind::kMessageQueue, std::numeric_limits<std::int32_t>::max(), false).outcome,
            Outcome::kDistributed);
  EXPECT_EQ(keys.decide(Kind::kMessageQueue, std::numeric_limits<std::int32_t>::min(), false).outcome,
            Outcome::kDistributed);
  EXPECT_EQ(keys.decide(Kind::kMessageQueue, -1, false).outcome, Outcome::kLocal);
}

TEST(KeyPolicy, AllKeysAreNotTheObjectsWithoutAKey) {
  const KeyPolicy keys = policy("[[keys]]\nrange = 'all'\n");
  EXPECT_EQ(keys.decide(Kind::kMessageQueue, 1, false).outcome, Outcome::kDistributed);
  EXPECT_EQ(keys.decide(Kind::kMessageQueue, -1, false).outcome, Outcome::kDistributed);
  EXPECT_EQ(keys.decide(Kind::kMessageQueue, 0, false).outcome, Outcome::kLocal);
}

TEST(KeyPolicy, PrivateObjectsAreDeclaredByTheirOwnWord) {
  const KeyPolicy keys = policy("[[keys]]\nrange = ['all', 'private']\nhome = 'vax'\n");
  EXPECT_EQ(keys.decide(Kind::kSemaphoreSet, 0, false).outcome, Outcome::kDistributed);
  EXPECT_EQ(keys.decide(Kind::kSemaphoreSet, 0, false).home, "vax");
}

TEST(KeyPolicy, TheFirstTableThatSpeaksOfAKeyDecides) {
  const KeyPolicy keys = policy(
      "[[keys]]\nrange = '0x10-0x20'\nhome = 'vax'\n"
      "[[keys]]\nrange = '0x18-0x30'\nhome = 'mips'\n");
  EXPECT_EQ(keys.decide(Kind::kMessageQueue, 0x18, false).home, "vax");
  EXPECT_EQ(keys.decide(Kind::kMessageQueue, 0x18, false).line, 3u);
  EXPECT_EQ(keys.decide(Kind::kMessageQueue, 0x21, false).home, "mips");
  EXPECT_EQ(keys.decide(Kind::kMessageQueue, 0x21, false).line, 6u);
}

TEST(KeyPolicy, ATableSpeaksOfItsKindsOnly) {
  const KeyPolicy keys = policy("[[keys]]\nrange = 'all'\nkind = 'msg'\n");
  EXPECT_EQ(keys.decide(Kind::kMessageQueue, 5, false).outcome, Outcome::kDistributed);
  EXPECT_EQ(keys.decide(Kind::kSemaphoreSet, 5, false).outcome, Outcome::kLocal);
}

TEST(KeyPolicy, TheHomeCountsForTheFlagToo) {
  EXPECT_EQ(policy("[[keys]]\nrange = 'all'\nhome = 'vax'\n").decide(Kind::kMessageQueue, 5, true).home, "vax");
}

TEST(KeyPolicy, ARefusedKeyStaysOnItsHost) {
  const KeyPolicy keys = policy("[[keys]]\nrange = 5\nrefuse = true\n[[keys]]\nrange = 'all'\n");
  EXPECT_EQ(keys.decide(Kind::kMessageQueue, 5, false).outcome, Outcome::kLocal);
  EXPECT_EQ(keys.decide(Kind::kMessageQueue, 5, true).outcome, Outcome::kRefused);
  EXPECT_EQ(keys.decide(Kind::kMessageQueue, 6, false).outcome, Outcome::kDistributed);
  EXPECT_FALSE(keys.serves(Kind::kMessageQueue, 5));
  EXPECT_TRUE(keys.serves(Kind::kMessageQueue, 6));
  EXPECT_EQ(keys.explain(Kind::kMessageQueue, 5, true), "msg 0x00000005 is refused (dipc.toml:3)");
}

TEST(KeyPolicy, SegmentsAreKeysLikeOthers) {
  const KeyPolicy keys = policy("[[keys]]\nrange = '5'\nhome = 'vax'\n");
  EXPECT_EQ(keys.decide(Kind::kSegment, 5, false).outcome, Outcome::kDistributed);
  EXPECT_EQ(keys.decide(Kind::kSegment, 5, false).home, "vax");
  EXPECT_EQ(keys.decide(Kind::kSegment, 6, false).outcome, Outcome::kLocal);
  EXPECT_EQ(keys.decide(Kind::kSegment, 6, true).outcome, Outcome::kDistributed);
}

TEST(KeyPolicy, SegmentsAreSharedAsTheirRangeSays) {
  const KeyPolicy keys = policy(
      "[[keys]]\nrange = '5'\nkind = ['msg']\n[[keys]]\nrange = '5-6'\nunit = 'segment'\n[[keys]]\nrange = '7'\n"
      "hold_time = '30ms'\npage_size = '64KiB'\n");
  const KeyPolicy::Sharing unsaid;
  EXPECT_EQ(keys.sharing(5).unit, CoherenceUnit::kSegment);
  EXPECT_EQ(keys.sharing(5).hold_time, unsaid.hold_time);
  EXPECT_EQ(keys.sharing(7).unit, CoherenceUnit::kPage);
  EXPECT_EQ(keys.sharing(7).page_bytes, 65536u);
  EXPECT_EQ(keys.sharing(8).page_bytes, 0u);
  EXPECT_EQ(keys.sharing(7).hold_time, std::chrono::milliseconds(30));
  EXPECT_EQ(keys.sharing(8).hold_time, std::chrono::milliseconds(2));
}

TEST(KeyPolicy, ExplainsWithTheLine) {
  const KeyPolicy keys = policy("[[keys]]\nrange = '0x1234'\nhome = 'vax'\n");
  EXPECT_EQ(keys.explain(Kind::kSemaphoreSet, 0x1234, false),
            "sem 0x00001234 is distributed, made on vax (dipc.toml:3)");
  EXPECT_EQ(keys.explain(Kind::kSemaphoreSet, 0, true), "sem IPC_PRIVATE is distributed (IPC_DIPC)");
  EXPECT_EQ(keys.explain(Kind::kSemaphoreSet, 7, false),
            "sem 0x00000007 is not distributed (no IPC_DIPC, no [[keys]] for it)");
}

}  // namespace
}  // namespace dipc
