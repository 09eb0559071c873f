#include "shim/id_table.h"

#include <gtest/gtest.h>

#include <memory>

#include "wire/messages.h"

namespace dipc::shim {
namespace {

// The shim can't include wire/messages.h, and sends these numbers.
static_assert(static_cast<uint32_t>(Kind::kMessageQueue) == static_cast<uint32_t>(dipc::Kind::kMessageQueue));
static_assert(static_cast<uint32_t>(Kind::kSemaphoreSet) == static_cast<uint32_t>(dipc::Kind::kSemaphoreSet));
static_assert(static_cast<uint32_t>(Kind::kSegment) == static_cast<uint32_t>(dipc::Kind::kSegment));

constexpr int kPlaces = 1024;

TEST(IdTable, KnowsNothingAtFirst) {
  auto table = std::make_unique<IdTable>();
  for (int id : {0, 1, 1023, 1024, 0x7fffffff, -1}) {
    EXPECT_EQ(table->find(id), IdTable::kUnknown) << id;
    EXPECT_FALSE(table->goes_to_kernel(id)) << id;
  }
}

TEST(IdTable, SendsLocalAndOwnedIdsToTheKernelAndNoOthers) {
  auto table = std::make_unique<IdTable>();
  table->set(5, IdTable::kLocal);
  table->set(6, IdTable::kOwned);
  table->set(7, IdTable::kRemote);
  EXPECT_TRUE(table->goes_to_kernel(5));
  EXPECT_TRUE(table->goes_to_kernel(6));
  EXPECT_FALSE(table->goes_to_kernel(7));
  EXPECT_FALSE(table->goes_to_kernel(8));
  EXPECT_EQ(table->find(5), IdTable::kLocal);
  EXPECT_EQ(table->find(6), IdTable::kOwned);
  EXPECT_EQ(table->find(7), IdTable::kRemote);
}

TEST(IdTable, TellsIdsOfOnePlaceApart) {
  auto table = std::make_unique<IdTable>();
  for (int id : {3, 3 + kPlaces, 3 + 32768, 0x7ffffc03}) {
    table->set(id, IdTable::kLocal);
    for (int other : {3, 3 + kPlaces, 3 + 32768, 0x7ffffc03}) {
      EXPECT_EQ(table->goes_to_kernel(other), id == other) << id << " and " << other;
      EXPECT_EQ(table->find(other), id == other ? IdTable::kLocal : IdTable::kUnknown) << id << " and " << other;
    }
  }
}

TEST(IdTable, ForgetsOneIdAndNotItsNeighbour) {
  auto table = std::make_unique<IdTable>();
  table->set(3 + kPlaces, IdTable::kRemote);
  table->forget(3);
  EXPECT_EQ(table->find(3 + kPlaces), IdTable::kRemote);
  table->forget(3 + kPlaces);
  EXPECT_EQ(table->find(3 + kPlaces), IdTable::kUnknown);
}

TEST(IdTable, TakesTheDaemonsWordForIt) {
  EXPECT_EQ(IdTable::state_of(local::Where::kLocal), IdTable::kLocal);
  EXPECT_EQ(IdTable::state_of(local::Where::kOwned), IdTable::kOwned);
  EXPECT_EQ(IdTable::state_of(local::Where::kRemote), IdTable::kRemote);
}

}  // namespace
}  // namespace dipc::shim
