#include "wire/codec.h"

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "tests/sim/random.h"
#include "tests/unit/wire/sample_records.h"
#include "wire/peer.capnp.h"

namespace dipc {
namespace {

using testing::HasSubstr;

// Without the length prefix, which FrameReader takes off.
std::span<const std::byte> body(const Bytes& encoded) {
  return std::span<const std::byte>(encoded).subspan(kLengthPrefixBytes);
}

// FNV-1a, 64 bits: enough to notice a byte that differs.
std::uint64_t hash(const Bytes& bytes) {
  std::uint64_t sum = 0xcbf29ce484222325;
  for (const std::byte byte : bytes) sum = (sum ^ std::to_integer<std::uint64_t>(byte)) * 0x100000001b3;
  return sum;
}

std::string hex(const Bytes& bytes) {
  std::string text;
  for (const std::byte byte : bytes) {
    text += "0123456789abcdef"[std::to_integer<unsigned>(byte) >> 4];
    text += "0123456789abcdef"[std::to_integer<unsigned>(byte) & 15];
  }
  return text;
}

TEST(Codec, EveryRecordComesBackAsItWas) {
  for (const auto& [name, record] : sample::records()) {
    const Bytes encoded = encode(record);
    const auto decoded = decode(body(encoded));
    ASSERT_TRUE(decoded.has_value()) << name << ": " << decoded.error().what;
    EXPECT_EQ(*decoded, record) << name;
  }
}

TEST(Codec, SamplesHoldEveryKindOfRecordCallAndReply) {
  std::set<std::size_t> kinds, messages, calls, replies, reports, orders;
  for (const auto& [name, record] : sample::records()) {
    kinds.insert(record.index());
    const auto* frame = std::get_if<Frame>(&record);
    if (frame == nullptr || !frame->message) continue;
    messages.insert(frame->message->index());
    if (const auto* call = std::get_if<Call>(&*frame->message)) calls.insert(call->body.index());
    if (const auto* reply = std::get_if<Reply>(&*frame->message)) replies.insert(reply->body.index());
    if (const auto* report = std::get_if<SegmentReport>(&*frame->message)) reports.insert(report->message.index());
    if (const auto* order = std::get_if<SegmentOrder>(&*frame->message)) orders.insert(order->message.index());
  }
  EXPECT_EQ(kinds.size(), std::variant_size_v<Record>);
  EXPECT_EQ(messages.size(), std::variant_size_v<PeerMessage>);
  EXPECT_EQ(calls.size(), std::variant_size_v<CallBody>);
  EXPECT_EQ(replies.size(), std::variant_size_v<ReplyBody>);
  EXPECT_EQ(reports.size(), std::variant_size_v<HostPageMessage>);
  EXPECT_EQ(orders.size(), std::variant_size_v<OwnerPageMessage>);
}

TEST(Codec, EveryErrorAndCommandTravels) {
  for (unsigned number = 0; number <= static_cast<unsigned>(Error::kStale); ++number) {
    const Record record = Frame{1, 0, Reply{CallId{1}, static_cast<Error>(number), 0, {}}};
    EXPECT_EQ(decode(body(encode(record))), record) << number;
  }
  for (unsigned number = 0; number <= static_cast<unsigned>(ControlCommand::kUnlock); ++number) {
    Control control;
    control.command = static_cast<ControlCommand>(number);
    const Record record = Frame{1, 0, Call{CallId{1}, {}, control}};
    EXPECT_EQ(decode(body(encode(record))), record) << number;
  }
}

TEST(Codec, PrefixIsTheLengthOfWhatFollows) {
  Bytes all;
  for (const auto& [name, record] : sample::records()) {
    const std::size_t before = all.size();
    encode(record, all);
    const auto prefix = std::span<const std::byte>(all).subspan(before).first<kLengthPrefixBytes>();
    EXPECT_EQ(load_length_prefix(prefix), all.size() - before - kLengthPrefixBytes) << name;
  }
}

TEST(Codec, RecordOfTheLargestTextFitsTheLimit) {
  const Record record = Frame{1, 2, Call{CallId{3}, {"alice", {4, 5}}, MessageSend{{}, 6, Bytes(kTextBytesMax), 7}}};
  const Bytes encoded = encode(record);
  EXPECT_LE(encoded.size(), kLengthPrefixBytes + kRecordBytesMax);
  EXPECT_EQ(decode(body(encoded)), record);
}

TEST(Codec, RecordOfTheLargestPageFitsTheLimit) {
  const auto contents = std::make_shared<const Bytes>(kUnitBytesMax);
  const ObjectRef segment{Kind::kSegment, 1, 2};
  const Record record = Frame{1, 2, HeldPage{"vax", segment, {PageIndex{0}, TransactionNumber{1}, contents}, {}}};
  const Bytes encoded = encode(record);
  EXPECT_LE(encoded.size(), kLengthPrefixBytes + kRecordBytesMax);
  EXPECT_EQ(decode(body(encoded)), record);
}

TEST(Codec, SomePagesAndNotTooManyAreSpokenOf) {
  const ObjectRef segment{Kind::kSegment, 1, 2};
  const PageInstalled installed{PageIndex{0}, TransactionNumber{1}};
  const auto is_read = [](PeerMessage message) {
    return decode(body(encode(Frame{1, 2, std::move(message)}))).has_value();
  };
  for (const auto& [run, good] : {std::pair(0u, false), std::pair(1u, true), std::pair(kPagesAtOnceMax, true),
                                  std::pair(kPagesAtOnceMax + 1, false), std::pair(~0u, false)}) {
    EXPECT_EQ(is_read(SegmentReport{segment, installed, 0, run}), good) << run;
    EXPECT_EQ(is_read(SegmentOrder{segment, PageDeclined{PageIndex{0}}, "", run}), good) << run;
  }
  const auto contents = std::make_shared<const Bytes>(16);
  HeldPage held;
  held.segment = segment;
  held.data.contents = contents;
  held.more.assign(kPagesAtOnceMax - 1, contents);
  EXPECT_TRUE(is_read(held));
  held.more.push_back(contents);
  EXPECT_FALSE(is_read(held));
}

TEST(Codec, WhatIsSaidOfPagesIsSaidOfASegment) {
  for (const Kind kind : {Kind::kMessageQueue, Kind::kSemaphoreSet}) {
    const ObjectRef other{kind, 1, 2};
    for (const PeerMessage& message : {PeerMessage(SegmentReport{other, SegmentCleared{}, 0}),
                                       PeerMessage(SegmentOrder{other, SegmentDestroyed{}, ""}),
                                       PeerMessage(Call{CallId{1}, {}, SegmentAttach{.object = other}})}) {
      EXPECT_FALSE(decode(body(encode(Frame{1, 2, message}))).has_value());
    }
  }
}

// Else a host could name a set that it may use and reach the queue of that number, which no policy gives it.
TEST(Codec, OperationsAreSaidOfTheKindThatHasThem) {
  for (const Kind kind : {Kind::kMessageQueue, Kind::kSemaphoreSet, Kind::kSegment}) {
    const ObjectRef object{kind, 1, 2};
    const auto is_read = [](CallBody said) {
      return decode(body(encode(Frame{1, 2, Call{CallId{1}, {}, std::move(said)}}))).has_value();
    };
    EXPECT_EQ(is_read(MessageSend{.object = object}), kind == Kind::kMessageQueue);
    EXPECT_EQ(is_read(MessageReceive{.object = object}), kind == Kind::kMessageQueue);
    EXPECT_EQ(is_read(SemaphoreOperate{.object = object}), kind == Kind::kSemaphoreSet);
    EXPECT_TRUE(is_read(Control{.object = object}));
  }
}

TEST(Codec, RecordIsReadWhereverItLies) {
  for (const std::size_t text_bytes : {10u, 5000u}) {
    const Record record = Frame{1, 2, Reply{CallId{3}, Error::kNone, 4, Message{5, sample::pattern(text_bytes)}}};
    const Bytes encoded = encode(record);
    for (std::size_t offset = 0; offset < 8; ++offset) {
      Bytes moved(offset);
      moved.insert(moved.end(), encoded.begin() + kLengthPrefixBytes, encoded.end());
      EXPECT_EQ(decode(std::span<const std::byte>(moved).subspan(offset)), record)
          << text_bytes << " bytes at " << offset;
    }
  }
}

// The same on every architecture: a change here is a change of the protocol.
TEST(Codec, BytesOfAKeepAliveAreThese) {
  // Length 72; one segment of 8 words; pointer to the record (1 word, 1 pointer): frame; pointer to the frame (4 words,
  // 1 pointer): sequence, acknowledged, and neither kind nor content of a message.
  const std::string expected =
      "48000000"
      "0000000008000000"
      "0000000001000100"
      "0200000000000000"
      "0000000004000100"
      "0000000000000000"
      "0807060504030201"
      "0000000000000000"
      "0000000000000000"
      "0000000000000000";
  EXPECT_EQ(hex(encode(Frame{0, 0x0102030405060708, std::nullopt})), expected);
}

TEST(Codec, BytesAreTheSameOnEveryArchitecture) {
  // FNV-1a of each encoded sample, as seen on x86-64.
  const std::map<std::string, std::uint64_t> golden = {
      {"undo holders", 0xf1a1f1504f644345},
      {"call with undo", 0x9c9e700c9433c5ad},
      {"hello", 0xee7e87c3cccf3f56},
      {"empty hello", 0x4c469b3898fc8a6d},
      {"refusal", 0xe85eb2e8bf49b0bd},
      {"keep-alive", 0xa53e92b1c95a1a1a},
      {"get", 0x75bf2c93a494bcc8},
      {"get without a claim", 0x2fff8dc1c1a32587},
      {"get with claim 0", 0xa2b7d240f5f81278},
      {"send", 0x281c67ae1578aaba},
      {"empty send", 0x69b9617c380f6fd8},
      {"long send", 0xe8fd01e8d9a5ae22},
      {"receive", 0x180bb92120842195},
      {"receive with defaults", 0x1c167d1b5eb2f16},
      {"operate", 0xeea9b5dbef2e20e9},
      {"operate without a time-out", 0xa416bb4be22e6e8e},
      {"many operations", 0xf7f80ec3346ffedb},
      {"stat call", 0xb681f1b0b57ab0ba},
      {"set", 0xf2773995115c4a18},
      {"set all", 0x9db1aa4c2025afa5},
      {"waiting", 0x2d5200998637ef2b},
      {"plain reply", 0x5b1818eb773cc2c7},
      {"failed reply", 0x2e074dda3fdb172},
      {"get reply", 0x8cb8239d7fbe57ab},
      {"message", 0x876242cd4e25a6d4},
      {"empty message", 0xdc693afcba435aa3},
      {"stat reply", 0x6d5ea73f7dce6ea3},
      {"values", 0xb3ebf91aa923db49},
      {"no values", 0xdfd8c56904c2a939},
      {"cancel", 0x52ff12f3003cfba9},
      {"taken", 0x78535217348b15e7},
      {"returned", 0x981508c39300214c},
      {"process ended", 0xd0ab38eb3e27beb9},
      {"resolve", 0xc96e76214e1e15ac},
      {"exclusive resolve", 0xc6d135056efed907},
      {"present", 0xa76fd845fa539ad3},
      {"absent", 0x3971b9c437c31ff6},
      {"create", 0x2a3b62493e56adac},
      {"register", 0x5daef61bca8442ef},
      {"registered", 0xda5e38310cacce00},
      {"not registered", 0xa2c871af90e9efee},
      {"abandon", 0x40f08a2d55f7b9f8},
      {"removed", 0xbd027900fdbeb8f5},
      {"dropped", 0xbcd23e4454793348},
      {"list objects", 0x9f86c87159723055},
      {"object list", 0x1ae18b18609ad0c8},
      {"empty object list", 0x3328827ec95baad4},
      {"announce", 0x149405bcf8ce5f7d},
      {"announce, more follows", 0x8cff9aa34724efbd},
      {"announced", 0x1633bcb79894ab5},
      {"attach", 0x5894d504cbde4428},
      {"attach for writing", 0x1e6885e438cfd197},
      {"attach by a program of another ABI", 0x3e7c4206eca81c41},
      {"unlock", 0xae7436632fe20403},
      {"attach reply", 0x69ddcd0a35081910},
      {"attach reply with declarations", 0x52b73f3fef5cc116},
      {"page request", 0x74160e5671032183},
      {"page request for reading", 0xd122ac807b47ab0e},
      {"ask ahead", 0x1d37c5005b73732f},
      {"page installed", 0x6b4006215e6edc98},
      {"pages installed", 0x9a1857cc4b41e5b6},
      {"no page data", 0xfcf65894e386db81},
      {"page dropped", 0xec77bac0e18aa846},
      {"relayed page", 0xed7e9028757cd0fa},
      {"page failed", 0xcad54f4622181334},
      {"segment attached", 0x7e04801c159579c7},
      {"segment detached", 0x1cdaa9df33dfe71},
      {"segment cleared", 0x9299105e5e008faf},
      {"pages held", 0x3a62cd42bea062c3},
      {"segment held", 0x2ea7962b9441f9c1},
      {"page kept", 0x710fbab7bb225ffe},
      {"grant from a holder", 0x5520ccca9a9af82},
      {"grant of what is held", 0x6fb75a7d2ea23c0b},
      {"grant of zeros", 0xc51d6a355cdf0590},
      {"grants", 0x4b1e45111791a0d0},
      {"page declined", 0x60f7ce0a91f99f54},
      {"page lost", 0x72d12e06f84c6787},
      {"fetch", 0x8448a9470d0453fe},
      {"fetch through the owner", 0xdc29625001406d84},
      {"invalidate", 0xd18b18cb119532e1},
      {"release", 0xc71dcabfbee7d890},
      {"restore", 0xd3c553e120ec2dc3},
      {"holder gone", 0x70472efce807b172},
      {"dismissed", 0xae0525e1d8a2609},
      {"destroyed", 0xfb1a119b5ca329b8},
      {"resumed", 0xd22e0f54e2b6099a},
      {"refused", 0x63692e9ed1d1445},
      {"passed on page", 0x623f9e24f2b28ecd},
      {"send in a form", 0x23747ba306722b67},
      {"receive in a form", 0xc280bf7722163aa9},
      {"message in a form", 0x9887b2540eeac858},
      {"returned as unfit", 0x6dbc270e758537ca},
      {"ask layout", 0xbe15a9c28d65209},
      {"declarations", 0xe837f649bfb9f444},
      {"no declarations", 0xe312c8b3e80df672},
      {"declarations changed", 0xa6a596ae0d76ba0b},
      {"ask number", 0x21d13fe9df6d86da},
      {"host number", 0xb65078be0516274f},
      {"held page", 0xb8f9f4c12c5727f8},
      {"held pages", 0x3035a88886ed8cbf},
  };
  for (const auto& [name, record] : sample::records()) {
    const auto found = golden.find(name);
    const std::uint64_t expected = found == golden.end() ? 0 : found->second;
    EXPECT_EQ(hash(encode(record)), expected) << "{\"" << name << "\", 0x" << std::hex << hash(encode(record)) << "},";
  }
}

TEST(Codec, UnknownEnumeratorsAreTrouble) {
  const std::vector<Record> records = {
      Frame{1, 0, Reply{CallId{1}, static_cast<Error>(60000), 0, {}}},
      Frame{1, 0, Removed{{static_cast<Kind>(3), 1}, 1}},
      Frame{1, 0, Call{CallId{1}, {}, Control{{}, static_cast<ControlCommand>(12)}}},
      Refusal{static_cast<Refusal::Reason>(8), ""},
  };
  for (const Record& record : records) {
    const auto decoded = decode(body(encode(record)));
    ASSERT_FALSE(decoded.has_value());
    EXPECT_THAT(decoded.error().what, HasSubstr("unknown enumerator"));
    EXPECT_THAT(decoded.error().remedy, HasSubstr("newer"));
  }
}

TEST(Codec, UnknownRecordOfANewerProtocolIsTrouble) {
  Bytes encoded = encode(Frame{1, 2, std::nullopt});
  encoded[kLengthPrefixBytes + 16] = std::byte{200};  // after segment table and root pointer: the union's tag
  const auto decoded = decode(body(encoded));
  ASSERT_FALSE(decoded.has_value());
  EXPECT_THAT(decoded.error().what, HasSubstr("unknown record"));
}

TEST(Codec, UnknownMessageOfANewerProtocolIsTrouble) {
  // The frame's tag is the 16 bits that are 1 for a call and 0 for none; it stands in the third word of its data.
  Bytes encoded = encode(Frame{0, 0, std::nullopt});
  bool found = false;
  for (std::size_t i = kLengthPrefixBytes + 8; i < encoded.size(); i += 2) {
    Bytes changed = encoded;
    changed[i] = std::byte{0xee};
    changed[i + 1] = std::byte{0x7f};
    const auto decoded = decode(body(changed));
    found = found || (!decoded && decoded.error().what.find("unknown message") != std::string::npos);
  }
  EXPECT_TRUE(found);
}

TEST(Codec, NewFieldsOfANewerPeerAreIgnored) {
  // A struct with more words than this version knows is what a newer peer's appended field looks like.
  capnp::MallocMessageBuilder builder;
  auto frame = builder.initRoot<schema::Record>().initFrame();
  frame.setSequence(5);
  frame.initTaken().setId(77);
  auto segments = builder.getSegmentsForOutput();
  ASSERT_EQ(segments.size(), 1u);
  std::vector<std::uint64_t> words(segments[0].size());
  std::memcpy(words.data(), segments[0].begin(), words.size() * 8);
  // The last word is the CallId; its pointer is the word before it. Its struct pointer says 1 word of data: make it 2.
  const std::size_t pointer = words.size() - 2;
  auto* bytes = reinterpret_cast<unsigned char*>(&words[pointer]);
  ASSERT_EQ(bytes[4], 1);
  bytes[4] = 2;
  words.push_back(0xffffffffffffffff);
  Bytes record(8 + words.size() * 8);
  store_length_prefix(std::span(record).subspan(4).first<4>(), static_cast<std::uint32_t>(words.size()));
  std::memcpy(record.data() + 8, words.data(), words.size() * 8);
  const auto decoded = decode(record);
  ASSERT_TRUE(decoded.has_value()) << decoded.error().what;
  EXPECT_EQ(*decoded, Record(Frame{5, 0, Taken{CallId{77}}}));
}

TEST(Codec, EveryTruncationIsTroubleAndNeverACrash) {
  for (const auto& [name, record] : sample::records()) {
    const Bytes encoded = encode(record);
    const std::size_t step = encoded.size() > 4096 ? 509 : 1;
    for (std::size_t length = 0; length + kLengthPrefixBytes < encoded.size(); length += step) {
      EXPECT_FALSE(decode(body(encoded).first(length)).has_value()) << name << ", " << length << " bytes";
    }
  }
}

TEST(Codec, BytesAfterTheMessageAreTrouble) {
  Bytes encoded = encode(Frame{1, 2, std::nullopt});
  encoded.resize(encoded.size() + 8);
  const auto decoded = decode(body(encoded));
  ASSERT_FALSE(decoded.has_value());
  EXPECT_THAT(decoded.error().what, HasSubstr("bytes after the message"));
}

TEST(Codec, RandomDamageNeverCrashesIt) {
  const auto records = sample::records();
  std::vector<Bytes> encoded;
  for (const auto& named : records) {
    const Bytes bytes = encode(named.record);
    if (bytes.size() < 8192) encoded.push_back(bytes);
  }
  constexpr std::uint64_t kSeed = 20240229;
  sim::Random random(kSeed);
  unsigned refused = 0, accepted = 0;
  for (int round = 0; round < 20'000; ++round) {
    SCOPED_TRACE(testing::Message() << "seed " << kSeed << ", round " << round);
    Bytes bytes = random.pick(encoded);
    const std::uint64_t changes = random.between(1, 8);
    for (std::uint64_t i = 0; i < changes; ++i) {
      const auto at = static_cast<std::size_t>(random.between(kLengthPrefixBytes, bytes.size() - 1));
      switch (random.below(3)) {
        case 0:
          bytes[at] = static_cast<std::byte>(random.below(256));
          break;
        case 1:
          bytes[at] ^= static_cast<std::byte>(1u << random.below(8));
          break;
        default:
          bytes[at] = random.chance(50) ? std::byte{0} : std::byte{0xff};
      }
    }
    ++(decode(body(bytes)).has_value() ? accepted : refused);
  }
  EXPECT_GT(refused, 1000u);
  EXPECT_GT(accepted, 1000u);
}

TEST(Codec, RandomBytesNeverCrashIt) {
  constexpr std::uint64_t kSeed = 7310;
  sim::Random random(kSeed);
  for (int round = 0; round < 5'000; ++round) {
    SCOPED_TRACE(testing::Message() << "seed " << kSeed << ", round " << round);
    Bytes bytes(static_cast<std::size_t>(random.below(64)) * 8);
    for (auto& byte : bytes) byte = static_cast<std::byte>(random.below(random.chance(50) ? 4 : 256));
    if (random.chance(50) && bytes.size() >= 16) {  // a segment table that fits, so that the reader gets further
      std::fill(bytes.begin(), bytes.begin() + 8, std::byte{0});
      bytes[4] = static_cast<std::byte>(bytes.size() / 8 - 1);
    }
    const auto decoded = decode(bytes);
    if (!decoded) {
      EXPECT_THAT(decoded.error().what, HasSubstr("bad record"));
    }
  }
}

// A record whose many pointers all lead to one long text would unfold to gigabytes.
TEST(Codec, RecordThatUnfoldsToMoreThanItIsIsTrouble) {
  constexpr unsigned kRows = 500;
  constexpr unsigned kTextBytes = 16'000;
  capnp::MallocMessageBuilder builder(16 * 1024);
  auto rows = builder.initRoot<schema::Record>().initFrame().initObjectList().initRows(kRows);
  rows[0].setOwnerLogin(std::string(kTextBytes, 'x').c_str());
  const auto segments = builder.getSegmentsForOutput();
  ASSERT_EQ(segments.size(), 1u);
  const std::size_t words = segments[0].size();
  Bytes record(8 + words * 8);
  store_length_prefix(std::span(record).subspan(4).first<4>(), static_cast<std::uint32_t>(words));
  std::memcpy(record.data() + 8, segments[0].begin(), words * 8);
  ASSERT_TRUE(decode(record).has_value());

  const auto low = [&](std::size_t word) { return std::span(record).subspan(8 + word * 8).first<4>(); };
  const auto high = [&](std::size_t word) { return std::span(record).subspan(12 + word * 8).first<4>(); };
  std::size_t first = 0;  // the word that is row 0's pointer to the text: a list of bytes, NUL included
  while (load_length_prefix(high(first)) != ((kTextBytes + 1) << 3 | 2)) ASSERT_LT(++first, words);
  const std::size_t target = first + 1 + (load_length_prefix(low(first)) >> 2);
  constexpr auto kSize = capnp::_::structSize<schema::ObjectList::Row>();
  for (std::size_t row = 1; row < kRows; ++row) {
    const std::size_t at = first + row * (std::size_t{kSize.data} + kSize.pointers);
    store_length_prefix(low(at), static_cast<std::uint32_t>((target - at - 1) << 2 | 1));
    store_length_prefix(high(at), (kTextBytes + 1) << 3 | 2);
  }
  const auto decoded = decode(record);
  ASSERT_FALSE(decoded.has_value());
  EXPECT_THAT(decoded.error().what, HasSubstr("traversal limit"));
}

}  // namespace
}  // namespace dipc
