#include "daemon/core/status_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <string>

#include "tests/unit/core/damaged_text.h"

namespace dipc {
namespace {

using testing::HasSubstr;

StatusReport example() {
  StatusReport report;
  report.host = "sun";
  report.cluster = "lab";
  report.referee = "vax";
  report.referee_reachable = true;
  report.incarnation = "fedcba9876543210";
  report.version = "0.1.0";
  report.uptime_s = ~0ull;
  report.listen = {"10.0.0.2:7310", "[fd00::2]:7310"};
  report.peers = {{"vax", "10.0.0.3:7310", "connected", "7", "big-endian, long 4/2", "32-bit big-endian", 12, 3},
                  {"mips", "", "dead", "", "", "", 0, 0, "name \"mips\"\n is not listed"}};
  report.certificates = {{"/etc/dipc/tls/host.pem", "sun", "2026-11-22 16:00:00 UTC", -3}};
  report.counters = {{"calls_received", 5}, {"messages", 18446744073709551615ull}};
  report.warnings = {"host.pem has expired,\n and \"mips\" is gone"};
  return report;
}

ObjectsReport objects_example() {
  ObjectsReport report;
  report.rows = {{{Kind::kMessageQueue, 0x1234}, "vax", 5, 17, "alice", 0660, 100, 2, 0, 4},
                 {{Kind::kSemaphoreSet, 0}, "sun", 2147483647, std::nullopt, "", 0, 0, 0, 3}};
  report.silent_hosts = {{"mips", "no session"}};
  return report;
}

TEST(StatusReport, WhatIsWrittenIsRead) {
  const auto status = status_from_json(to_json(example()));
  ASSERT_TRUE(status) << status.error().what;
  EXPECT_EQ(*status, example());
  const auto objects = objects_from_json(to_json(objects_example()));
  ASSERT_TRUE(objects) << objects.error().what;
  EXPECT_EQ(*objects, objects_example());
  EXPECT_EQ(*done_from_json(to_json(AdminDone{{"a", "b"}})), (AdminDone{{"a", "b"}}));
  const auto failure = failure_from_json(to_json(AdminFailure{{{"what", "remedy"}}}));
  ASSERT_EQ(failure->troubles.size(), 1u);
  EXPECT_EQ(failure->troubles[0].what, "what");
  EXPECT_EQ(failure->troubles[0].remedy, "remedy");
}

SegmentsReport::Row segment_row() {
  return {
      .key = -2,
      .id = 5,
      .removed = true,
      .login = "alice",
      .mode = 0640,
      .bytes = ~0ull,
      .page_bytes = 4096,
      .pages = 3,
      .attachments = 4,
      .written = 1,
      .read = 2,
      .lost = 3,
      .traffic = {.faults = 1, .read_aheads = 2, .transfers = 3, .bytes_moved = 4, .invalidations = 5, .bounces = 6}};
}

TEST(StatusReport, WhatIsWrittenOfSegmentsAndPagesIsRead) {
  const SegmentsReport segments{{segment_row(), {}}};
  const auto read = segments_from_json(to_json(segments));
  ASSERT_TRUE(read) << read.error().what;
  EXPECT_EQ(*read, segments);
  PagesReport pages;
  pages.segment = segment_row();
  pages.map = "w.!";
  pages.cell_pages = 2;
  pages.hosts = {{"sun", {.faults = 7}}, {"vax", {.bounces = 8}}};
  pages.pages = {
      {.page = 2, .state = "read", .holders = {"sun", "vax"}, .busy = true, .traffic = {}, .bounces = {}},
      {.page = 0, .state = "written", .holders = {}, .busy = false, .traffic = {.faults = 9}, .bounces = {{"sun", 3}}}};
  pages.more = 12;
  const auto both = pages_from_json(to_json(pages));
  ASSERT_TRUE(both) << both.error().what;
  EXPECT_EQ(*both, pages);
  EXPECT_FALSE(pages_from_json(R"({"segment": 5})"));
  EXPECT_FALSE(segments_from_json(R"({"segments": [{"mode": "1777"}]})"));
}

DeadLettersReport::Row letter_row(std::uint64_t id) {
  return {.id = id,
          .time = "2026-11-22 16:00:00 UTC",
          .reason = "the session with \"vax\" ended",
          .host = "vax",
          .login = "alice",
          .queue = 32769,
          .key = -2,
          .generation = ~0ull,
          .owner = "alicia",
          .type = std::numeric_limits<std::int64_t>::max(),
          .bytes = 3,
          .length_exact = false};
}

TEST(StatusReport, DeadLettersAreReadAsTheyWereWritten) {
  DeadLettersReport report;
  report.rows = {letter_row(7), {.id = 8, .trouble = "it is no dead letter"}};
  report.next = 8;
  const auto read = dead_letters_from_json(to_json(report));
  ASSERT_TRUE(read) << read.error().what;
  EXPECT_EQ(*read, report);
  const DeadLetterText letter{letter_row(7), 65536, std::string("\0\xff{", 3)};
  const auto text = dead_letter_text_from_json(to_json(letter));
  ASSERT_TRUE(text) << text.error().what;
  EXPECT_EQ(*text, letter);
}

TEST(StatusReport, ADeadLetterHasTheShapeThatIsDocumented) {
  EXPECT_EQ(to_json(DeadLetterText{letter_row(7), 0, "hi\n"}), R"({
  "id": 7,
  "time": "2026-11-22 16:00:00 UTC",
  "reason": "the session with \"vax\" ended",
  "host": "vax",
  "login": "alice",
  "queue": 32769,
  "key": "0xfffffffe",
  "generation": "0xffffffffffffffff",
  "owner": "alicia",
  "type": "9223372036854775807",
  "bytes": 3,
  "length_exact": false,
  "offset": 0,
  "text": "68690a"
}
)");
}

// The shape is an interface: programs read it.
TEST(StatusReport, ObjectsHaveTheShapeThatIsDocumented) {
  EXPECT_EQ(to_json(objects_example()), R"({
  "objects": [
    {
      "kind": "msg",
      "key": "0x00001234",
      "owner": "vax",
      "id": 5,
      "local_id": 17,
      "login": "alice",
      "mode": "660",
      "used_bytes": 100,
      "messages": 2,
      "semaphores": 0,
      "unconverted": 4
    },
    {
      "kind": "sem",
      "key": "0x00000000",
      "owner": "sun",
      "id": 2147483647,
      "local_id": null,
      "login": "",
      "mode": "000",
      "used_bytes": 0,
      "messages": 0,
      "semaphores": 3,
      "unconverted": 0
    }
  ],
  "silent_hosts": [
    {
      "name": "mips",
      "reason": "no session"
    }
  ]
}
)");
}

TEST(StatusReport, BytesThatAreNoTextDoNotThrow) {
  StatusReport report = example();
  report.peers[0].address = "\xff\xfe";
  EXPECT_TRUE(status_from_json(to_json(report)));
}

TEST(StatusReport, FieldsOfALaterVersionAreNoMatter) {
  EXPECT_TRUE(status_from_json(R"({"host": "sun", "colour": {"a": [1]}})"));
  EXPECT_EQ(status_from_json(R"({"host": "sun"})")->host, "sun");
}

TEST(StatusReport, WrongTypesAreNamed) {
  const auto what = [](const auto& result) { return result ? std::string("(read)") : result.error().what; };
  EXPECT_THAT(what(status_from_json("{")), HasSubstr("is not JSON"));
  EXPECT_THAT(what(status_from_json("[]")), HasSubstr("an object is expected"));
  EXPECT_THAT(what(status_from_json(R"({"host": 5})")), HasSubstr("'host'"));
  EXPECT_THAT(what(status_from_json(R"({"uptime_s": -5})")), HasSubstr("'uptime_s'"));
  EXPECT_THAT(what(status_from_json(R"({"peers": {}})")), HasSubstr("'peers'"));
  EXPECT_THAT(what(status_from_json(R"({"peers": [5]})")), HasSubstr("an object"));
  EXPECT_THAT(what(status_from_json(R"({"counters": {"a": "b"}})")), HasSubstr("'counters'"));
  EXPECT_THAT(what(objects_from_json(R"({"objects": [{"kind": "msg"}]})")), HasSubstr("'key'"));
  EXPECT_THAT(what(dead_letter_text_from_json(R"({"text": "686"})")), HasSubstr("'text'"));
  EXPECT_THAT(what(dead_letter_text_from_json(R"({"text": "6x"})")), HasSubstr("'text'"));
  EXPECT_THAT(what(dead_letter_text_from_json(R"({"type": "5x"})")), HasSubstr("'type'"));
  EXPECT_THAT(what(dead_letters_from_json(R"({"dead_letters": [{"key": "x"}]})")), HasSubstr("'key'"));
  EXPECT_THAT(what(objects_from_json(R"({"objects": [{"kind": "msg", "key": "1", "mode": "9"}]})")),
              HasSubstr("'mode'"));
  EXPECT_THAT(what(objects_from_json(R"({"objects": [{"kind": "msg", "key": "1", "mode": "0", "id": 3000000000}]})")),
              HasSubstr("'id'"));
}

TEST(StatusReport, GarbageIsAnErrorAndNothingWorse) {
  const std::string whole = to_json(example());
  std::mt19937 random(8);
  std::size_t refused = 0;
  for (int round = 0; round < 3000; ++round) {
    const std::string text = damaged(whole, random);
    if (!status_from_json(text)) ++refused;
  }
  EXPECT_GT(refused, 1000u);
}

}  // namespace
}  // namespace dipc
