// The declarations that docs/LAYOUTS.md tells of are good, and are what the programs use.

#include <gtest/gtest.h>

#include <fstream>
#include <memory>

#include "daemon/ctl/types_commands.h"
#include "layouts/conversion.h"
#include "layouts/parser.h"
#include "layouts/shape.h"
#include "tests/types/compilers.h"

namespace dipc::types_test {
namespace {

std::shared_ptr<const TypeSet> examples() {
  auto types = read_types({DIPC_EXAMPLES});
  EXPECT_TRUE(types.has_value()) << (types ? "" : types.error().front().what);
  return types ? std::make_shared<const TypeSet>(std::move(*types)) : nullptr;
}

Form form(const std::string& machine) { return *Form::native(*known_abi(machine)); }

// As faked-sysv 1.31 on x86-64 received it from chown(2) to 5:6, according to strace.
std::vector<std::byte> chown_of_fakeroot() {
  std::vector<std::byte> payload(1088);
  const unsigned char seen[] = {3, 0, 0, 0, 0xb2, 0x2a, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 6, 0, 0, 0, 0xf0, 0xc0, 0xa7, 0};
  for (std::size_t i = 0; i < sizeof seen; ++i) payload[i] = static_cast<std::byte>(seen[i]);
  return payload;
}

TEST(TypesExamples, AMessageOfFakerootReachesFakedOnABigEndianMachine) {
  const auto types = examples();
  ASSERT_NE(types, nullptr);
  const Binding* binding = types->binding_for(Kind::kMessageQueue, 0x46414b46);
  ASSERT_NE(binding, nullptr);
  const auto structure = binding->structure_for(1);
  ASSERT_TRUE(structure.has_value());
  const auto payload = chown_of_fakeroot();
  for (const std::string machine : {"i386", "m68k", "s390x", "arm64"}) {
    const auto there = *Conversion::compile(types, Kind::kMessageQueue, *structure, form("x86-64"), form(machine));
    const auto back = *Conversion::compile(types, Kind::kMessageQueue, *structure, form(machine), form("x86-64"));
    std::vector<std::byte> arrived(payload.size());
    const Converted done = there.convert({payload, {}}, arrived);
    ASSERT_EQ(done.error, Error::kNone) << there.describe(done).what;
    EXPECT_EQ(done.bytes, payload.size());
    const bool is_big = form(machine).byte_order() == ByteOrder::kBig;
    EXPECT_EQ(arrived[is_big ? 3 : 0], std::byte{3});
    EXPECT_EQ(arrived[is_big ? 15 : 12], std::byte{5});
    std::vector<std::byte> returned(payload.size());
    ASSERT_EQ(back.convert({arrived, {}}, returned).error, Error::kNone);
    EXPECT_EQ(returned, payload);
  }
}

TEST(TypesExamples, TheClockOfNtpIsSharedByMachinesWithTheSameTime) {
  const auto types = examples();
  ASSERT_NE(types, nullptr);
  const Binding* binding = types->binding_for(Kind::kSegment, 0x4e545032);
  ASSERT_NE(binding, nullptr);
  const std::size_t structure = *binding->structure_for(0);
  const Shapes x86(*types, form("x86-64"));
  EXPECT_EQ(x86[structure].size, 96U);
  EXPECT_FALSE(first_difference(*types, structure, x86, Shapes(*types, form("s390x"))).has_value());
  const auto difference = first_difference(*types, structure, x86, Shapes(*types, form("i386")));
  ASSERT_TRUE(difference.has_value());
  EXPECT_EQ(difference->path, "clockTimeStampSec");
  EXPECT_EQ(Shapes(*types, form("m68k"))[structure].size, 80U);
}

// The indented block of a chapter that begins with this line.
std::string block_of(const std::string& path, const std::string& first_line) {
  std::ifstream chapter(path);
  std::string line, block;
  bool inside = false;
  while (std::getline(chapter, line)) {
    inside = inside || line == "    " + first_line;
    if (inside && !line.empty() && line.rfind("    ", 0) != 0) break;
    if (inside) block += line + "\n";
  }
  return block;
}

TEST(TypesExamples, TheOneOfTheChapterIsGood) {
  const std::string text = block_of(DIPC_DOCS "/LAYOUTS.md", "// desk.types");
  const TypeFile file{"desk.types", text};
  const auto types = parse_types({&file, 1});
  ASSERT_TRUE(types.has_value()) << types.error().front().what;
  EXPECT_EQ(types->bindings.size(), 1U);
  const auto order = types->find("order");
  ASSERT_TRUE(order.has_value());
  EXPECT_EQ(Shapes(*types, form("m68k"))[*order].size, 40U) << "as the chapter says";
  EXPECT_EQ(Shapes(*types, form("x86-64"))[*order].size, 48U);
}

// "$ dipcctl types check ..." and what stands below it.
TEST(TypesExamples, TheOutputOfTheChapterIsWhatThereIs) {
  const std::string commands = block_of(DIPC_DOCS "/LAYOUTS.md", "$ dipcctl types check desk.types");
  const Folder folder;
  const auto file = folder.write("desk.types", block_of(DIPC_DOCS "/LAYOUTS.md", "// desk.types"));
  const auto checked = check_types({file});
  const auto shown = show_type({file}, "order", {"m68k", "x86-64"});
  ASSERT_TRUE(checked.has_value() && shown.has_value());
  std::string text;
  for (const auto& [command, output] : {std::pair("check desk.types", *checked),
                                        std::pair("show order --abi m68k --abi x86-64 --types desk.types", *shown)}) {
    text += "    $ dipcctl types " + std::string(command) + "\n";
    for (std::size_t at = 0; at < output.size();) {
      const std::size_t end = output.find('\n', at) + 1;
      text += "    " + output.substr(at, end - at);
      at = end;
    }
  }
  EXPECT_EQ(commands.substr(0, commands.find_last_not_of('\n') + 1) + "\n", text);
}

}  // namespace
}  // namespace dipc::types_test
