#include "daemon/naming.h"

#include <filesystem>

#include "daemon/core/id_passage.h"
#include "daemon/core/object_name.h"
#include "daemon/io/atomic_file.h"
#include "daemon/io/log.h"
#include "daemon/io/random.h"
#include "daemon/kernel/identity.h"
#include "daemon/kernel/objects.h"
#include "daemon/kernel/stand_ins.h"

namespace dipc {

namespace {

// Removals behind our back (ipcrm on this host) are found at the next use or by this look.
constexpr auto kSweepEvery = std::chrono::seconds(2);
constexpr auto kSaveAgainEvery = std::chrono::seconds(1);

constexpr const char* kStateFile = "state";

}  // namespace

bool object_is_there(Kind kind, std::int32_t id) {
  const auto facts = object_facts(kind, id);
  return facts || facts.error() == Error::kAccess;
}

// ---- start

Result<std::unique_ptr<Naming>> Naming::open(uv_loop_t* loop, Options options, PeerOutbox& peers) {
  const auto file = std::filesystem::path(options.state_dir) / kStateFile;
  DaemonState state;
  auto text = read_file(file);
  if (!text) return tl::unexpected(text.error());
  if (*text) {
    auto parsed = parse_state(**text, file.string());
    if (!parsed) return tl::unexpected(parsed.error());
    state = std::move(*parsed);
  }
  if (state.boot != options.boot) {
    // Another boot: the kernel has forgotten all of it.
    state = DaemonState{.boot = options.boot, .number = state.number};
  }
  std::unique_ptr<RefereeService> referee;
  if (options.host == options.referee) {
    auto opened = RefereeService::open(loop,
                                       {.host = options.host,
                                        .boot = options.boot,
                                        .incarnation = options.incarnation,
                                        .state_dir = options.state_dir,
                                        .ran_before = text->has_value(),
                                        .claim_timeout = options.claim_timeout},
                                       peers);
    if (!opened) return tl::unexpected(opened.error());
    referee = std::move(*opened);
  }
  return std::unique_ptr<Naming>(new Naming(loop, std::move(options), peers, state, std::move(referee)));
}

Naming::Naming(uv_loop_t* loop, Options options, PeerOutbox& peers, const DaemonState& state,
               std::unique_ptr<RefereeService> referee)
    : options_(std::move(options)),
      peers_(peers),
      timer_(loop, [this] { on_time(); }),
      objects_(options_.op_timeout),
      gets_(loop, {.host = options_.host, .referee = options_.referee, .op_timeout = options_.op_timeout}, peers,
            *this),
      referee_(std::move(referee)),
      number_(state.number) {
  if (options_.numbered && number_ != 0) options_.numbered(number_);
  for (const StandIn& one : state.stand_ins) {
    stand_ins_.emplace(std::pair(one.name.kind, one.id), one);
    pin(one);
  }
  for (const Making& one : state.making) making_.emplace(one.name, one.uid);
  objects_.restore(state.owned);
}

Naming::~Naming() = default;

void Naming::start() {
  advance();
  remove_leftovers();
  sweep();
  save();
  if (referee_) {
    announce();
    ask_number();
  }
  sweep_at_ = loop_now() + kSweepEvery;
  set_timer();
}

void Naming::end_segments_but(const std::set<ObjectRef>& kept) {
  for (const OwnedObject& object : objects_.objects()) {
    if (object.ref.kind != Kind::kSegment || kept.contains(object.ref)) continue;
    remove_stand_in(object.name, object.ref.id);
    log_warning("segments", format_name(object.name) + " of this host has ended with the daemon before");
    objects_.on_gone(loop_now(), object.ref);
  }
}

// ---- stand-ins

std::string Naming::known_owner(const ObjectName& name) const {
  std::string owner;
  if (objects_.find(name) != nullptr) owner = options_.host;
  for (const auto& [key, stand_in] : stand_ins_) {
    if (stand_in.name == name) owner = stand_in.owner;
  }
  return owner;
}

bool Naming::obstructs(const ObjectName& name, const std::string& owner) const {
  if (name.key == 0 || owner == options_.host) return false;
  for (const auto& [key, stand_in] : stand_ins_) {
    if (stand_in.name == name && stand_in.owner != owner) return true;
  }
  return objects_.blocks_stand_in(name);
}

tl::expected<std::int32_t, Error> Naming::ensure_stand_in(const ObjectName& name, const std::string& owner,
                                                          const GetReply& object) {
  std::vector<StandIn> old;
  for (const auto& [key, stand_in] : stand_ins_) {
    const bool same_object = stand_in.owner == owner && stand_in.object == object.object;
    if (same_object && stand_in_exists(stand_in.name, stand_in.id)) return stand_in.id;
    if (same_object || (name.key != 0 && stand_in.name == name)) old.push_back(stand_in);
  }
  for (const StandIn& stand_in : old) drop_stand_in(stand_in);
  if (name.key != 0 && !write_down(name, options_.own.uid)) return tl::unexpected(Error::kNoSpace);
  const auto made = make_stand_in(name, object.size);
  making_.erase(name);
  if (!made) {
    if (name.key != 0) save();
    log_error("stand-in",
              format_name(name) + " of " + owner + ": " +
                  (made.error() == Error::kExists
                       ? "this host has an undistributed object of that key; remove it or choose another key"
                       : std::string(errno_name(made.error())) + "; " + limits_of(name.kind)));
    return tl::unexpected(made.error());
  }
  const StandIn fresh{name, *made, owner, object.object, object.size};
  stand_ins_.emplace(std::pair(name.kind, *made), fresh);
  pin(fresh);
  if (!save()) {
    remove_stand_in(name, *made);
    stand_ins_.erase({name.kind, *made});
    if (name.kind == Kind::kSegment) pins_.erase(*made);
    return tl::unexpected(Error::kNoSpace);
  }
  if (name.key != 0) {
    objects_.on_stand_in_made(loop_now(), name);
    advance();
    // The object may be gone and its Dropped have passed already, or the session's first Announce have left without it.
    // Not marked as the last: this host's own objects are not in it.
    Announce message;
    message.used.push_back({name, object.object.generation});
    message.last = false;
    peers_.send(options_.referee, std::move(message));
  }
  return *made;
}

void Naming::pin(const StandIn& stand_in) {
  if (stand_in.name.kind != Kind::kSegment) return;
  // Without it nothing but the id's end comes too early, when somebody removes the stand-in.
  if (auto taken = SegmentPin::take(stand_in.id)) pins_.insert_or_assign(stand_in.id, std::move(*taken));
}

// `lingers`: its id goes on to stand for the segment.
void Naming::drop_stand_in(const StandIn& stand_in, bool lingers) {
  const StandIn dropped = stand_in;  // the argument may lie in the table
  remove_stand_in(dropped.name, dropped.id);
  stand_ins_.erase({dropped.name.kind, dropped.id});
  if (lingers) {
    lingering_.insert_or_assign(dropped.id, dropped);
  } else if (dropped.name.kind == Kind::kSegment) {
    pins_.erase(dropped.id);
  }
  save();
  if (dropped.name.key == 0) return;
  objects_.on_stand_in_dropped(loop_now(), dropped.name);
  advance();
}

void Naming::on_dropped(const Dropped& dropped) {
  objects_.on_dropped(loop_now(), dropped);
  advance();
  for (const auto& [key, stand_in] : stand_ins_) {
    if (stand_in.name == dropped.name && stand_in.object.generation == dropped.generation) {
      drop_stand_in(stand_in, stand_in.name.kind == Kind::kSegment);
      return;
    }
  }
}

void Naming::on_removed_there(const std::string& owner, const ObjectRef& ref) {
  if (ref.kind != Kind::kSegment) return on_gone_there(owner, ref);
  for (const auto& [key, stand_in] : stand_ins_) {
    if (stand_in.owner == owner && stand_in.object == ref) {
      drop_stand_in(stand_in, true);
      return;
    }
  }
}

void Naming::on_gone_there(const std::string& owner, const ObjectRef& ref) {
  for (const auto& [id, stand_in] : lingering_) {
    if (stand_in.owner == owner && stand_in.object == ref) {
      pins_.erase(id);
      lingering_.erase(id);
      return;
    }
  }
  for (const auto& [key, stand_in] : stand_ins_) {
    if (stand_in.owner == owner && stand_in.object == ref) {
      drop_stand_in(stand_in);
      return;
    }
  }
}

const StandIn* Naming::stand_in(Kind kind, std::int32_t id) const {
  if (const auto found = stand_ins_.find({kind, id}); found != stand_ins_.end()) return &found->second;
  if (kind != Kind::kSegment) return nullptr;
  const auto lingering = lingering_.find(id);
  return lingering == lingering_.end() ? nullptr : &lingering->second;
}

bool Naming::forget_lost_stand_in(const StandIn& stand_in) {
  if (stand_in.name.kind == Kind::kSegment && lingering_.contains(stand_in.id)) return false;
  if (stand_in_exists(stand_in.name, stand_in.id)) return false;
  log_warning("stand-in", format_name(stand_in.name) + " was removed on this host; its object on " + stand_in.owner +
                              " is as it was");
  drop_stand_in(stand_in);
  return true;
}

std::vector<StandIn> Naming::stand_ins() const {
  std::vector<StandIn> list;
  for (const auto& [key, stand_in] : stand_ins_) list.push_back(stand_in);
  return list;
}

// ---- objects of this host

void Naming::serve_get(const GetCall& call, const Identity& as, const std::string& claimant, std::int32_t process,
                       std::function<void(Error, const GetReply&)> done) {
  const OwnedObjects::GetId id{next_get_++};
  served_.emplace(id, Served{as, claimant.empty() ? options_.host : claimant, process, std::move(done)});
  bool has_stand_in = false;
  for (const auto& [key, stand_in] : stand_ins_) has_stand_in = has_stand_in || stand_in.name == call.name;
  objects_.begin(loop_now(), id, call, random_number(), call.name.key != 0 && has_stand_in, claimant);
  advance();
}

void Naming::on_removed_here(const ObjectRef& ref) {
  objects_.on_gone(loop_now(), ref);
  advance();
}

void Naming::advance() {
  if (advancing_) return;  // the loop below takes what is added
  advancing_ = true;
  for (;;) {
    const auto actions = objects_.take_actions();
    if (actions.empty()) break;
    for (const auto& action : actions) carry_out(action);
  }
  advancing_ = false;
  set_timer();
}

void Naming::carry_out(const OwnedObjects::Action& action) {
  if (const auto* get = std::get_if<OwnedObjects::KernelGet>(&action)) {
    const auto made = kernel_get(*get);
    objects_.on_kernel_get(loop_now(), get->get, made ? Error::kNone : made.error(), made ? made->id : 0);
  } else if (const auto* removal = std::get_if<OwnedObjects::KernelRemove>(&action)) {
    if (removal->ref.kind == Kind::kSegment) {
      if (segments_ != nullptr) segments_->unmake(removal->ref);
      remove_stand_in(removal->name, removal->ref.id);  // of one that ended with the daemon before
    } else {
      control_object(options_.own, options_.own, Control{.object = removal->ref, .command = ControlCommand::kRemove});
    }
  } else if (std::holds_alternative<OwnedObjects::Save>(action)) {
    save();
  } else if (const auto* registration = std::get_if<OwnedObjects::SendRegister>(&action)) {
    // What no restart would know is not told to anybody: as if refused, and the next try finds no room.
    if (trouble_ || !peers_.send(options_.referee, registration->registration)) {
      objects_.on_registered(loop_now(), {.id = registration->registration.id, .accepted = false});
    }
  } else if (const auto* removed = std::get_if<OwnedObjects::SendRemoved>(&action)) {
    peers_.send(options_.referee, removed->removed);
  } else if (const auto* answer = std::get_if<OwnedObjects::Answer>(&action)) {
    const Served served = std::move(served_.at(answer->get));
    served_.erase(answer->get);
    served.done(answer->error, answer->reply);
  } else {
    const auto& entry = std::get<OwnedObjects::Log>(action);
    log_warning("objects", format_name(entry.name) + ": " + entry.text);
  }
}

tl::expected<ObjectMade, Error> Naming::kernel_get(const OwnedObjects::KernelGet& get) {
  GetCall call = get.call;
  call.create = get.create;
  call.exclusive = get.create && call.name.key != 0;
  const Served& who = served_.at(get.get);
  if (get.create) return make_object(call, get.generation, who);
  if (call.name.kind != Kind::kSegment) return get_object(options_.own, who.as, call);
  if (segments_ == nullptr) return tl::unexpected(Error::kNotImplemented);
  const OwnedObject* object = objects_.find(call.name);
  return segments_->look(object == nullptr ? ObjectRef{} : object->ref, call, who.as);
}

// Before the kernel is asked: a daemon that is killed between the two must not leave an object, or a stand-in, that its
// successor takes for somebody else's.
bool Naming::write_down(const ObjectName& name, std::uint32_t uid) {
  making_.insert_or_assign(name, uid);
  if (save()) return true;
  making_.erase(name);
  return false;
}

tl::expected<ObjectMade, Error> Naming::make_object(const GetCall& call, std::uint64_t generation, const Served& who) {
  const bool has_name = call.name.key != 0;
  const bool is_segment = call.name.kind == Kind::kSegment;
  if (is_segment && segments_ == nullptr) return tl::unexpected(Error::kNotImplemented);
  const std::uint32_t maker = is_segment ? options_.own.uid : who.as.uid;  // a segment's stand-in is our own
  if (has_name ? !write_down(call.name, maker) : trouble_.has_value()) return tl::unexpected(Error::kNoSpace);
  auto made = is_segment ? segments_->make(call, generation, who.as, who.host, who.process)
                         : get_object(options_.own, who.as, call);
  making_.erase(call.name);  // as made, it is saved next
  if (!made && has_name) save();
  return made;
}

void Naming::remove_leftovers() {
  for (const auto& [name, uid] : making_) {
    if (!known_owner(name).empty() || !remove_leftover(name, uid)) continue;
    log_info("objects", format_name(name) + ": one that a killed daemon was making is removed");
  }
  making_.clear();
}

void Naming::sweep() {
  for (const OwnedObject& object : objects_.objects()) {
    if (object.state != OwnedObject::State::kRegistering && !object_is_there(object.ref.kind, object.ref.id)) {
      objects_.on_gone(loop_now(), object.ref);
      if (segments_ != nullptr && object.ref.kind == Kind::kSegment) segments_->on_stand_in_gone(object.ref);
    }
  }
  advance();
}

void Naming::announce() {
  std::vector<NamedObject> used;
  for (const auto& [key, stand_in] : stand_ins_) {
    if (stand_in.name.key != 0) used.push_back({stand_in.name, stand_in.object.generation});
  }
  for (const Announce& announcement : objects_.announcements(used)) peers_.send(options_.referee, announcement);
}

void Naming::ask_number() { peers_.send(options_.referee, AskNumber{number_}); }

void Naming::on_number(std::uint16_t number) {
  if (number == number_ || number > kHostNumberMax) return;
  if (number_ != 0) {
    log_warning("referee", "this host has number " + std::to_string(number) + " now, not " + std::to_string(number_) +
                               ": pids of its processes in messages that rest in queues mean nothing any more");
  }
  number_ = number;
  save();
  if (options_.numbered) options_.numbered(number_);
}

// ---- peers

bool Naming::on_peer_message(const std::string& host, const PeerMessage& message) {
  if (RefereeService::is_for_referee(message)) {
    if (referee_) {
      referee_->on_message(host, message);
    } else {
      log_warning("peer " + host, "takes this host for the referee, which is " + options_.referee);
    }
    return true;
  }
  if (const auto* reply = std::get_if<Reply>(&message)) return gets_.on_reply(host, *reply);
  const bool from_referee = std::holds_alternative<Resolved>(message) || std::holds_alternative<Registered>(message) ||
                            std::holds_alternative<Announced>(message) || std::holds_alternative<Dropped>(message) ||
                            std::holds_alternative<HostNumber>(message);
  if (!from_referee) return false;
  if (host != options_.referee) {
    log_warning("peer " + host, "speaks as if it were the referee, which is " + options_.referee);
    return true;
  }
  const TimePoint now = loop_now();
  if (const auto* resolved = std::get_if<Resolved>(&message)) {
    gets_.on_resolved(*resolved);
  } else if (const auto* registered = std::get_if<Registered>(&message)) {
    objects_.on_registered(now, *registered);
    advance();
  } else if (const auto* announced = std::get_if<Announced>(&message)) {
    objects_.on_announced(now, *announced);
    advance();
  } else if (const auto* numbered = std::get_if<HostNumber>(&message)) {
    on_number(numbered->number);
  } else {
    on_dropped(std::get<Dropped>(message));
  }
  return true;
}

void Naming::on_session_began(const std::string& host, const std::string& boot) {
  if (referee_) referee_->on_session_began(host, boot);
  if (host != options_.referee) return;
  announce();
  ask_number();
}

void Naming::on_session_ended(const std::string& host, const std::vector<PeerMessage>& unwritten, bool restarted) {
  if (referee_) referee_->on_session_ended(host);
  gets_.on_unwritten(unwritten);
  // Whether they are still there nobody tells us any more; the next daemon does, when they are used (on_gone_there()).
  std::erase_if(lingering_, [&](const auto& entry) {
    if (restarted || entry.second.owner != host) return false;
    pins_.erase(entry.first);
    return true;
  });
  lose_referee(host);
  gets_.on_session_ended(host);
}

void Naming::on_unreachable(const std::string& host, const std::vector<PeerMessage>& unwritten) {
  lose_referee(host);
  gets_.on_unwritten(unwritten);
}

// If it was the session with it that is no more. Registrations under way are lost, or unmade at the next announcement.
void Naming::lose_referee(const std::string& host) {
  if (host != options_.referee) return;
  objects_.on_referee_lost(loop_now());
  advance();
}

// ---- the state file, and time

bool Naming::save() {
  DaemonState state{options_.boot, options_.incarnation, objects_.objects(), stand_ins(), {}, number_};
  for (const auto& [name, uid] : making_) state.making.push_back({name, uid});
  restore_own_groups();
  const auto file = std::filesystem::path(options_.state_dir) / kStateFile;
  const auto written = write_file_atomically(file, render_state(state));
  if (!written) {
    log_trouble(LogLevel::kError, "state", written.error());
    trouble_ = written.error();
    save_at_ = loop_now() + kSaveAgainEvery;
    set_timer();
    return false;
  }
  if (trouble_) log_info("state", file.string() + " is written again");
  trouble_.reset();
  save_at_ = kNever;
  return true;
}

void Naming::on_time() {
  const TimePoint now = loop_now();
  objects_.on_time(now);
  advance();
  if (now >= sweep_at_) {
    sweep_at_ = now + kSweepEvery;
    sweep();
  }
  if (now >= save_at_) save();
  set_timer();
}

void Naming::set_timer() { timer_.start_at(std::min({sweep_at_, save_at_, objects_.deadline()})); }

}  // namespace dipc
