#include "daemon/ctl/types_commands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

namespace dipc {
namespace {

using testing::HasSubstr;
using testing::Not;

class TypesCommands : public testing::Test {
 protected:
  TypesCommands() {
    std::string name = (std::filesystem::temp_directory_path() / "dipc-types-XXXXXX").string();
    if (::mkdtemp(name.data()) != nullptr) folder_ = name;
  }
  ~TypesCommands() override {
    std::error_code ignored;
    if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
  }
  std::filesystem::path write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
    return folder_ / name;
  }
  std::filesystem::path folder_;
};

constexpr const char* kMessage =
    "struct pair { short a; double b; };\nstruct note { long mtype; struct pair pairs[2]; char text[8]; };\n";

TEST_F(TypesCommands, CheckSaysWhatIsBoundToWhat) {
  const auto file = write("a.types", std::string(kMessage) +
                                         "struct other { long mtype; };\n"
                                         "bind msg 0x10-0x1f, private to { 1: note; 2-5: other; default: other; };\n"
                                         "bind msg 0x20 to { 7: note; };\nbind shm all to pair;\n");
  const auto text = check_types({file});
  ASSERT_TRUE(text.has_value());
  EXPECT_EQ(*text,
            "msg 0x00000010-0x0000001f, private: 1 is struct note, 2-5 is struct other, any other is struct other\n"
            "msg 0x00000020: 7 is struct note\n"
            "shm all: struct pair\n"
            "note: struct pair is another segment on i386 than on x86-64, first by b; hosts of both can't share it\n"
            "3 structs, 3 bindings\n");
}

TEST_F(TypesCommands, CheckSaysWhichNumberOfASegmentLiesAcrossTwoPages) {
  const auto checked = [&](const std::string& structs) {
    return check_types({write("a.types", structs + "bind shm all to s;\n")}).value_or("");
  };
  EXPECT_THAT(checked("struct s { char c; int n[2000]; } packed;"),
              HasSubstr("note: s.n[1023] lies across two pages of 4096 bytes; hosts that write numbers"));
  EXPECT_THAT(checked("struct r { char text[3]; short n; } packed; struct s { char c; struct r rows[]; };"),
              HasSubstr("note: s.rows[4095].n lies across two pages"));
  EXPECT_THAT(checked("struct s { int n[2000]; char c[]; };"), Not(HasSubstr("note:")));
}

TEST_F(TypesCommands, CheckSaysAllThatIsWrong) {
  const auto text = check_types({write("a.types", "struct s { char *p; };\nstruct t { strange x; };\n")});
  ASSERT_FALSE(text.has_value());
  ASSERT_EQ(text.error().size(), 2U);
  EXPECT_THAT(text.error()[0].what, HasSubstr("a.types:1:17: 'p' is a pointer"));
  EXPECT_THAT(text.error()[1].what, HasSubstr("a.types:2:12: 'strange'"));
}

TEST_F(TypesCommands, AFolderIsItsTypesFilesInTheOrderOfTheirNames) {
  write("20-b.types", "struct line { struct point from, to; };");
  write("10-a.types", "struct point { int x; };");
  write("notes.txt", "not a declaration");
  const auto text = check_types({folder_});
  ASSERT_TRUE(text.has_value()) << text.error().front().what;
  EXPECT_EQ(*text, "2 structs, 0 bindings\n");
}

TEST_F(TypesCommands, WhatCantBeReadIsNamed) {
  EXPECT_THAT(check_types({folder_ / "absent"}).error().front().what, HasSubstr("can't read"));
  EXPECT_THAT(check_types({folder_}).error().front().what, HasSubstr("no *.types files"));
}

TEST_F(TypesCommands, WhyNothingCouldBeReadIsSaid) {
  EXPECT_EQ(check_types({folder_ / "absent.types"}).error().front().what,
            "can't read " + (folder_ / "absent.types").string() + ": No such file or directory");
  write("notes.txt", "none");
  EXPECT_THAT(check_types({folder_}).error().front().what, HasSubstr(", only 1 of other names"));
  const auto file = write("a.types", "struct s { int x; };");
  EXPECT_THAT(check_types({file, folder_ / "." / "a.types"}).error().front().what, HasSubstr("is named twice"));
  EXPECT_THAT(show_types({file}, {"nothing_like_it"}, {"m68k"}).error().front().remedy, HasSubstr("--types"));
}

TEST_F(TypesCommands, StructsWithoutANameAreNotCounted) {
  EXPECT_EQ(*check_types({write("a.types", "struct s { struct { int x; } in; };")}), "1 struct, 0 bindings\n");
}

TEST_F(TypesCommands, ASegmentThatMachinesPlaceAlikeHasNoNote) {
  const std::string text = *check_types({write("a.types", "struct s { int32_t x, y; }; bind shm 1 to s;")});
  EXPECT_THAT(text, testing::Not(HasSubstr("note:")));
}

TEST_F(TypesCommands, ShowsPlacesOnOneMachine) {
  const auto text = show_types({write("a.types", kMessage)}, {"note"}, {"m68k"});
  ASSERT_TRUE(text.has_value());
  EXPECT_EQ(*text,
            "struct note\n"
            "FIELD         TYPE         OFFSET  SIZE  PADDING\n"
            "mtype         long              0     4\n"
            "pairs[2]      struct pair       4    20\n"
            "  pairs[0].a  short             4     2\n"
            "  pairs[0].b  double            6     8\n"
            "text[8]       char             24     8\n"
            "m68k: 32 bytes, aligned to 2; as a message 28 bytes\n"
            "Its mtype passes as a number. If programs put a process id there, declare it as pid long.\n");
}

TEST_F(TypesCommands, ShowsTwoMachinesSideBySideAndMarksWhatDiffers) {
  const auto text =
      show_types({write("a.types", "struct s { int a; double b; char c; };")}, {"struct s"}, {"i386", "x86-64"});
  ASSERT_TRUE(text.has_value());
  EXPECT_EQ(*text,
            "struct s\n"
            "FIELD  TYPE    i386 OFFSET  SIZE  PADDING  x86-64 OFFSET  SIZE  PADDING\n"
            "a      int               0     4                       0     4        4  *\n"
            "b      double            4     8                       8     8           *\n"
            "c      char             12     1        3             16     1        7  *\n"
            "i386: 16 bytes, aligned to 4\n"
            "x86-64: 24 bytes, aligned to 8\n"
            "The first field that differs is b (8 bytes at 4 on i386, 8 bytes at 8 on x86-64): segments are refused.\n"
            "It is no message of its own: that begins with long mtype.\n");
}

TEST_F(TypesCommands, SaysWhetherSegmentsCanBeShared) {
  const auto file = write("a.types", "struct s { int a[4]; char c[4]; };\nstruct t { int a; char c; };");
  EXPECT_THAT(*show_types({file}, {"s"}, {"m68k", "x86-64"}), HasSubstr("segments can be shared"));
  EXPECT_THAT(*show_types({file}, {"t"}, {"m68k", "x86-64"}), HasSubstr("The size differs (6 on m68k, 8 on x86-64)"));
}

TEST_F(TypesCommands, WhatADifferenceMeansIsSaidOfWhatTheStructIs) {
  const auto file = write("a.types",
                          "struct m { long mtype; int x; }; struct part { long long l[2]; uid owner; int n; };"
                          "struct reply { pid long mtype; }; typedef struct part part_t;");
  EXPECT_THAT(*show_types({file}, {"m"}, {"m68k", "x86-64"}), HasSubstr("messages are converted, segments refused.\n"));
  EXPECT_THAT(*show_types({file}, {"part"}, {"x86-64", "arm64"}),
              HasSubstr("on both: but for owner, which is rewritten in messages and not in segments, segments could"));
  EXPECT_THAT(*show_types({file}, {"part_t"}, {"m68k"}), HasSubstr("It is no message of its own"));
  EXPECT_THAT(*show_types({file}, {"reply"}, {"m68k"}), HasSubstr("Its mtype is a process id, which is rewritten"));
}

TEST_F(TypesCommands, CheckRemindsOfRepliesToAPid) {
  const std::string order = "struct client { pid id; }; struct order { long mtype; struct client by; };\n";
  const auto checked = [&](const std::string& rest) {
    return check_types({write("a.types", order + rest)}).value_or("");
  };
  constexpr const char* kNote =
      "note: order.by.id is a pid, and no message's type is one; if replies to it go by mtype, begin their struct with "
      "pid long mtype\n";
  EXPECT_THAT(checked("struct reply { long mtype; }; bind msg 1 to { 1: order; default: reply; };"), HasSubstr(kNote));
  EXPECT_THAT(checked("struct reply { long mtype; }; bind msg 1 to order; bind msg 2 to reply;"), HasSubstr(kNote));
  const char* kNoNote[] = {
      "struct reply { pid long mtype; }; bind msg 1 to { 1: order; default: reply; };",
      "struct reply { pid long mtype; }; bind msg 1 to order; bind msg 2 to reply;",
      "struct note { long mtype; }; bind msg 1 to note;",
      "",
  };
  for (const char* rest : kNoNote) EXPECT_THAT(checked(rest), testing::Not(HasSubstr("note:"))) << rest;
}

TEST_F(TypesCommands, TheTimeOfAProgramIsPartOfAMachinesName) {
  const auto file = write("a.types", "struct s { time_t t; };");
  EXPECT_THAT(*show_types({file}, {"s"}, {"i386"}), HasSubstr("i386: 4 bytes"));
  EXPECT_THAT(*show_types({file}, {"s"}, {"i386/time64"}), HasSubstr("i386/time64: 8 bytes"));
  EXPECT_FALSE(abi_named("x86-64/time32").has_value());
  EXPECT_FALSE(abi_named("i386/time16").has_value());
}

TEST_F(TypesCommands, WhatIsBoundDecidesWhatIsAMessage) {
  const std::string table = "struct table { long version; int cells[2]; };\n";
  const auto shown = [&](const std::string& bindings) {
    return show_types({write("a.types", table + bindings)}, {"table"}, {"m68k"}).value_or("");
  };
  EXPECT_THAT(shown(""), HasSubstr("aligned to 2; as a message 8 bytes\n"));
  EXPECT_THAT(shown("bind msg 1 to table;"), HasSubstr("aligned to 2; a message is 8 bytes\n"));
  EXPECT_THAT(shown("bind shm 1 to table;"), HasSubstr("aligned to 2\n"));
  EXPECT_THAT(shown("bind shm 1 to table; bind msg 1 to { 5: table; };"), HasSubstr("a message is 8 bytes\n"));
}

TEST_F(TypesCommands, AnArrayWithoutALengthHasNoPaddingBehindIt) {
  const auto text = show_types({write("a.types", "struct m { long mtype; int n; char text[]; };")}, {"m"}, {"x86-64"});
  ASSERT_TRUE(text.has_value());
  EXPECT_THAT(*text, HasSubstr("text[]  char      12     1\n"));
}

TEST_F(TypesCommands, SeveralStructsAreShownOneAfterTheOther) {
  const auto file = write("a.types", "struct a { int n; }; struct b { short n; };");
  const auto text = show_types({file}, {"b", "a"}, {"m68k"});
  ASSERT_TRUE(text.has_value());
  EXPECT_EQ(*text, *show_types({file}, {"b"}, {"m68k"}) + "\n" + *show_types({file}, {"a"}, {"m68k"}));
  const auto unknown = show_types({file}, {"x", "a", "y"}, {"m68k"});
  ASSERT_FALSE(unknown.has_value());
  EXPECT_EQ(unknown.error().size(), 2u);
}

TEST_F(TypesCommands, NoMoreThanTwoMachinesAreCompared) {
  const auto text = show_types({write("a.types", kMessage)}, {"note"}, {"m68k", "i386", "arm64"});
  ASSERT_FALSE(text.has_value());
  EXPECT_THAT(text.error().front().what, HasSubstr("3 machines can't be shown"));
}

TEST_F(TypesCommands, AFolderInTheFolderAndAFileWithoutEndAreSaid) {
  std::filesystem::create_directory(folder_ / "x.types");
  EXPECT_THAT(check_types({folder_}).error().front().what, HasSubstr("can't read " + (folder_ / "x.types").string()));
  EXPECT_THAT(check_types({"/dev/zero"}).error().front().what, HasSubstr("more than 1 MiB"));
}

TEST_F(TypesCommands, UnknownNamesAreSaidWithWhatWasMeant) {
  const auto file = write("a.types", kMessage);
  EXPECT_EQ(show_types({file}, {"nota"}, {"m68k"}).error().front().remedy, "did you mean note?");
  EXPECT_THAT(show_types({file}, {"note"}, {"vax"}).error().front().remedy, HasSubstr("s390x"));
}

}  // namespace
}  // namespace dipc
