#include "daemon/core/page_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

namespace dipc {
namespace {

using testing::ElementsAre;
using testing::Pair;

constexpr PageIndex page(std::uint32_t number) { return PageIndex{number}; }

TEST(PageMap, PagesAreInOrderWhereverTheyLie) {
  PageMap<int> map;
  EXPECT_EQ(map.begin(), map.end());
  for (const std::uint32_t number : {1'000'000u, 31u, 0u, 32u, 63u}) map[page(number)] = static_cast<int>(number);
  EXPECT_THAT(map, ElementsAre(Pair(page(0), 0), Pair(page(31), 31), Pair(page(32), 32), Pair(page(63), 63),
                               Pair(page(1'000'000), 1'000'000)));
  const PageMap<int>& same = map;
  EXPECT_EQ(same.find(page(31))->second, 31);
  EXPECT_EQ(same.find(page(30)), same.end());
  EXPECT_EQ(same.find(page(64)), same.end());
  EXPECT_EQ(same.find(page(2'000'000)), same.end());
  map.clear();
  EXPECT_EQ(map.begin(), map.end());
}

TEST(PageMap, ElementsStayWhereTheyAre) {
  PageMap<std::string> map;
  const auto [first, is_new] = map.try_emplace(page(5));
  EXPECT_TRUE(is_new);
  std::string& text = first->second;
  text = "five";
  for (std::uint32_t number = 0; number < 5000; ++number) map[page(number)];
  EXPECT_EQ(&map.at(page(5)), &text);
  EXPECT_FALSE(map.try_emplace(page(5)).second);
  const PageMap<std::string> moved = std::move(map);
  EXPECT_EQ(&moved.find(page(5))->second, &text);
  EXPECT_EQ(text, "five");
}

TEST(PageMap, IsWhatAMapIs) {
  PageMap<std::uint32_t> map;
  std::map<PageIndex, std::uint32_t> same;
  std::mt19937 random(1);
  for (std::uint32_t step = 0; step < 20000; ++step) {
    const PageIndex index = page(static_cast<std::uint32_t>(random() % 200));
    if (random() % 2 == 0) {
      map[index] = same[index] = step;
    } else if (const auto found = map.find(index); found != map.end()) {
      map.erase(found);
      same.erase(index);
    }
    ASSERT_EQ(map.find(index) == map.end(), same.find(index) == same.end());
    if (step % 100 == 0) {
      ASSERT_TRUE(std::equal(map.begin(), map.end(), same.begin(), same.end())) << step;
    }
  }
}

}  // namespace
}  // namespace dipc
