#include "wire/nearest.h"

#include <gtest/gtest.h>

#include <array>

namespace dipc {
namespace {

TEST(Nearest, IsTheNameThatWasMeant) {
  constexpr std::array<std::string_view, 6> kNames = {"struct", "long", "unsigned", "msg", "shm", "x"};
  EXPECT_EQ(nearest("lnog", kNames), "long") << "two that changed places are one mistake";
  EXPECT_EQ(nearest("mgs", kNames), "msg");
  EXPECT_EQ(nearest("unsinged", kNames), "unsigned");
  EXPECT_EQ(nearest("Strukt", kNames), "struct");
  EXPECT_EQ(nearest("sruct", kNames), "struct");
  EXPECT_EQ(nearest("strange", kNames), "");
  EXPECT_EQ(nearest("y", kNames), "") << "nothing is left of it";
  EXPECT_EQ(nearest(std::string(1000, 'x'), kNames), "");
  EXPECT_EQ(nearest("long", {}), "");
}

TEST(Nearest, TheFirstOfThoseAsNearIsTaken) {
  constexpr std::array<std::string_view, 3> kNames = {"cart", "card", "care"};
  EXPECT_EQ(nearest("carx", kNames), "cart");
  EXPECT_EQ(nearest("care", kNames), "care");
}

}  // namespace
}  // namespace dipc
