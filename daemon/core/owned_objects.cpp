#include "daemon/core/owned_objects.h"

#include <algorithm>

#include "wire/check.h"

namespace dipc {
namespace {

// One Announce of this many names is some 100 KB on the wire, far below the limit of a frame.
constexpr std::size_t kNamesPerAnnounce = 4096;

}  // namespace

void OwnedObjects::restore(const std::vector<OwnedObject>& objects) {
  DIPC_CHECK(objects_.empty() && gets_.empty());
  bool changed = false;
  for (const OwnedObject& object : objects) {
    if (object.state == OwnedObject::State::kRegistering) {
      actions_.emplace_back(KernelRemove{object.name, object.ref});
      changed = true;
      continue;
    }
    const KernelId id{object.ref.kind, object.ref.id};
    objects_.insert_or_assign(id, object);
    if (object.name.key != 0) by_name_.insert_or_assign(object.name, id);
  }
  if (changed) actions_.emplace_back(Save{});
}

// ---- gets

void OwnedObjects::begin(TimePoint now, GetId get, const GetCall& call, std::uint64_t generation, bool has_stand_in,
                         std::string claimant) {
  if (has_stand_in) {
    on_stand_in_made(now, call.name);
  } else {
    on_stand_in_dropped(now, call.name);
  }
  Get state;
  state.call = call;
  state.claimant = std::move(claimant);
  state.generation = generation;
  state.deadline = now + op_timeout_;
  by_deadline_.emplace(state.deadline, get);
  DIPC_CHECK(gets_.emplace(get, state).second);  // unique
  consider(get);
}

// What to do with a get that is not under way: at its begin, and whenever what it waited for has changed.
void OwnedObjects::consider(GetId id) {
  Get& get = gets_.at(id);
  const ObjectName& name = get.call.name;
  if (name.key == 0) return create(id, get);
  if (making_.contains(name)) {
    get.stage = Stage::kWaiting;
    waiting_[name].push_back(id);
    return;
  }
  if (const OwnedObject* object = find(name); object && object->state == OwnedObject::State::kLive) {
    get.stage = Stage::kLooking;
    get.looked_for = object->ref;
    actions_.emplace_back(KernelGet{id, get.call, false, 0});
    return;
  }
  if (!get.call.claim) return answer(id, Error::kStale);
  if (stand_ins_.contains(name)) {
    get.stage = Stage::kWaiting;
    waiting_[name].push_back(id);
    return;
  }
  making_.emplace(name, id);
  create(id, get);
}

void OwnedObjects::create(GetId id, Get& get) {
  get.stage = Stage::kCreating;
  actions_.emplace_back(KernelGet{id, get.call, true, get.generation});
}

void OwnedObjects::on_kernel_get(TimePoint now, GetId id, Error error, std::int32_t kernel_id) {
  const auto it = gets_.find(id);
  DIPC_CHECK(it != gets_.end());
  if (it->second.stage == Stage::kLooking) {
    looked(id, error, kernel_id);
  } else {
    DIPC_CHECK(it->second.stage == Stage::kCreating);
    created(id, error, kernel_id);
  }
  on_time(now);
}

void OwnedObjects::looked(GetId id, Error error, std::int32_t kernel_id) {
  const Get& get = gets_.at(id);
  const OwnedObject* object = find(get.call.name);
  if (!object || object->ref != get.looked_for || object->state != OwnedObject::State::kLive) {
    return consider(id);  // removed or fenced while the kernel looked
  }
  if (error == Error::kNoEntry || (error == Error::kNone && kernel_id != object->ref.id)) {
    const ObjectName name = object->name;
    actions_.emplace_back(Log{name, "was removed without DIPC's knowledge"});
    forget(get.looked_for, true);
    return consider(id);
  }
  // Whatever the kernel thinks of the caller, the object is there, which is all that an exclusive create asks.
  // A number of semaphores that no set can have is wrong before that (ipc/sem.c, ksys_semget()).
  if (get.call.create && get.call.exclusive) return answer(id, get.call.size < 0 ? Error::kInvalid : Error::kExists);
  answer(id, error, object);
}

void OwnedObjects::created(GetId id, Error error, std::int32_t kernel_id) {
  Get& get = gets_.at(id);
  const ObjectName name = get.call.name;
  if (error != Error::kNone) {
    if (error == Error::kExists) {
      actions_.emplace_back(Log{name, "exists on this host as an undistributed object: not created"});
    }
    if (name.key != 0) making_.erase(name);
    answer(id, error);
    if (name.key != 0) wake(name);
    return;
  }
  // Whoever had this id or this name before is gone, or the kernel would not have made it.
  const KernelId slot{name.kind, kernel_id};
  if (const auto old = objects_.find(slot); old != objects_.end()) forget(ObjectRef(old->second.ref), true);
  if (const OwnedObject* old = name.key != 0 ? find(name) : nullptr) forget(ObjectRef(old->ref), true);
  const ObjectRef ref{name.kind, kernel_id, get.generation};
  const bool is_private = name.key == 0;
  OwnedObject object{.name = name, .ref = ref, .size = get.call.size};
  object.state = is_private ? OwnedObject::State::kLive : OwnedObject::State::kRegistering;
  objects_.emplace(slot, object);
  actions_.emplace_back(Save{});
  if (is_private) return answer(id, Error::kNone, &object);
  get.stage = Stage::kRegistering;
  get.made = ref;
  get.request = RequestId{next_request_++};
  registering_.emplace(get.request, id);
  actions_.emplace_back(SendRegister{Register{.id = get.request,
                                              .claim = *get.call.claim,
                                              .name = name,
                                              .generation = get.generation,
                                              .claimant = get.claimant}});
}

void OwnedObjects::on_registered(TimePoint now, const Registered& registered) {
  on_time(now);
  const auto it = registering_.find(registered.id);
  if (it == registering_.end()) return;  // given up since, and reported as removed
  const GetId id = it->second;
  const Get& get = gets_.at(id);
  const ObjectName name = get.call.name;
  registering_.erase(it);
  making_.erase(name);
  OwnedObject* object = at(get.made);
  if (!object) {  // its id came back from the kernel for another object: removed behind our back
    if (registered.accepted) actions_.emplace_back(SendRemoved{Removed{name, get.made.generation}});
    answer(id, Error::kStale);
  } else if (registered.accepted) {
    object->state = OwnedObject::State::kLive;
    by_name_.insert_or_assign(name, KernelId{name.kind, object->ref.id});
    actions_.emplace_back(Save{});
    answer(id, Error::kNone, object);
  } else {
    unmake(OwnedObject(*object), false);
    answer(id, Error::kStale);
  }
  wake(name);
}

void OwnedObjects::on_stand_in_made(TimePoint now, const ObjectName& name) {
  on_time(now);
  stand_ins_.insert(name);
}

void OwnedObjects::on_stand_in_dropped(TimePoint now, const ObjectName& name) {
  on_time(now);
  if (stand_ins_.erase(name) > 0) wake(name);
}

// Gets that waited are considered again, in their order; those that still have to wait queue up anew.
void OwnedObjects::wake(const ObjectName& name) {
  const auto it = waiting_.find(name);
  if (it == waiting_.end()) return;
  const std::deque<GetId> ids = std::move(it->second);
  waiting_.erase(it);
  for (const GetId id : ids) consider(id);
}

void OwnedObjects::answer(GetId id, Error error, const OwnedObject* object) {
  Answer reply{.get = id, .error = error, .reply = {}};
  if (error == Error::kNone) reply.reply = GetReply{object->ref, object->size};
  actions_.emplace_back(reply);
  const auto it = gets_.find(id);
  by_deadline_.erase(std::pair(it->second.deadline, id));
  gets_.erase(it);
}

void OwnedObjects::unmake(const OwnedObject& object, bool tell_referee) {
  actions_.emplace_back(KernelRemove{object.name, object.ref});
  forget(object.ref, false);
  // The registration may be accepted yet; this follows it in the same session.
  if (tell_referee) actions_.emplace_back(SendRemoved{Removed{object.name, object.ref.generation}});
}

// ---- the referee and the kernel

void OwnedObjects::on_referee_lost(TimePoint now) {
  on_time(now);
  // Accepted or not, the next announcement will not list what is removed here.
  std::vector<GetId> ids;
  for (const auto& [request, id] : registering_) ids.push_back(id);
  registering_.clear();
  for (const GetId id : ids) {
    const Get& get = gets_.at(id);
    const ObjectName name = get.call.name;
    making_.erase(name);
    if (const OwnedObject* object = at(get.made)) unmake(OwnedObject(*object), false);
    answer(id, Error::kStale);
    wake(name);
  }
}

void OwnedObjects::on_announced(TimePoint now, const Announced& announced) {
  on_time(now);
  for (const NamedObject& object : announced.refused) fence(object, "the name belongs to an object of another host");
}

void OwnedObjects::on_dropped(TimePoint now, const Dropped& dropped) {
  on_time(now);
  if (fence(NamedObject{dropped.name, dropped.generation}, "the referee was made to forget the name")) {
    // An Announce of ours that crossed with Dropped would have entered it again.
    actions_.emplace_back(SendRemoved{Removed{dropped.name, dropped.generation}});
  }
}

bool OwnedObjects::fence(const NamedObject& object, const std::string& reason) {
  const auto it = by_name_.find(object.name);
  if (it == by_name_.end()) return false;
  OwnedObject& owned = objects_.at(it->second);
  if (owned.ref.generation != object.generation || owned.state != OwnedObject::State::kLive) return false;
  owned.state = OwnedObject::State::kFenced;
  actions_.emplace_back(
      Log{object.name, reason + ": this host's object is fenced (EIDRM), its contents are kept in the kernel"});
  actions_.emplace_back(Save{});
  return true;
}

void OwnedObjects::on_gone(TimePoint now, const ObjectRef& ref) {
  on_time(now);
  const OwnedObject* object = find(ref);
  if (object) forget(ObjectRef(ref), true);
}

void OwnedObjects::on_time(TimePoint now) {
  // Waiting or registering for too long; a kernel call that is under way ends by itself.
  std::vector<GetId> over;
  for (const auto& [when, id] : by_deadline_) {
    if (when > now) break;
    over.push_back(id);
  }
  for (const GetId id : over) {
    const auto it = gets_.find(id);
    if (it == gets_.end()) continue;  // answered when an earlier one of these made way
    const Get& get = it->second;
    const ObjectName name = get.call.name;
    if (get.stage == Stage::kWaiting) {
      const auto queue = waiting_.find(name);
      std::erase(queue->second, id);
      if (queue->second.empty()) waiting_.erase(queue);
      answer(id, Error::kTimedOut);
    } else if (get.stage == Stage::kRegistering) {
      registering_.erase(get.request);
      making_.erase(name);
      if (const OwnedObject* object = at(get.made)) {
        unmake(OwnedObject(*object), true);
      } else {
        actions_.emplace_back(SendRemoved{Removed{name, get.made.generation}});
      }
      answer(id, Error::kTimedOut);
      wake(name);
    }
  }
}

TimePoint OwnedObjects::deadline() const {
  for (const auto& [when, id] : by_deadline_) {
    const Stage stage = gets_.at(id).stage;
    if (stage == Stage::kWaiting || stage == Stage::kRegistering) return when;
  }
  return kNever;
}

std::vector<OwnedObjects::Action> OwnedObjects::take_actions() { return std::exchange(actions_, {}); }

// ---- the table

const OwnedObject* OwnedObjects::find(const ObjectName& name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : &objects_.at(it->second);
}

const OwnedObject* OwnedObjects::find(const ObjectRef& ref) const {
  const OwnedObject* object = find(ref.kind, ref.id);
  return object && object->ref == ref ? object : nullptr;
}

const OwnedObject* OwnedObjects::find(Kind kind, std::int32_t id) const {
  const auto it = objects_.find(KernelId{kind, id});
  if (it == objects_.end() || it->second.state == OwnedObject::State::kRegistering) return nullptr;
  return &it->second;
}

OwnedObject* OwnedObjects::at(const ObjectRef& ref) {
  const auto it = objects_.find(KernelId{ref.kind, ref.id});
  return it != objects_.end() && it->second.ref == ref ? &it->second : nullptr;
}

void OwnedObjects::forget(const ObjectRef& ref, bool tell_referee) {
  const auto it = objects_.find(KernelId{ref.kind, ref.id});
  DIPC_CHECK(it != objects_.end() && it->second.ref == ref);
  const ObjectName name = it->second.name;
  const bool registered = name.key != 0 && it->second.state == OwnedObject::State::kLive;
  if (const auto named = by_name_.find(name); named != by_name_.end() && named->second == it->first) {
    by_name_.erase(named);
  }
  objects_.erase(it);
  actions_.emplace_back(Save{});
  if (tell_referee && registered) actions_.emplace_back(SendRemoved{Removed{name, ref.generation}});
}

std::vector<OwnedObject> OwnedObjects::objects() const {
  std::vector<OwnedObject> all;
  for (const auto& [id, object] : objects_) all.push_back(object);
  return all;
}

bool OwnedObjects::blocks_stand_in(const ObjectName& name) const {
  const OwnedObject* object = find(name);
  return making_.contains(name) || (object && object->state == OwnedObject::State::kLive);
}

std::vector<Announce> OwnedObjects::announcements(const std::vector<NamedObject>& used) const {
  std::vector<Announce> out(1);
  std::size_t count = 0;
  const auto add = [&](std::vector<NamedObject> Announce::*list, const NamedObject& object) {
    if (count == kNamesPerAnnounce) {
      out.back().last = false;
      out.emplace_back();
      count = 0;
    }
    (out.back().*list).push_back(object);
    ++count;
  };
  for (const auto& [name, id] : by_name_) {
    const OwnedObject& object = objects_.at(id);
    if (object.state == OwnedObject::State::kLive) add(&Announce::owned, NamedObject{name, object.ref.generation});
  }
  for (const NamedObject& object : used) add(&Announce::used, object);
  return out;
}

}  // namespace dipc
