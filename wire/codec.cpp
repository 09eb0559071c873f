#include "wire/codec.h"

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <kj/exception.h>

#include <array>
#include <cstdint>
#include <cstring>

#include "wire/check.h"
#include "wire/read_record.h"
#include "wire/write_record.h"

namespace dipc {
namespace {

using capnp::word;

// Enough for nearly every record; longer ones get a heap segment of about their size.
constexpr std::size_t kScratchWords = 256;
constexpr std::size_t kScratchTextBytes = 1024;
// Structs within structs from Record down to a Text: seven today.
constexpr int kNestingMax = 16;

std::size_t bytes_of(const PageContents& contents) { return contents == nullptr ? 0 : contents->size(); }

// Bytes that the record holds beyond what fits the scratch segment anyway.
std::size_t bulk_bytes(const Record& record) {
  const auto* frame = std::get_if<Frame>(&record);
  if (frame == nullptr || !frame->message) return 0;
  if (const auto* call = std::get_if<Call>(&*frame->message)) {
    if (const auto* send = std::get_if<MessageSend>(&call->body)) return send->text.size();
    if (const auto* operate = std::get_if<SemaphoreOperate>(&call->body)) return operate->ops.size() * sizeof(word);
    if (const auto* control = std::get_if<Control>(&call->body)) return control->values.size() * 2;
  } else if (const auto* reply = std::get_if<Reply>(&*frame->message)) {
    if (const auto* message = std::get_if<Message>(&reply->body)) return message->text.size();
    if (const auto* values = std::get_if<std::vector<std::uint16_t>>(&reply->body)) return values->size() * 2;
    if (const auto* attach = std::get_if<AttachReply>(&reply->body)) return attach->declarations.size();
  } else if (const auto* declarations = std::get_if<QueueDeclarations>(&*frame->message)) {
    return declarations->text.size();
  } else if (const auto* held = std::get_if<HeldPage>(&*frame->message)) {
    return bytes_of(held->data.contents) * (1 + held->more.size());
  } else if (const auto* report = std::get_if<SegmentReport>(&*frame->message)) {
    if (const auto* relayed = std::get_if<RelayedPage>(&report->message)) return bytes_of(relayed->contents);
  } else if (const auto* order = std::get_if<SegmentOrder>(&*frame->message)) {
    if (const auto* data = std::get_if<PageData>(&order->message)) return bytes_of(data->contents);
  }
  return 0;
}

void append(Bytes& into, const void* from, std::size_t bytes) {
  const auto* begin = static_cast<const std::byte*>(from);
  into.insert(into.end(), begin, begin + bytes);
}

// Prefix, segment table (Cap'n Proto's stream framing), segments.
void append_record(Bytes& into, kj::ArrayPtr<const kj::ArrayPtr<const word>> segments) {
  Bytes many;
  std::array<std::byte, 64> few{};
  const std::size_t table_bytes = (segments.size() + 2) / 2 * sizeof(word);
  std::span<std::byte> head(few);
  if (kLengthPrefixBytes + table_bytes > few.size()) {
    many.resize(kLengthPrefixBytes + table_bytes);
    head = many;
  }
  head = head.first(kLengthPrefixBytes + table_bytes);
  std::size_t length = table_bytes;
  store_length_prefix(head.subspan(kLengthPrefixBytes).first<4>(), static_cast<std::uint32_t>(segments.size() - 1));
  for (std::size_t i = 0; i < segments.size(); ++i) {
    store_length_prefix(head.subspan(kLengthPrefixBytes + 4 * (i + 1)).first<4>(),
                        static_cast<std::uint32_t>(segments[i].size()));
    length += segments[i].size() * sizeof(word);
  }
  DIPC_CHECK(length <= kRecordBytesMax);
  store_length_prefix(head.first<4>(), static_cast<std::uint32_t>(length));
  append(into, head.data(), head.size());
  for (const auto& segment : segments) append(into, segment.begin(), segment.size() * sizeof(word));
}

Record read_words(kj::ArrayPtr<const word> words) {
  capnp::ReaderOptions options;
  // Pointers may point at the same thing many times over; a record that does must not unfold to more than it is.
  options.traversalLimitInWords = 2 * words.size() + 64;
  options.nestingLimit = kNestingMax;
  capnp::FlatArrayMessageReader reader(words, options);
  KJ_REQUIRE(reader.getEnd() == words.end(), "bytes after the message");
  return read(reader.getRoot<schema::Record>());
}

}  // namespace

void encode(const Record& record, Bytes& into) {
  const std::size_t bulk = bulk_bytes(record);
  if (bulk <= kScratchTextBytes) {
    alignas(sizeof(word)) std::array<word, kScratchWords> scratch{};
    capnp::MallocMessageBuilder builder(kj::arrayPtr(scratch.data(), scratch.size()));
    write(builder.initRoot<schema::Record>(), record);
    append_record(into, builder.getSegmentsForOutput());
  } else {
    capnp::MallocMessageBuilder builder(static_cast<unsigned>(bulk / sizeof(word) + kScratchWords));
    write(builder.initRoot<schema::Record>(), record);
    append_record(into, builder.getSegmentsForOutput());
  }
}

Bytes encode(const Record& record) {
  Bytes encoded;
  encode(record, encoded);
  return encoded;
}

Result<Record> decode(std::span<const std::byte> bytes) {
  if (bytes.empty() || bytes.size() % sizeof(word) != 0) {
    return trouble("bad record: " + std::to_string(bytes.size()) + " bytes are no Cap'n Proto message");
  }
  try {
    const std::size_t words = bytes.size() / sizeof(word);
    // Cap'n Proto asks for more than alignof(word) where a machine aligns 64 bits to less (m68k: 2).
    if (reinterpret_cast<std::uintptr_t>(bytes.data()) % sizeof(word) == 0) {
      return read_words({reinterpret_cast<const word*>(bytes.data()), words});
    }
    if (words <= kScratchWords) {
      alignas(sizeof(word)) std::array<word, kScratchWords> scratch;
      std::memcpy(scratch.data(), bytes.data(), bytes.size());
      return read_words({scratch.data(), words});
    }
    auto copy = kj::heapArray<word>(words);
    std::memcpy(copy.asBytes().begin(), bytes.data(), bytes.size());
    return read_words(copy);
  } catch (const kj::Exception& exception) {
    return trouble(std::string("bad record: ") + exception.getDescription().cStr(),
                   "does the peer run a newer dipcd? Otherwise something between the hosts damages data");
  }
}

}  // namespace dipc
