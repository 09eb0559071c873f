#include "daemon/ctl/tables.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

namespace dipc {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Tables, ColumnsAreAsWideAsTheirWidestCell) {
  EXPECT_EQ(format_table({{"NAME", "SIZE", "X"}, {"a", "12345", ""}, {"long name", "1", "y"}}, {1}),
            "NAME        SIZE  X\n"
            "a          12345\n"
            "long name      1  y\n");
}

TEST(Tables, WidthCountsCharactersNotBytes) {
  EXPECT_EQ(format_table({{"m\xc3\xbcller", "x"}, {"abcdef", "y"}}), "m\xc3\xbcller  x\nabcdef  y\n");
}

TEST(Tables, ObjectsAreListedLikeIpcsDoes) {
  ObjectsReport report;
  report.rows = {{{Kind::kMessageQueue, 0x1234}, "vax", 5, 17, "alice", 0660, 100, 2, 0},
                 {{Kind::kSemaphoreSet, 0}, "sun", 3, std::nullopt, "", 0600, 0, 0, 4},
                 {{Kind::kSegment, 0x20}, "sun", 4, std::nullopt, "bob", 0600, 8192}};
  report.silent_hosts = {{"mips", "no session"}};
  EXPECT_EQ(show(report),
            "KIND  KEY         OWNER  ID  ID HERE  LOGIN  PERMS  USED-BYTES  MESSAGES  NSEMS\n"
            "msg   0x00001234  vax     5       17  alice  660           100         2      -\n"
            "sem   private     sun     3        -  -      600             -         -      4\n"
            "shm   0x00000020  sun     4        -  bob    600          8192         -      -\n"
            "warning: objects of mips are not listed: no session\n");
  EXPECT_EQ(show(ObjectsReport{}), "no distributed objects\n");
}

TEST(Tables, QueuesAndSegmentsThatAreNotDeclaredAreNamed) {
  ObjectsReport report;
  report.rows = {{{Kind::kMessageQueue, 0x1234}, "vax", 5, 17, "alice", 0660, 100, 2, 0, 3}};
  EXPECT_THAT(show(report), HasSubstr("note: msg 0x00001234 of vax: 3 messages went between unlike machines as bytes"));
  report.rows[0].name.kind = Kind::kSegment;
  EXPECT_THAT(show(report), HasSubstr("note: shm 0x00001234 of vax: 3 shmat by programs of unlike machines"));
  report.rows[0].unconverted = 0;
  EXPECT_THAT(show(report), Not(HasSubstr("note:")));
}

TEST(Tables, StatusNamesWhatNeedsAttention) {
  StatusReport report;
  report.host = "sun";
  report.cluster = "lab";
  report.referee = "vax";
  report.version = "0.1.0";
  report.uptime_s = 8000;
  report.incarnation = "00ff";
  report.listen = {"10.0.0.2:7310"};
  report.peers = {{"vax", "10.0.0.3:7310", "broken", "7", "big-endian, long 4/2", "32-bit big-endian (m68k)", 2048, 3,
                   "connection reset"}};
  report.certificates = {{"host.pem", "sun", "2026-11-22 16:00:00 UTC", -3}};
  report.counters = {{"calls_received", 5}};
  report.warnings = {"host.pem has expired"};
  const std::string text = show(report);
  EXPECT_THAT(text, HasSubstr("referee vax (NOT REACHABLE: no new names)\n"));
  EXPECT_THAT(text, HasSubstr("dipcd 0.1.0, up 2 h 13 min, incarnation 00ff\n"));
  EXPECT_THAT(text, HasSubstr("\nvax   10.0.0.3:7310  broken     2.0 KiB              3  32-bit big-endian (m68k)\n"));
  EXPECT_THAT(text, HasSubstr("\nvax: connection reset\n"));
  EXPECT_THAT(text, HasSubstr("host.pem     sun  2026-11-22 16:00:00 UTC         -3\n"));
  EXPECT_THAT(text, HasSubstr("calls received  5\n"));
  EXPECT_THAT(text, HasSubstr("warning: host.pem has expired\n"));
}

TEST(Tables, StatusOfTheRefereeSaysSo) {
  StatusReport report;
  report.host = report.referee = "vax";
  EXPECT_THAT(show(report), HasSubstr("referee vax (this host)\n"));
  EXPECT_THAT(show(report), HasSubstr("no peers\n"));
  EXPECT_THAT(show(report), HasSubstr("listening on nothing"));
}

TEST(Tables, OtherHostsCanNotPlayWithTheTerminal) {
  ObjectsReport report;
  report.rows = {{{Kind::kMessageQueue, 1}, "v\x1b[2Jx", 5, 1, "a\nb", 0660, 0, 0, 0}};
  report.silent_hosts = {{"m\r", "\x07"}};
  EXPECT_THAT(show(report), Not(HasSubstr("\x1b")));
  EXPECT_THAT(show(report), HasSubstr("v?[2Jx"));
  EXPECT_THAT(show(report), HasSubstr("a?b"));
  EXPECT_THAT(show(AdminDone{{"a\x1b"}}), HasSubstr("a?"));
  EXPECT_EQ(show(AdminFailure{{{"w\x1b", "r"}, {"x", ""}}}), "w?\n  r\nx\n");
}

TEST(Tables, ADeadLetterIsShownWithNothingThatIsNotPrintable) {
  DeadLetterText letter;
  letter.row = {.id = 7,
                .time = "2026-11-22 16:00:00 UTC",
                .reason = "full\x1b[2J",
                .host = "vax",
                .login = "al\nice",
                .queue = 32769,
                .key = 0x1234,
                .generation = 0x1b,
                .owner = "alicia",
                .type = -1,
                .bytes = 19,
                .length_exact = false};
  letter.text = std::string("hello\x1b[2J\n\0world!\x80\xff", 19);
  EXPECT_EQ(show(letter),
            "letter      7\n"
            "time        2026-11-22 16:00:00 UTC\n"
            "reason      full?[2J\n"
            "for         al?ice@vax\n"
            "queue       32769\n"
            "key         0x00001234\n"
            "generation  0x000000000000001b\n"
            "owner       alicia\n"
            "type        -1\n"
            "bytes       19 at least: zeros at the end may lack\n"
            "\n"
            "00000000  68 65 6c 6c 6f 1b 5b 32  4a 0a 00 77 6f 72 6c 64  |hello.[2J..world|\n"
            "00000010  21 80 ff                                          |!..|\n");
  DeadLettersReport list;
  EXPECT_EQ(show(list), "no dead letters\n");
  list.rows = {letter.row, {.id = 12, .trouble = "it is no\x1b letter"}};
  EXPECT_EQ(
      show(list),
      "ID  TIME                     KEY         QUEUE  TYPE  BYTES  FOR         REASON\n"
      " 7  2026-11-22 16:00:00 UTC  0x00001234  32769    -1     19  al?ice@vax  full?[2J\n"
      "12  -                        -               -     -      -  -           NOT READABLE: it is no? letter\n");
}

TEST(Tables, NumbersAreShownInUnitsThatPeopleRead) {
  EXPECT_EQ(show_duration(45), "45 s");
  EXPECT_EQ(show_duration(150), "2 min 30 s");
  EXPECT_EQ(show_duration(8000), "2 h 13 min");
  EXPECT_EQ(show_duration(90000), "1 day 1 h");
  EXPECT_EQ(show_duration(200000), "2 days 7 h");
  EXPECT_EQ(show_bytes(12), "12 B");
  EXPECT_EQ(show_bytes(3500), "3.4 KiB");
  EXPECT_EQ(show_bytes(64u << 20), "64.0 MiB");
  EXPECT_EQ(show_bytes(~0ull), "16777216.0 TiB");
}

TEST(Tables, PagesAreAMapAndWhoFightsOverThem) {
  PagesReport report;
  report.segment.key = 0x20;
  report.segment.id = 5;
  report.segment.bytes = 12288;
  report.segment.page_bytes = 4096;
  report.segment.pages = 3;
  report.segment.attachments = 2;
  report.map = "wr.";
  report.hosts = {{"moon", {.faults = 3, .bounces = 3}}};
  report.pages = {{.page = 0,
                   .state = "written",
                   .holders = {"moon"},
                   .busy = false,
                   .traffic = {.faults = 6, .transfers = 5, .invalidations = 5, .bounces = 5},
                   .bounces = {{"moon", 3}, {"sun\x1b[2J", 2}}},
                  {.page = 1, .state = "read", .holders = {"sun"}, .busy = false, .traffic = {}, .bounces = {}}};
  const std::string text = show(report, 100);
  EXPECT_THAT(text, HasSubstr("segment 0x00000020, id 5: 12.0 KiB, 3 pages of 4.0 KiB, 2 attachments\n\n"));
  EXPECT_THAT(text, HasSubstr("         0  wr.\n"));
  EXPECT_THAT(text, HasSubstr("moon 3, sun?[2J 2\n"));
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_THAT(text, Not(HasSubstr("read   sun"))) << "a page that nobody takes from anybody is in the map only";
  report.map = std::string(20, 'r');
  EXPECT_THAT(show(report, 20), HasSubstr("         0  rrrrrrrr\n         8  rrrrrrrr\n        16  rrrr\n"));
}

TEST(Tables, APictureIsNoLargerThanItsTerminal) {
  EXPECT_EQ(redraw("one\nthree\n", 4, 4), "\033[H\033[Kone\n\033[Kthre\n\033[J");
  EXPECT_EQ(redraw("one\ntwo\nthree", 80, 3), "\033[H\033[Kone\n\033[Ktwo\n\033[J");
  EXPECT_EQ(redraw("\u00e4\u00f6\u00fc", 2, 3), "\033[H\033[K\u00e4\u00f6\n\033[J");
  EXPECT_EQ(redraw("", 2, 3), "\033[H\033[J");
}

TEST(Tables, LinesAboveAndBelowTheMapOfPagesAreNoLongerThanTheScreenIsWide) {
  PagesReport report;
  report.segment.key = 0x20;
  report.segment.page_bytes = 16 << 20;
  report.map = ".";
  report.cell_pages = 16;
  for (const std::size_t width : {40u, 60u, 80u}) {
    std::istringstream text(show(report, width));
    for (std::string line; std::getline(text, line);) EXPECT_LE(line.size(), width) << line;
  }
  EXPECT_THAT(show(report, 60), HasSubstr("            . free   r read   w written   * on its way\n"
                                          "            ! lost   (16 pages each)\n"));
  EXPECT_THAT(show(report, 100), HasSubstr("* on its way   ! lost   (16 pages each)\n"));
}

TEST(Tables, SegmentsHaveALineEach) {
  EXPECT_EQ(show(SegmentsReport{}), "no segments live on this host\n");
  SegmentsReport report;
  report.rows = {{.key = 0x20, .id = 5, .login = "alice", .mode = 0640, .bytes = 5000, .page_bytes = 4096},
                 {.key = 0, .id = 6, .removed = true}};
  EXPECT_THAT(show(report), HasSubstr("0x00000020   5  alice  640    4.9 KiB  4.0 KiB"));
  EXPECT_THAT(show(report), HasSubstr("removed"));
}

}  // namespace
}  // namespace dipc
