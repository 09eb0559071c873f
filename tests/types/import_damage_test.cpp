// Damaged programs: an import ends, with a declaration that can be read or with what is wrong, whatever bytes its debug
// information has. DIPC_SEED=N takes others.

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>

#include "daemon/ctl/types_import.h"
#include "layouts/parser.h"
#include "tests/sim/random.h"
#include "tests/types/compilers.h"

namespace dipc::types_test {
namespace {

constexpr const char* kProgram = R"(
enum color { RED, GREEN = 5, BLUE = 200 };
typedef struct { short a; long b; } pair_t;
typedef int pid_t;
struct tight { char c; int i; } __attribute__((packed));
struct wide { char c; int i __attribute__((aligned(16))); };
struct s {
  long mtype; pid_t client; enum color color; pair_t pairs[2][3]; struct tight tight; struct wide wide;
  struct { int x; struct { char y; } z; } inner; double d; char text[];
};
struct s *use(struct s *p) { return p; }
)";

std::string contents(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

void expect_an_answer(const std::filesystem::path& program, std::map<std::string, int>& seen) {
  const auto imported = import_types(program, {"s"});
  if (!imported) {
    ASSERT_FALSE(imported.error().empty());
    EXPECT_LE(imported.error().size(), 20U);
    for (const Trouble& one : imported.error()) EXPECT_FALSE(one.what.empty());
    ++seen["refused"];
    return;
  }
  const TypeFile file{"declaration", imported->declarations};
  EXPECT_TRUE(parse_types({&file, 1}).has_value()) << imported->declarations;
  ++seen["imported"];
}

TEST(TypesImport, DamagedProgramsAreImportedOrRefused) {
  const char* given = std::getenv("DIPC_SEED");
  const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 0) : 1;
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  sim::Random random(seed);
  std::map<std::string, int> seen;
  for (const char* options : {"-g -shared -nostdlib -fPIC", "-gdwarf-3 -c", "-gdwarf-4 -fdebug-types-section -c"}) {
    const Folder folder;
    const std::string good = contents(compiled(folder, compilers().front(), kProgram, options));
    ASSERT_FALSE(good.empty());
    for (int round = 0; round < DAMAGED; ++round) {
      std::string bad = good;
      const std::uint64_t damages = random.between(1, 6);
      for (std::uint64_t i = 0; i < damages; ++i) {
        const auto at = static_cast<std::size_t>(random.below(bad.size()));
        const std::uint64_t value = random.next();
        if (random.chance(50)) {
          bad[at] = static_cast<char>(value);
        } else {
          bad[at] = static_cast<char>(bad[at] + (value % 2 == 0 ? 1 : -1));
        }
      }
      if (random.chance(3)) bad.resize(static_cast<std::size_t>(random.below(bad.size())));
      expect_an_answer(folder.write("bad.o", bad), seen);
      if (HasFailure()) FAIL() << options << ", round " << round << ", seed " << seed;
    }
  }
  std::printf("%d imported, %d refused\n", seen["imported"], seen["refused"]);
  EXPECT_GT(seen["imported"], 0);
  EXPECT_GT(seen["refused"], 0);
}

}  // namespace
}  // namespace dipc::types_test
