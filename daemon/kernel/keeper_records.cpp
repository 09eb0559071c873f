#include "daemon/kernel/keeper_records.h"

#include <cstring>
#include <type_traits>

namespace dipc::keeper {

namespace {

// Numbers as this machine has them, one after the other; lengths before what they count.
class Writer {
 public:
  template <typename T>
  Writer& operator<<(T value) requires(std::is_arithmetic_v<T> || std::is_enum_v<T>) {
    const auto* const bytes = reinterpret_cast<const std::byte*>(&value);
    packet_.insert(packet_.end(), bytes, bytes + sizeof value);
    return *this;
  }
  Writer& operator<<(const std::string& text) {
    *this << static_cast<std::uint32_t>(text.size());
    const auto* const bytes = reinterpret_cast<const std::byte*>(text.data());
    packet_.insert(packet_.end(), bytes, bytes + text.size());
    return *this;
  }
  Writer& operator<<(const UndoHolder& holder) {
    return *this << holder.host << holder.boot << holder.process.pid << holder.process.start_ticks;
  }
  Bytes take() { return std::move(packet_); }

 private:
  Bytes packet_;
};

class Reader {
 public:
  explicit Reader(const Bytes& packet) : packet_(packet) {}
  template <typename T>
  Reader& operator>>(T& value) requires(std::is_arithmetic_v<T> || std::is_enum_v<T>) {
    take(&value, sizeof value);
    return *this;
  }
  Reader& operator>>(bool& value) {
    std::uint8_t byte = 0;
    *this >> byte;
    if (byte > 1) whole_ = false;
    value = byte == 1;
    return *this;
  }
  Reader& operator>>(std::string& text) {
    text.resize(count(1));
    take(text.data(), text.size());
    return *this;
  }
  Reader& operator>>(UndoHolder& holder) {
    return *this >> holder.host >> holder.boot >> holder.process.pid >> holder.process.start_ticks;
  }
  // How many elements of at least so many bytes follow.
  std::size_t count(std::size_t element_bytes) {
    std::uint32_t count = 0;
    *this >> count;
    if (count > (packet_.size() - at_) / element_bytes) whole_ = false;
    return whole_ ? count : 0;
  }
  bool read_whole() const { return whole_ && at_ == packet_.size(); }

 private:
  void take(void* into, std::size_t bytes) {
    if (!whole_ || bytes > packet_.size() - at_) {
      whole_ = false;
      return;
    }
    if (bytes > 0) std::memcpy(into, packet_.data() + at_, bytes);
    at_ += bytes;
  }

  const Bytes& packet_;
  std::size_t at_ = 0;
  bool whole_ = true;
};

void write(Writer& to, const Hello& hello) { to << hello.version; }
void read(Reader& from, Hello& hello) { from >> hello.version; }

void write(Writer& to, const Welcome& welcome) {
  to << welcome.version << welcome.process << welcome.last_group << welcome.groups;
}
void read(Reader& from, Welcome& welcome) {
  from >> welcome.version >> welcome.process >> welcome.last_group >> welcome.groups;
}

void write(Writer& to, const Found& found) {
  to << found.group << found.holder << static_cast<std::uint32_t>(found.sets.size());
  for (const std::int32_t set : found.sets) to << set;
}
void read(Reader& from, Found& found) {
  from >> found.group >> found.holder;
  for (std::size_t left = from.count(sizeof(std::int32_t)); left > 0; --left) {
    std::int32_t set = 0;
    from >> set;
    found.sets.insert(set);
  }
}

void write(Writer& to, const Start& start) {
  const UndoOperation& operation = start.operation;
  to << start.group << start.holder << operation.token << operation.as.uid << operation.as.gid;
  to << static_cast<std::uint32_t>(operation.as.groups.size());
  for (const gid_t group : operation.as.groups) to << group;
  const NativeOperate& operate = operation.operate;
  to << operate.set << operate.count << operate.unreadable << static_cast<std::uint32_t>(operate.ops.size());
  for (const sembuf& op : operate.ops) to << op.sem_num << op.sem_op << op.sem_flg;
  to << operate.timeout.has_value() << operate.timeout.value_or(Duration{}).count();
  to << operation.deadline.time_since_epoch().count();  // CLOCK_MONOTONIC, the same for both
}
void read(Reader& from, Start& start) {
  UndoOperation& operation = start.operation;
  from >> start.group >> start.holder >> operation.token >> operation.as.uid >> operation.as.gid;
  operation.as.groups.resize(from.count(sizeof(gid_t)));
  for (gid_t& group : operation.as.groups) from >> group;
  NativeOperate& operate = operation.operate;
  from >> operate.set >> operate.count >> operate.unreadable;
  operate.ops.resize(from.count(3 * sizeof(short)));
  for (sembuf& op : operate.ops) from >> op.sem_num >> op.sem_op >> op.sem_flg;
  bool limited = false;
  Duration::rep timeout = 0;
  Duration::rep deadline = 0;
  from >> limited >> timeout >> deadline;
  if (limited) operate.timeout = Duration(timeout);
  operation.deadline = TimePoint(Duration(deadline));
}

void write(Writer& to, const Cancel& cancel) { to << cancel.token; }
void read(Reader& from, Cancel& cancel) { from >> cancel.token; }

void write(Writer& to, const End& end) { to << end.group; }
void read(Reader& from, End& end) { from >> end.group; }

void write(Writer& to, const Asleep& asleep) { to << asleep.token << asleep.thread; }
void read(Reader& from, Asleep& asleep) { from >> asleep.token >> asleep.thread; }

void write(Writer& to, const Done& done) { to << done.token << done.outcome.value << done.outcome.error; }
void read(Reader& from, Done& done) { from >> done.token >> done.outcome.value >> done.outcome.error; }

void write(Writer& to, const Ended& ended) { to << ended.group; }
void read(Reader& from, Ended& ended) { from >> ended.group; }

template <std::size_t kIndex = 0>
std::optional<Record> decode_as(std::size_t index, Reader& from) {
  if constexpr (kIndex < std::variant_size_v<Record>) {
    if (index != kIndex) return decode_as<kIndex + 1>(index, from);
    std::variant_alternative_t<kIndex, Record> record;
    read(from, record);
    if (from.read_whole()) return record;
  }
  return std::nullopt;
}

}  // namespace

Bytes encode(const Record& record) {
  Writer to;
  to << static_cast<std::uint32_t>(record.index());
  std::visit([&](const auto& one) { write(to, one); }, record);
  return to.take();
}

std::optional<Record> decode(const Bytes& packet) {
  Reader from(packet);
  std::uint32_t index = 0;
  from >> index;
  return decode_as(index, from);
}

}  // namespace dipc::keeper
