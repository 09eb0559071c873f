// The declarations that docs/LAYOUTS.md tells of are good, and are what the programs use.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>

#include "daemon/ctl/types_commands.h"
#include "daemon/ctl/types_import.h"
#include "layouts/conversion.h"
#include "layouts/parser.h"
#include "layouts/shape.h"
#include "tests/types/compilers.h"
#include "tests/unit/layouts/random_layout.h"

namespace dipc::types_test {
namespace {

constexpr std::uint64_t kFakerootBytes = 1088;  // of a message's payload, on every machine

std::shared_ptr<const TypeSet> examples() {
  auto types = read_types({DIPC_EXAMPLES});
  EXPECT_TRUE(types.has_value()) << (types ? "" : types.error().front().what);
  return types ? std::make_shared<const TypeSet>(std::move(*types)) : nullptr;
}

Form form(const std::string& machine) { return *Form::native(*known_abi(machine)); }

// The structs as the programs' own headers have them: message.h of fakeroot up to 1.31, refclock_shm.c of chrony 4.3
// and ntpshm.h of gpsd 3.22, which differ in the sign of two fields.
struct OfAProgram {
  std::string name;
  std::string c;
};
const std::vector<OfAProgram>& structs_of_programs() {
  static const std::vector<OfAProgram> kStructs = {
      {"fake_msg",
       "typedef uint32_t func_id_t, fake_uid_t, fake_gid_t, fake_mode_t, fake_nlink_t;"
       "typedef uint64_t fake_ino_t, fake_dev_t;"
       "struct fakestat { fake_uid_t uid; fake_gid_t gid; fake_ino_t ino; fake_dev_t dev; fake_dev_t rdev;"
       "  fake_mode_t mode; fake_nlink_t nlink; } __attribute__((packed));"
       "struct fakexattr { uint32_t buffersize; char buf[1024]; int32_t flags_rc; } __attribute__((packed));"
       "struct fake_msg { long mtype; func_id_t id; pid_t pid; int serial; struct fakestat st; struct fakexattr xattr;"
       "  uint32_t remote; } __attribute__((packed)); struct fake_msg x;"},
      {"shmTime",
       "struct shmTime { int mode; volatile int count; time_t clockTimeStampSec; int clockTimeStampUSec;"
       "  time_t receiveTimeStampSec; int receiveTimeStampUSec; int leap, precision, nsamples; volatile int valid;"
       "  unsigned clockTimeStampNSec, receiveTimeStampNSec; int dummy[8]; }; struct shmTime x;"},
  };
  return kStructs;
}

// "st.uid at 24, 4 bytes" for each field.
std::vector<std::string> lines_of(const TypeSet& types, const std::string& name, const Form& form) {
  std::vector<std::string> lines;
  for (const PlacedField& field : placed_fields(types, *types.find(name), Shapes(types, form))) {
    lines.push_back(field.path + " at " + std::to_string(field.offset) + ", " + std::to_string(field.bytes) + " bytes");
  }
  return lines;
}

TEST(TypesExamples, FieldsLieWhereTheCompiledProgramsHaveThem) {
  const auto types = examples();
  ASSERT_NE(types, nullptr);
  for (const OfAProgram& one : structs_of_programs()) {
    for (const Compiler& compiler : compilers()) {
      SCOPED_TRACE(one.name + " on " + compiler.machine);
      const Folder folder;
      const auto program =
          compiled(folder, compiler, "#include <stdint.h>\ntypedef int pid_t; typedef long time_t;" + one.c);
      const auto imported = import_types(program, {one.name});
      ASSERT_TRUE(imported.has_value()) << imported.error().front().what;
      const TypeSet read = layout_test::parsed(imported->declarations);
      EXPECT_EQ(lines_of(*types, one.name, form(compiler.machine)), lines_of(read, one.name, form(compiler.machine)));
    }
  }
}

// A message of fakeroot as a machine's programs have it; fields that are not named are 0.
std::vector<std::byte> fakeroot_payload(const TypeSet& types, const Form& form,
                                        const std::map<std::string, std::uint64_t>& fields) {
  const std::size_t structure = *types.find("fake_msg");
  const Shapes shapes(types, form);
  std::vector<std::uint64_t> values;
  std::size_t found = 0;
  for (const layout_test::Place& place : layout_test::places(types, structure, shapes, 0)) {
    const auto field = fields.find(place.path);
    found += field == fields.end() ? 0 : 1;
    values.push_back(field == fields.end() ? 0 : field->second);
  }
  EXPECT_EQ(found, fields.size()) << "a field that there is not";
  auto bytes = layout_test::bytes_of(types, structure, shapes, 0, values, 0);
  bytes.erase(bytes.begin(), bytes.end() - kFakerootBytes);  // the mtype
  return bytes;
}

std::vector<std::byte> converted(const std::shared_ptr<const TypeSet>& types, const Form& from, const Form& to,
                                 const std::vector<std::byte>& payload) {
  const auto there = *Conversion::compile(types, Kind::kMessageQueue, *types->find("fake_msg"), from, to);
  std::vector<std::byte> arrived(kFakerootBytes);
  const Converted done = there.convert({payload, {}}, arrived);
  EXPECT_EQ(done.error, Error::kNone) << there.describe(done).what;
  EXPECT_EQ(done.bytes, kFakerootBytes);
  return arrived;
}

// The kinds of messages that fakeroot sends (enum of communicate.h).
constexpr std::uint64_t kChown = 0, kStat = 3;

TEST(TypesExamples, AMessageOfFakerootIsReadOnEveryMachine) {
  const auto types = examples();
  ASSERT_NE(types, nullptr);
  const Binding* binding = types->binding_for(Kind::kMessageQueue, 0x46414b46);
  ASSERT_NE(binding, nullptr);
  ASSERT_EQ(binding->structure_for(1), types->find("fake_msg"));
  // As strace shows it on x86-64: stat(2) of what was given to 5:6 before.
  std::vector<std::byte> seen(kFakerootBytes);
  const unsigned char head[] = {3, 0, 0, 0, 0xb2, 0x2a, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 6, 0, 0, 0, 0xf0, 0xc0, 0xa7, 0};
  std::memcpy(seen.data(), head, sizeof head);
  const std::map<std::string, std::uint64_t> fields = {{"id", kStat}, {"pid", 0x2ab2}, {"serial", 1},
                                                       {"st.uid", 5}, {"st.gid", 6},   {"st.ino", 0xa7c0f0}};
  for (const std::string machine : {"x86-64", "i386", "m68k", "s390x", "arm64"}) {
    SCOPED_TRACE(machine);
    const auto arrived = converted(types, form("x86-64"), form(machine), seen);
    EXPECT_EQ(arrived, fakeroot_payload(*types, form(machine), fields));
    EXPECT_EQ(converted(types, form(machine), form("x86-64"), arrived), seen);
  }
}

TEST(TypesExamples, WhatFakerootLeavesUnsetIsNotRewritten) {
  const auto types = examples();
  ASSERT_NE(types, nullptr);
  EXPECT_TRUE(types->ids_in(*types->find("fake_msg"), 1).empty())
      << "the pid of a chown is what was on the stack: rewritten, it would be refused";
}

// faked as Debian has it, with keys of this process. It ends and takes its queues with it when this does, or the test.
class Faked {
 public:
  Faked() {
    const std::string command = "exec setpriv --pdeathsig TERM faked-sysv --foreground --key " + std::to_string(key_);
    output_ = ::popen(command.c_str(), "r");
    char line[64] = "";
    if (output_ != nullptr && std::fgets(line, sizeof line, output_) != nullptr)
      std::sscanf(line, "%*d:%d", &pid_);  // "key:pid"
  }
  ~Faked() {
    if (pid_ > 0) ::kill(pid_, SIGTERM);
    if (output_ != nullptr) ::pclose(output_);
    ::msgctl(::msgget(key_, 0), IPC_RMID, nullptr);  // if it was killed otherwise
    ::msgctl(::msgget(key_ + 1, 0), IPC_RMID, nullptr);
    ::semctl(::semget(key_ + 2, 0, 0), 0, IPC_RMID);
  }
  Faked(const Faked&) = delete;
  Faked& operator=(const Faked&) = delete;

  bool runs() const { return pid_ > 0; }
  bool send(const std::vector<std::byte>& payload) const {
    Message message = {};
    message.mtype = 1;
    std::memcpy(message.text, payload.data(), sizeof message.text);
    return ::msgsnd(::msgget(key_, 0), &message, sizeof message.text, 0) == 0;
  }
  std::vector<std::byte> receive() const {
    Message message = {};
    EXPECT_EQ(::msgrcv(::msgget(key_ + 1, 0), &message, sizeof message.text, 0, 0), kFakerootBytes);
    return {std::begin(message.text), std::end(message.text)};
  }

 private:
  struct Message {
    long mtype;
    std::byte text[kFakerootBytes];
  };
  key_t key_ = 0x46000000 | ((::getpid() & 0x1fffff) << 2);
  std::FILE* output_ = nullptr;
  pid_t pid_ = 0;
};

// One that says 5:6 of a file and asks later: its numbers have the other byte order, and come back in it.
TEST(TypesExamples, FakedAnswersAProgramOfAnM68kMachine) {
  if (run("command -v faked-sysv").status != 0) GTEST_SKIP() << "fakeroot is not installed";
  const auto types = examples();
  ASSERT_NE(types, nullptr);
  const Form here = *Form::native(measured_abi());
  const Form there = form("m68k");
  std::map<std::string, std::uint64_t> fields = {
      {"id", kChown},     {"pid", 0x5810d224},          {"st.uid", 5},  {"st.gid", 6}, {"st.ino", 0x12345},
      {"st.dev", 0xfe00}, {"st.mode", S_IFREG | 0644U}, {"st.nlink", 1}};
  const Faked faked;
  ASSERT_TRUE(faked.runs());
  ASSERT_TRUE(faked.send(converted(types, there, here, fakeroot_payload(*types, there, fields))));
  fields.insert_or_assign("id", kStat);
  fields.insert_or_assign("pid", 4242);
  fields.insert_or_assign("serial", 7);
  const auto known = fields;
  fields.insert_or_assign("st.uid", 0);
  fields.insert_or_assign("st.gid", 0);
  ASSERT_TRUE(faked.send(converted(types, there, here, fakeroot_payload(*types, there, fields))));
  EXPECT_EQ(converted(types, here, there, faked.receive()), fakeroot_payload(*types, there, known));
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
  const auto shown = show_types({file}, {"order"}, {"m68k", "x86-64"});
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
