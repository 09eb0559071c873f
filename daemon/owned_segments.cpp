#include "daemon/owned_segments.h"

#include <sys/ipc.h>
#include <sys/shm.h>

#include <algorithm>
#include <utility>

#include "arch/abi_names.h"
#include "daemon/core/object_name.h"
#include "daemon/core/segment_pages.h"
#include "daemon/io/log.h"
#include "daemon/kernel/stand_ins.h"
#include "wire/check.h"

namespace dipc {
namespace {

constexpr std::uint32_t kRemovedBit = 01000;  // SHM_DEST
constexpr std::uint32_t kLockedBit = 02000;   // SHM_LOCKED

SegmentUser user_of(const Identity& identity) {
  return {identity.uid, identity.gid, {identity.groups.begin(), identity.groups.end()}};
}

Reply failed(Error error) {
  Reply reply;
  reply.error = error;
  reply.value = -1;
  return reply;
}

std::uint32_t bits_for(const SegmentAttach& call) {
  return kReadBits | (call.read_only ? 0 : kWriteBits) | (call.executable ? kExecuteBits : 0);
}

std::string words(const ObjectRef& segment, std::int32_t key) {
  return format_name({Kind::kSegment, key}) + " (id " + std::to_string(segment.id) + ")";
}

}  // namespace

OwnedSegments::OwnedSegments(Options options, const SegmentHosts& hosts, Outbox& outbox)
    : options_(std::move(options)), hosts_(hosts), outbox_(outbox) {}

const OwnedSegments::Segment* OwnedSegments::find(const ObjectRef& segment) const {
  const auto found = segments_.find(segment.id);
  return found != segments_.end() && found->second.ref == segment ? &found->second : nullptr;
}

OwnedSegments::Segment* OwnedSegments::find(const ObjectRef& segment) {
  return const_cast<Segment*>(std::as_const(*this).find(segment));
}

// ---- shmget

// The order of ipcget_public() in ipc/util.c: the size first.
tl::expected<OwnedSegments::Made, Error> OwnedSegments::look(const ObjectRef& segment, const GetCall& call,
                                                             const Identity& as) const {
  const Segment* found = find(segment);
  if (found == nullptr || found->key != call.name.key) return tl::unexpected(Error::kNoEntry);
  if (call.size < 0 || static_cast<std::uint64_t>(call.size) > found->bytes) return tl::unexpected(Error::kInvalid);
  if (!may_use(found->permissions, user_of(as), call.mode)) return tl::unexpected(Error::kAccess);
  return Made{found->ref.id};
}

tl::expected<OwnedSegments::Made, Error> OwnedSegments::make(const GetCall& call, std::uint64_t generation,
                                                             const Identity& as, HostId host, std::int32_t process,
                                                             std::uint32_t page_bytes) {
  const std::string name = format_name(call.name);
  const auto bytes = static_cast<std::uint64_t>(call.size);
  if (call.size < 1) return tl::unexpected(Error::kInvalid);
  if (bytes > options_.segment_bytes_max) {
    log_warning("refused", name + ": uid " + std::to_string(as.uid) + ", for a program of " + hosts_.name(host) +
                               ", asks for " + std::to_string(bytes) + " bytes; limits.segment_size is " +
                               std::to_string(options_.segment_bytes_max));
    return tl::unexpected(Error::kInvalid);
  }
  if (bytes > options_.memory_bytes) return tl::unexpected(Error::kNoMemory);
  if (!may_make(as.uid, host)) return tl::unexpected(Error::kNoSpace);
  const KeyPolicy::Sharing sharing = options_.sharing(call.name.key);
  const std::uint64_t rounded = round_up(bytes, page_bytes);
  const bool whole = sharing.unit == CoherenceUnit::kSegment && rounded <= kUnitBytesMax;
  if (sharing.unit == CoherenceUnit::kSegment && !whole) {
    log_warning("segments", name + ": too large to travel as a whole (unit = \"segment\"), so it is shared by pages");
  }
  // One page is no larger than the segment.
  const std::uint64_t unit_bytes =
      whole ? rounded : std::min(std::max<std::uint64_t>(sharing.page_bytes, page_bytes), rounded);
  const std::uint64_t pages = page_count(bytes, unit_bytes);
  if (pages > kPagesMax) return tl::unexpected(Error::kInvalid);
  auto id = make_stand_in(call.name, 0);
  if (!id) return tl::unexpected(id.error());
  auto pin = SegmentPin::take(*id);
  if (!pin) {
    shmctl(*id, IPC_RMID, nullptr);
    return tl::unexpected(pin.error());
  }
  end_namesake(*id);
  DirectoryRecord record;
  if (options_.outlive) {
    auto made = DirectoryRecord::make(static_cast<std::uint32_t>(pages));
    if (made) {
      record = std::move(*made);
    } else {
      log_trouble(LogLevel::kWarning, "segments", made.error());
    }
  }
  Segment segment{.ref = {Kind::kSegment, *id, generation},
                  .key = call.name.key,
                  .bytes = bytes,
                  .unit_bytes = static_cast<std::uint32_t>(unit_bytes),
                  .hold_time = sharing.hold_time,
                  .declarations = options_.declarations(call.name.key),
                  .permissions = {as.uid, as.gid, as.uid, as.gid, call.mode & 0777},
                  .creator_host = host,
                  .creator_pid = process,
                  .change_time_s = options_.time_of_day(),
                  .pin = std::move(*pin),
                  .directory = PageDirectory(directory_options(bytes, unit_bytes)),
                  .record = std::move(record),
                  .written_members = {}};
  Segment& made = segments_.emplace(*id, std::move(segment)).first->second;
  write_down(made);
  if (made.record.exists() && !outbox_.open_here(made.ref, shape_of(made), made.record.fd())) {
    unmake(made.ref);
    return tl::unexpected(Error::kNoMemory);
  }
  return Made{*id};
}

PageDirectoryOptions OwnedSegments::directory_options(std::uint64_t bytes, std::uint64_t unit_bytes) const {
  return {.owner = hosts_.self(),
          .page_count = static_cast<std::uint32_t>(page_count(bytes, unit_bytes)),
          .page_bytes = unit_bytes,
          .fence = options_.fence,
          .patience = options_.patience};
}

// Those count that are removed and still attached, somewhere: they have their memory.
bool OwnedSegments::may_make(uid_t uid, HostId host) const {
  const auto refused = [](const std::string& who, std::size_t made, const std::string& limit) {
    log_warning("limit of " + who, who + " has made " + std::to_string(made) + " segments that live here (limits." +
                                       limit + "); more get ENOSPC");
    return false;
  };
  std::size_t of_login = 0, of_host = 0;
  for (const auto& [id, segment] : segments_) {
    if (segment.permissions.cuid == uid) ++of_login;
    if (segment.creator_host == host) ++of_host;
  }
  if (of_login >= options_.segments_per_login) {
    return refused("uid " + std::to_string(uid), of_login, "segments_per_login");
  }
  if (host != hosts_.self() && of_host >= options_.segments_per_peer) {
    return refused(hosts_.name(host), of_host, "segments_per_peer");
  }
  return true;
}

// The kernel has given its id to another: it was removed, of a daemon before (take_back()), and nobody could say any
// more which of the two he means.
void OwnedSegments::end_namesake(std::int32_t id) {
  if (segments_.contains(id)) end(id, "it was removed, and its id is another segment's now");
}

// All but the stand-in, whose id may be another segment's.
void OwnedSegments::end(std::int32_t id, const std::string& why) {
  const auto found = segments_.find(id);
  const ObjectRef ref = found->second.ref;
  log_error("segments", words(ref, found->second.key) + " ends, who touches it gets SIGBUS: " + why);
  const bool has_name = !found->second.directory.removed();
  segments_.erase(found);
  if (has_name) outbox_.on_removed(ref);
  outbox_.send_order(hosts_.self(), ref, SegmentDestroyed{});
  outbox_.on_destroyed(ref);
}

void OwnedSegments::unmake(const ObjectRef& segment) {
  if (find(segment) == nullptr) return;
  const ObjectRef ref = segment;  // which may be its own
  shmctl(ref.id, IPC_RMID, nullptr);
  segments_.erase(ref.id);
  outbox_.send_order(hosts_.self(), ref, SegmentDestroyed{});
}

void OwnedSegments::take_back(TimePoint now, const ObjectRef& ref, const AttachReply& shape, DirectoryRecord record,
                              const DirectoryRecords& records, bool has_name) {
  const SegmentFacts facts = record.facts();
  DirectoryRecords known = records;
  known.removed = !has_name;
  Segment segment{.ref = ref,
                  .key = has_name ? facts.key : 0,
                  .bytes = shape.segment_bytes,
                  .unit_bytes = shape.unit_bytes,
                  .hold_time = std::chrono::nanoseconds(shape.hold_ns),
                  .declarations = shape.declarations,
                  .unconverted = facts.unconverted,
                  .permissions = {facts.uid, facts.gid, facts.cuid, facts.cgid, facts.mode},
                  .locked = facts.locked,
                  .creator_host = hosts_.find(facts.creator_host),
                  .creator_pid = facts.creator_pid,
                  .last_pid = facts.last_pid,
                  .attach_time_s = facts.attach_time_s,
                  .detach_time_s = facts.detach_time_s,
                  .change_time_s = facts.change_time_s,
                  .pin = {},
                  .directory = PageDirectory(now, directory_options(shape.segment_bytes, shape.unit_bytes), known),
                  .record = std::move(record),
                  .written_members = known.members};
  // One that was removed has an id that the kernel may give to another by now, see end_namesake(); none does so soon.
  if (has_name) {
    if (auto pin = SegmentPin::take(ref.id)) segment.pin = std::move(*pin);
  }
  log_info("segments", words(ref, segment.key) + " goes on with what is known of " +
                           std::to_string(known.pages.size()) + " pages, and what " +
                           std::to_string(known.members.size()) + " hosts say that they have");
  segments_.insert_or_assign(ref.id, std::move(segment));
  advance(ref.id);
}

void OwnedSegments::on_stand_in_gone(TimePoint now, const ObjectRef& segment) {
  if (Segment* found = find(segment); found != nullptr && !found->directory.removed()) remove(now, *found);
}

// ---- calls

AttachReply OwnedSegments::shape_of(const Segment& segment) {
  return {segment.bytes, segment.unit_bytes, static_cast<std::uint64_t>(segment.hold_time.count()),
          segment.declarations, measured_abi()};
}

std::optional<AttachReply> OwnedSegments::shape(const ObjectRef& segment) const {
  const Segment* found = find(segment);
  if (found == nullptr) return std::nullopt;
  return shape_of(*found);
}

std::optional<ObjectRef> OwnedSegments::with_id(std::int32_t id) const {
  const auto found = segments_.find(id);
  if (found == segments_.end()) return std::nullopt;
  return found->second.ref;
}

Reply OwnedSegments::call(TimePoint now, HostId host, const Identity& as, std::int32_t process, const CallBody& body) {
  const SegmentUser user = user_of(as);
  if (const auto* control_call = std::get_if<Control>(&body)) {
    Segment* segment = find(control_call->object);
    return segment == nullptr ? failed(Error::kStale) : control(now, *segment, user, *control_call);
  }
  const auto* attach_call = std::get_if<SegmentAttach>(&body);
  Segment* segment = attach_call == nullptr ? nullptr : find(attach_call->object);
  return segment == nullptr ? failed(Error::kStale) : attach(now, host, *segment, user, process, *attach_call);
}

Reply OwnedSegments::control(TimePoint now, Segment& segment, const SegmentUser& user, const Control& call) {
  Reply reply;
  switch (call.command) {
    case ControlCommand::kStat:
      if (!may_use(segment.permissions, user, kReadBits)) return failed(Error::kAccess);
      reply.body = stat_of(segment);
      return reply;
    case ControlCommand::kSet:
      if (!call.set) return failed(Error::kFault);
      if (!may_control(segment.permissions, user)) return failed(Error::kNotPermitted);
      segment.permissions.uid = call.set->uid;
      segment.permissions.gid = call.set->gid;
      segment.permissions.mode = call.set->mode & 0777;
      segment.change_time_s = options_.time_of_day();
      write_facts(segment);
      return reply;
    case ControlCommand::kRemove:
      if (!may_control(segment.permissions, user)) return failed(Error::kNotPermitted);
      remove(now, segment);
      return reply;
    case ControlCommand::kLock:
    case ControlCommand::kUnlock:
      // Any page may be taken away at any time, whatever is locked; so it is only shown.
      if (!may_control(segment.permissions, user)) return failed(Error::kNotPermitted);
      segment.locked = call.command == ControlCommand::kLock;
      write_facts(segment);
      return reply;
    default:
      return failed(Error::kInvalid);
  }
}

Reply OwnedSegments::attach(TimePoint now, HostId host, Segment& segment, const SegmentUser& user, std::int32_t process,
                            const SegmentAttach& call) {
  if (!may_use(segment.permissions, user, bits_for(call))) return failed(Error::kAccess);
  if (!is_page_size(call.page_bytes) || segment.unit_bytes % call.page_bytes != 0) {
    log_warning("refused", words(segment.ref, segment.key) + " has pages of " + std::to_string(segment.unit_bytes) +
                               " bytes; " + hosts_.name(host) + " has larger ones (" + std::to_string(call.page_bytes) +
                               ") and was not there when it was made: make it again");
    return failed(Error::kInvalid);
  }
  const int directory = segment.record.exists() ? segment.record.fd() : -1;
  if (!outbox_.open_here(segment.ref, shape_of(segment), directory)) return failed(Error::kNoMemory);
  if (!segment.directory.on_attach(now, host, !call.read_only)) return failed(Error::kRemoved);
  segment.attach_time_s = options_.time_of_day();
  segment.last_pid = process;
  if (segment.declarations.empty() && call.abi && *call.abi != measured_abi()) {
    note_unconverted(segment, host, *call.abi);
  }
  Reply reply;
  reply.body = shape_of(segment);
  advance(segment.ref.id);
  return reply;
}

void OwnedSegments::note_unconverted(Segment& segment, HostId host, const Abi& abi) {
  if (++segment.unconverted > 1) return;
  log_trouble(LogLevel::kWarning, "types",
              {words(segment.ref, segment.key) + " is shared without a declaration between this host, " +
                   spoken(measured_abi()) + ", and a program of " + hosts_.name(host) + ", " + spoken(abi),
               "unless it is text, declare it in types.d and make it again; dipcctl objects counts"});
}

void OwnedSegments::remove(TimePoint now, Segment& segment) {
  const ObjectRef ref = segment.ref;
  if (segment.directory.removed()) return;  // a second IPC_RMID changes nothing
  shmctl(ref.id, IPC_RMID, nullptr);        // the key is free; the pin keeps the id
  segment.key = 0;
  outbox_.on_removed(ref);
  segment.directory.on_remove(now);
  advance(ref.id);
}

Stat OwnedSegments::stat_of(const Segment& segment) const {
  Stat stat;
  stat.key = segment.key;
  stat.uid = segment.permissions.uid;
  stat.gid = segment.permissions.gid;
  stat.cuid = segment.permissions.cuid;
  stat.cgid = segment.permissions.cgid;
  stat.mode =
      segment.permissions.mode | (segment.directory.removed() ? kRemovedBit : 0) | (segment.locked ? kLockedBit : 0);
  stat.change_time_s = segment.change_time_s;
  stat.attach_time_s = segment.attach_time_s;
  stat.detach_time_s = segment.detach_time_s;
  stat.segment_bytes = segment.bytes;
  stat.attachments = segment.directory.attachments();
  stat.creator_pid = segment.creator_pid;
  stat.last_pid = segment.last_pid;
  return stat;
}

// ---- pages

void OwnedSegments::on_report(TimePoint now, HostId host, const SegmentReport& report) {
  Segment* segment = find(report.segment);
  if (segment == nullptr) {  // it crossed with SegmentDestroyed, or is of a daemon before this one
    if (std::holds_alternative<SegmentHeld>(report.message)) {
      outbox_.send_order(host, report.segment, SegmentRefused{});
    }
    return;
  }
  const auto* relayed = std::get_if<RelayedPage>(&report.message);
  if (relayed != nullptr && (relayed->contents == nullptr || relayed->contents->size() != segment->unit_bytes)) {
    return outbox_.on_misbehaved(host, "it sends a page that is not of a page's size");
  }
  const bool detached = std::holds_alternative<SegmentDetached>(report.message);
  if (detached) segment->detach_time_s = options_.time_of_day();
  if (std::holds_alternative<SegmentAttached>(report.message)) segment->attach_time_s = options_.time_of_day();
  if (report.process != 0) segment->last_pid = report.process;
  segment->directory.on_message(now, host, report.message);
  advance(report.segment.id);
}

template <typename Input>
void OwnedSegments::tell_all(Input&& input) {
  std::vector<std::int32_t> ids;
  for (const auto& [id, segment] : segments_) ids.push_back(id);
  for (const std::int32_t id : ids) {
    const auto found = segments_.find(id);
    if (found == segments_.end()) continue;
    input(found->second.directory);
    advance(id);
  }
}

void OwnedSegments::on_host_lost(TimePoint now, HostId host, bool cleared) {
  tell_all([&](PageDirectory& directory) {
    cleared ? directory.on_host_cleared(now, host) : directory.on_host_lost(now, host);
  });
}

void OwnedSegments::on_host_restarted(TimePoint now, HostId host) {
  tell_all([&](PageDirectory& directory) { directory.on_host_restarted(now, host); });
}

void OwnedSegments::on_time(TimePoint now) {
  std::vector<std::int32_t> due;
  for (const auto& [id, segment] : segments_) {
    if (segment.directory.deadline() <= now) due.push_back(id);
  }
  for (const std::int32_t id : due) {
    if (const auto found = segments_.find(id); found != segments_.end()) found->second.directory.on_time(now);
    advance(id);
  }
}

TimePoint OwnedSegments::deadline() const {
  TimePoint next = kNever;
  for (const auto& [id, segment] : segments_) next = std::min(next, segment.directory.deadline());
  return next;
}

void OwnedSegments::write_facts(Segment& segment) const {
  if (!segment.record.exists()) return;
  const SegmentPermissions& permissions = segment.permissions;
  const SegmentFacts facts{
      .key = segment.key,
      .uid = permissions.uid,
      .gid = permissions.gid,
      .cuid = permissions.cuid,
      .cgid = permissions.cgid,
      .mode = permissions.mode,
      .locked = segment.locked,
      .creator_host = segment.creator_host == SegmentHosts::kStranger ? "" : hosts_.name(segment.creator_host),
      .creator_pid = segment.creator_pid,
      .last_pid = segment.last_pid,
      .attach_time_s = segment.attach_time_s,
      .detach_time_s = segment.detach_time_s,
      .change_time_s = segment.change_time_s,
      .unconverted = segment.unconverted};
  segment.record.write(facts);
}

// Pages that speak of a host are written when it is among the members, before and after.
void OwnedSegments::write_down(Segment& segment) {
  const PageDirectory::Changes changes = segment.directory.take_changes();
  if (!segment.record.exists() || segment.directory.destroyed()) return;
  const bool members = changes.members;
  if (members) {
    std::map<HostId, MemberRecord> now = segment.directory.member_records();
    write_facts(segment);
    std::map<HostId, MemberRecord> all = now;
    all.merge(segment.written_members);
    segment.record.write_members(all, hosts_);
    segment.written_members = std::move(now);
  }
  for (const PageIndex page : changes.pages) segment.record.write_page(page, segment.directory.record(page));
  if (members) segment.record.write_members(segment.written_members, hosts_);
}

// What comes of carrying actions out may lead to more of them, and to the segment's end.
void OwnedSegments::advance(std::int32_t id) {
  const auto found = segments_.find(id);
  if (found == segments_.end()) return;
  const ObjectRef ref = found->second.ref;
  const std::int32_t key = found->second.key;
  write_down(found->second);
  for (const PageDirectory::Action& action : found->second.directory.take_actions()) {
    if (const auto* send = std::get_if<PageDirectory::Send>(&action)) {
      outbox_.send_order(send->to, ref, send->message);
    } else if (const auto* lost = std::get_if<PageDirectory::Lost>(&action)) {
      std::string had_it;
      for (const HostId host : lost->hosts) had_it.append(had_it.empty() ? "" : " and ").append(hosts_.name(host));
      log_error("segments", words(ref, key) + ": page " + std::to_string(static_cast<std::uint32_t>(lost->page)) +
                                " is lost" +
                                (had_it.empty() ? ", no host has it" : " with " + had_it + ", which had it") +
                                "; who touches it gets SIGBUS");
    } else if (const auto* misbehaved = std::get_if<PageDirectory::Misbehaved>(&action)) {
      if (misbehaved->host == hosts_.self()) {
        shmctl(id, IPC_RMID, nullptr);  // if it is not removed yet; nobody else has the id, or it would have ended
        return end(id, "this host itself says of it what can't be: " + misbehaved->text);
      }
      outbox_.on_misbehaved(misbehaved->host, words(ref, key) + ": " + misbehaved->text);
    } else {
      segments_.erase(id);
      outbox_.on_destroyed(ref);
    }
  }
}

std::vector<OwnedSegments::View> OwnedSegments::views() const {
  std::vector<View> all;
  for (const auto& [id, segment] : segments_) {
    const auto count = static_cast<std::uint32_t>(page_count(segment.bytes, segment.unit_bytes));
    all.push_back({segment.ref, segment.key, segment.bytes, segment.unit_bytes, count, segment.unconverted,
                   segment.permissions, &segment.directory});
  }
  return all;
}

}  // namespace dipc
