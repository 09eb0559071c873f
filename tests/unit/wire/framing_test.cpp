#include "wire/framing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>

#include "tests/sim/random.h"

namespace dipc {
namespace {

using testing::HasSubstr;

Bytes framed(const Bytes& record) {
  Bytes stream(kLengthPrefixBytes);
  store_length_prefix(std::span(stream).first<4>(), static_cast<std::uint32_t>(record.size()));
  stream.insert(stream.end(), record.begin(), record.end());
  return stream;
}

Bytes filled(std::size_t bytes, unsigned with) { return Bytes(bytes, static_cast<std::byte>(with)); }

Bytes copy(std::span<const std::byte> bytes) { return {bytes.begin(), bytes.end()}; }

TEST(Framing, PrefixIsLittleEndian) {
  Bytes prefix(4);
  store_length_prefix(std::span(prefix).first<4>(), 0x01020304);
  EXPECT_EQ(prefix, (Bytes{std::byte{4}, std::byte{3}, std::byte{2}, std::byte{1}}));
  EXPECT_EQ(load_length_prefix(std::span<const std::byte>(prefix).first<4>()), 0x01020304u);
}

TEST(FrameReader, RecordIsGivenOutWhenItsLastByteHasArrived) {
  const Bytes stream = framed(filled(20, 7));
  FrameReader reader;
  for (std::size_t i = 0; i < stream.size(); ++i) {
    ASSERT_FALSE(reader.next()->has_value()) << i;
    reader.feed(std::span(stream).subspan(i, 1));
  }
  const auto record = reader.next();
  ASSERT_TRUE(record && *record);
  EXPECT_EQ(copy(**record), filled(20, 7));
  EXPECT_FALSE(reader.next()->has_value());
  EXPECT_EQ(reader.pending_bytes(), 0u);
}

TEST(FrameReader, RecordsThatArriveTogetherAreGivenOutInOrder) {
  Bytes stream;
  for (unsigned i = 1; i <= 5; ++i) {
    const Bytes one = framed(filled(i * 3, i));
    stream.insert(stream.end(), one.begin(), one.end());
  }
  FrameReader reader;
  reader.feed(stream);
  for (unsigned i = 1; i <= 5; ++i) {
    const auto record = reader.next();
    ASSERT_TRUE(record && *record);
    EXPECT_EQ(copy(**record), filled(i * 3, i));
  }
  EXPECT_FALSE(reader.next()->has_value());
}

TEST(FrameReader, AnyCutOfTheStreamGivesTheSameRecords) {
  constexpr std::uint64_t kSeed = 42;
  sim::Random random(kSeed);
  for (int round = 0; round < 300; ++round) {
    SCOPED_TRACE(testing::Message() << "seed " << kSeed << ", round " << round);
    std::vector<Bytes> sent;
    Bytes stream;
    for (unsigned i = 0; i < 20; ++i) {
      const auto length = static_cast<std::size_t>(random.between(1, random.chance(20) ? 3000 : 40));
      sent.push_back(filled(length, i));
      const Bytes one = framed(sent.back());
      stream.insert(stream.end(), one.begin(), one.end());
    }
    FrameReader reader;
    std::vector<Bytes> received;
    for (std::size_t at = 0; at < stream.size();) {
      const std::uint64_t most = random.chance(50) ? 7 : 2000;
      const auto part = std::min<std::size_t>(static_cast<std::size_t>(random.between(1, most)), stream.size() - at);
      const auto room = reader.room(part);
      ASSERT_GE(room.size(), part);
      std::copy_n(stream.begin() + static_cast<std::ptrdiff_t>(at), part, room.begin());
      reader.arrived(part);
      at += part;
      for (auto record = reader.next(); *record; record = reader.next()) received.push_back(copy(**record));
    }
    EXPECT_EQ(received, sent);
  }
}

TEST(FrameReader, LongRecordBeginsAtAMultipleOfEight) {
  FrameReader reader;
  reader.feed(framed(filled(5, 1)));
  ASSERT_TRUE(reader.next()->has_value());
  const Bytes stream = framed(filled(100'000, 2));
  for (std::size_t at = 0; at < stream.size(); at += 1000) {
    reader.feed(std::span(stream).subspan(at, std::min<std::size_t>(1000, stream.size() - at)));
  }
  const auto record = reader.next();
  ASSERT_TRUE(record && *record);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>((*record)->data()) % 8, 0u);
}

TEST(FrameReader, OversizedLengthIsTroubleBeforeItsBytesArrive) {
  FrameReader reader(100);
  Bytes stream(4);
  store_length_prefix(std::span(stream).first<4>(), 101);
  reader.feed(stream);
  for (int again = 0; again < 2; ++again) {
    const auto record = reader.next();
    ASSERT_FALSE(record.has_value());
    EXPECT_THAT(record.error().what, HasSubstr("a record of 101 bytes; at most 100"));
  }
}

TEST(FrameReader, RecordAtTheLimitIsGood) {
  FrameReader reader(100);
  reader.feed(framed(filled(100, 1)));
  EXPECT_TRUE(reader.next()->has_value());
}

TEST(FrameReader, LengthOfZeroIsTrouble) {
  FrameReader reader;
  reader.feed(Bytes(4));
  EXPECT_FALSE(reader.next().has_value());
}

TEST(FrameReader, PromiseOfALongRecordTakesNoMemory) {
  FrameReader reader;
  Bytes stream(4);
  store_length_prefix(std::span(stream).first<4>(), kRecordBytesMax);
  reader.feed(stream);
  ASSERT_FALSE(reader.next()->has_value());
  EXPECT_LT(reader.room(1).size(), 1000u);
}

}  // namespace
}  // namespace dipc
