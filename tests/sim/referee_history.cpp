#include "tests/sim/referee_history.h"

namespace dipc::sim {

void History::made(TimePoint now, const ObjectName& name, std::uint64_t generation, std::int32_t id) {
  objects_[generation] = Object{.name = name, .id = id, .made = now};
}

void History::accepted(TimePoint now, const ObjectName&, std::uint64_t generation) {
  const auto it = objects_.find(generation);
  if (it == objects_.end()) return violation("accepted", "the referee accepted an object that nobody made");
  if (it->second.accepted == kNever) it->second.accepted = now;
}

void History::gone(TimePoint now, std::uint64_t generation) {
  const auto it = objects_.find(generation);
  if (it != objects_.end() && it->second.gone == kNever) it->second.gone = now;
}

void History::occupied(TimePoint now, const ObjectName& name, bool undistributed) {
  occupied_[name] = now;
  if (undistributed) undistributed_[name] = now;
}

void History::finished(TimePoint now, const Get& get, Error error, const GetReply& reply, bool occupied_now,
                       bool undistributed_now) {
  ++ended_;
  if (now > get.begun + op_timeout_) violation("bounded", "a get ended too late");
  if (error == Error::kNone) {
    ++succeeded_;
    const auto it = objects_.find(reply.object.generation);
    if (it == objects_.end() || it->second.id != reply.object.id || it->second.name != get.name) {
      return violation("alive", "a get returned an object that never was");
    }
    Object& object = it->second;
    if (get.name.key != 0 && object.accepted > now) {
      violation("accepted", "a program got an id that the referee has not accepted");
    }
    if (object.gone < get.begun) violation("alive", "a get returned an object that was gone before it began");
    if (get.create && get.exclusive) {
      if (object.made < get.begun) violation("exclusive", "an exclusive create returned an older object");
      if (object.given_to_exclusive) violation("exclusive", "two exclusive creates got the same object");
      object.given_to_exclusive = true;
    }
  } else if (error == Error::kNoEntry && !excused_.contains(get.name)) {
    for (const auto& [generation, object] : objects_) {
      if (object.name == get.name && object.accepted < get.begun && object.gone > now) {
        violation("absent", "ENOENT although an object of the name was there all the time");
      }
    }
  } else if (error == Error::kExists) {
    const auto since = [&](const std::map<ObjectName, TimePoint>& last, bool still) {
      const auto it = last.find(get.name);
      return still || (it != last.end() && it->second >= get.begun);
    };
    if (get.create && get.exclusive && !since(occupied_, occupied_now)) {
      violation("exists", "EEXIST although nothing has the name");
    }
    if (!(get.create && get.exclusive) && !since(undistributed_, undistributed_now)) {
      violation("exists", "EEXIST for a get that is not exclusive, and no undistributed object has the key");
    }
  }
}

void History::not_prompt(const ObjectName& name) {
  if (excused_.contains(name)) return;
  violation("prompt", "a get timed out though nothing was wrong any more");
}

void History::check_unique(const ObjectName& name, const std::vector<Claimed>& claimed) {
  if (excused_.contains(name) || claimed.size() < 2) return;
  violation("unique", "hosts " + std::to_string(claimed[0].host) + " and " + std::to_string(claimed[1].host) +
                          " both hold a live object of one name");
}

void History::check_disk(const RegistryFile& memory, const RegistryFile& disk) {
  if (memory != disk) return violation("disk", "the table on disk is not the table in memory");
  const Result<RegistryFile> read = parse_registry("disk", render_registry(disk.table, disk.complete));
  if (!read || *read != memory) violation("disk", "the table does not read back as it was written");
}

void History::violation(const std::string& checker, const std::string& text) {
  if (violation_.empty()) violation_ = checker + ": " + text;
}

}  // namespace dipc::sim
