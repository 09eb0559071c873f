#pragma once

// The shared memory of several hosts in one process: their Segments, connected by a network that encodes and decodes
// what it carries, with pagers whose memory is an array and whose programs are the test.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/shm.h>
#include <unistd.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "daemon/io/log.h"
#include "daemon/segments.h"
#include "tests/unit/daemon/naming_fixture.h"
#include "wire/codec.h"

namespace dipc::test {

// What programs of one host see of one segment. Does what it is told at once and says so at the next poll().
class ScriptedPager final : public Pager {
 public:
  enum class State : std::uint8_t { kHole, kShared, kExclusive, kLost };

  ScriptedPager(Options options, Handler& handler)
      : options_(std::move(options)), handler_(handler), event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

  void install(PageIndex page, PageContents contents, bool writable) override {
    EXPECT_EQ(state(page), State::kHole) << "a page that is there is filled again";
    memory_[page] = contents == nullptr ? Bytes(static_cast<std::size_t>(options_.unit_bytes)) : contents.copy();
    states_[page] = writable ? State::kExclusive : State::kShared;
    say([this, page] { handler_.on_done(page); });
  }
  void upgrade(PageIndex page) override {
    EXPECT_EQ(state(page), State::kShared);
    states_[page] = State::kExclusive;
    say([this, page] { handler_.on_done(page); });
  }
  void protect_and_read(PageIndex page, bool drop) override {
    const auto contents = std::make_shared<const Bytes>(memory_.at(page));
    states_[page] = drop ? State::kHole : State::kShared;
    say([this, page, contents] { handler_.on_contents(page, contents); });
  }
  void drop(PageIndex page) override {
    states_[page] = State::kHole;
    say([this, page] { handler_.on_done(page); });
  }
  void mark_lost(PageIndex page) override {
    states_[page] = State::kLost;
    say([this, page] { handler_.on_done(page); });
  }
  void lose_all() override {
    all_lost = true;
    if (is_stuck) return;
    say([this] { handler_.on_all_lost(); });
  }
  void wake(PageIndex) override {}

  Result<AttachOffer> offer(bool) override {
    return AttachOffer{AttachTicket{++tickets_}, PagerKind::kUserfault, options_.segment_bytes, {}, {}};
  }
  void attached(AttachTicket ticket, pid_t, std::uint64_t, Descriptor) override {
    has_.push_back(ticket);
    say([this, ticket] { handler_.on_attached(ticket, 0); });
  }
  void withdraw(AttachTicket) override {}
  void settle(std::uint64_t token) override {
    say([this, token] { handler_.on_settled(token); });
  }
  int wakeup_fd() const override { return event_.get(); }
  void poll() override {
    std::uint64_t count = 0;
    EXPECT_EQ(::read(event_.get(), &count, sizeof(count)), static_cast<ssize_t>(sizeof(count)));
    for (auto said = std::exchange(said_, {}); !said.empty(); said.pop_front()) said.front()();
  }
  Duration hold_floor() const override { return Duration{0}; }

  // ---- for the next daemon
  struct Snapshot {
    std::string label;
    std::map<PageIndex, State> states;
    std::map<PageIndex, Bytes> memory;
    std::size_t attachments = 0;
    Descriptor directory;
  };
  Snapshot snapshot() const {
    Descriptor directory(options_.directory < 0 ? -1 : ::fcntl(options_.directory, F_DUPFD_CLOEXEC, 0));
    return {options_.label, states_, memory_, has_.size(), std::move(directory)};
  }
  void take_over(const Snapshot& before, HeldMemory& held) {
    states_ = before.states;
    memory_ = before.memory;
    for (const auto& [page, state] : states_) {
      if (state == State::kShared) held.pages.emplace(page, PageCache::Access::kShared);
      if (state == State::kExclusive) held.pages.emplace(page, PageCache::Access::kExclusive);
    }
    for (std::size_t i = 0; i < before.attachments; ++i) {
      has_.push_back(AttachTicket{++tickets_});
      held.attachments.emplace_back(has_.back(), 0);
    }
  }
  void renew() override { renewed = true; }

  // ---- programs
  State state(PageIndex page) const {
    const auto found = states_.find(page);
    return found == states_.end() ? State::kHole : found->second;
  }
  void touch(PageIndex page, PageAccess access) {
    say([this, page, access] { handler_.on_fault(page, access); });
  }
  std::byte read(PageIndex page, std::size_t at = 0) const { return memory_.at(page).at(at); }
  void write(PageIndex page, std::byte value, std::size_t at = 0) {
    EXPECT_EQ(state(page), State::kExclusive);
    memory_.at(page).at(at) = value;
  }
  void fork() {
    has_.push_back(has_.back());
    say([this, of = has_.back()] { handler_.on_forked(of); });
  }
  void detach(std::uint32_t count = 1) {
    for (; count != 0; --count) {
      say([this, of = has_.back()] { handler_.on_detached(of); });
      has_.pop_back();
    }
  }

  bool all_lost = false;
  bool renewed = false;
  bool is_stuck = false;  // says nothing of it

 private:
  void say(std::function<void()> what) {
    said_.push_back(std::move(what));
    const std::uint64_t one = 1;
    EXPECT_EQ(::write(event_.get(), &one, sizeof(one)), static_cast<ssize_t>(sizeof(one)));
  }

  Options options_;
  Handler& handler_;
  Descriptor event_;
  std::map<PageIndex, State> states_;
  std::map<PageIndex, Bytes> memory_;
  std::deque<std::function<void()>> said_;
  std::uint64_t tickets_ = 0;
  std::vector<AttachTicket> has_;
};

class SegmentHostsTest : public LoopTest {
 protected:
  SegmentHostsTest() { renew_log_allowances(); }

  struct Host final : PeerOutbox {
    Host(SegmentHostsTest& in, std::string named) : test(in), name(std::move(named)) {}
    bool send(const std::string& host, PeerMessage message) override {
      if (!test.connected(name, host)) return false;
      test.carried_.push_back({name, host, std::move(message)});
      return true;
    }
    bool withdraw(const std::string&, CallId) override { return false; }
    bool takes_answers(const std::string&) const override { return true; }
    void end_session(const std::string& host, const std::string& why) override { ended.emplace_back(host, why); }

    SegmentHostsTest& test;
    std::string name;
    Abi abi = measured_abi();
    std::unique_ptr<Segments> segments;
    std::optional<ScriptedPager::Snapshot> before;
    std::vector<ScriptedPager*> pagers;  // the latest is of the segment that the test is about
    std::vector<ObjectRef> removed;
    std::vector<std::pair<std::string, ObjectRef>> gone;
    std::vector<std::pair<std::string, std::string>> ended;  // sessions, and why
  };
  struct Carried {
    std::string from, to;
    PeerMessage message;
  };

  // `abi`: of the memory of its programs, and of what it says that it is.
  Host& add(const std::string& name, std::uint32_t page_bytes = 4096, const Abi& abi = measured_abi()) {
    auto host = std::make_unique<Host>(*this, name);
    Host& made = *host;
    made.abi = abi;
    begin(made, page_bytes);
    for (const auto& [other_name, other] : hosts_) connect(made, *other, page_bytes);
    hosts_.emplace(name, std::move(host));
    return made;
  }
  // Its daemon.
  void begin(Host& made, std::uint32_t page_bytes = 4096) {
    Segments::Options options;
    options.host = made.name;
    options.page_bytes = page_bytes;
    options.owned.segment_bytes_max = 1u << 20;
    options.owned.memory_bytes = 1u << 19;
    options.owned.outlive = outlive_;
    options.owned.fence = std::chrono::milliseconds(50);
    options.owned.sharing = [this](std::int32_t) { return sharing_; };
    options.owned.time_of_day = [this] { return time_of_day_; };
    options.owned.declarations = [this](std::int32_t) { return declarations_; };
    options.attached.abi = made.abi;
    options.owned.patience = std::chrono::seconds(20);
    options.attached.stuck_after = std::chrono::milliseconds(200);
    options.attached.resume_within = resume_within_;
    options.owned.segments_per_login = segments_per_login_;
    options.owned.segments_per_peer = segments_per_peer_;
    options.attached.attachments_per_login = attachments_per_login_;
    options.attached.has_descriptors_to_spare = [this] { return has_descriptors_to_spare_; };
    options.attached.make_pager = [&made](Pager::Options of,
                                          Pager::Handler& handler) -> Result<std::unique_ptr<Pager>> {
      auto pager = std::make_unique<ScriptedPager>(std::move(of), handler);
      made.pagers.push_back(pager.get());
      return pager;
    };
    options.attached.take_over = [&made](Pager::Options of, Pager::Handler& handler, KeptSegment,
                                         HeldMemory& held) -> Result<std::unique_ptr<Pager>> {
      auto pager = std::make_unique<ScriptedPager>(std::move(of), handler);
      pager->take_over(*made.before, held);
      made.pagers.push_back(pager.get());
      return pager;
    };
    options.removed = [&made](const ObjectRef& segment) { made.removed.push_back(segment); };
    options.gone = [&made](const std::string& owner, const ObjectRef& segment) {
      made.gone.emplace_back(owner, segment);
    };
    made.segments = std::make_unique<Segments>(&loop_, std::move(options), made);
  }
  // Its daemon is killed, and there is another one which has found what programs have of one segment: the last pager's.
  // `has_name`: the state file says so. True: it is of this host and goes on.
  bool restart(Host& host, std::chrono::milliseconds left = std::chrono::seconds(20), bool has_name = true) {
    host.before = host.pagers.back()->snapshot();
    if (next_directory_) host.before->directory = std::move(next_directory_);
    host.segments.reset();
    std::vector<Host*> peers;
    for (const auto& [name, other] : hosts_) {
      if (sessions_.erase(std::minmax(host.name, name)) == 0) continue;
      peers.push_back(other.get());
    }
    std::erase_if(carried_, [&](const Carried& one) { return one.from == host.name || one.to == host.name; });
    begin(host);
    auto record = MemoryRecord::make(host.before->label, 4096, 4096);
    record->set_lapses(loop_now() + left);
    std::vector<KeptSegment> kept;
    kept.push_back({.label = host.before->label,
                    .record = std::move(*record),
                    .memory = {},
                    .for_reading = {},
                    .directory = std::move(host.before->directory),
                    .attachments = {}});
    const auto own = host.segments->take_back(std::move(kept), [=](const ObjectRef&) { return has_name; });
    for (Host* peer : peers) {
      peer->segments->on_session_ended(host.name, true);
      connect(host, *peer);
    }
    return !own.empty();
  }
  ~SegmentHostsTest() override {
    for (const std::int32_t id : made_) shmctl(id, IPC_RMID, nullptr);
    for (const auto& [name, host] : hosts_) {
      for (const auto& view : host->segments->owned().views()) shmctl(view.ref.id, IPC_RMID, nullptr);
    }
    hosts_.clear();
  }

  bool connected(const std::string& one, const std::string& other) const {
    return sessions_.contains(std::minmax(one, other));
  }
  void connect(Host& one, Host& other, std::uint32_t page_bytes = 4096, const std::string& boot = "boot") {
    sessions_.insert(std::minmax(one.name, other.name));
    Hello hello;
    hello.page_bytes = page_bytes;
    hello.boot = boot;
    hello.abi = one.abi;
    other.segments->on_session_began(one.name, hello);
    hello.page_bytes = 4096;
    hello.boot = "boot";
    hello.abi = other.abi;
    one.segments->on_session_began(other.name, hello);
  }
  // What is on its way is lost.
  void disconnect(Host& one, Host& other) {
    sessions_.erase(std::minmax(one.name, other.name));
    std::erase_if(carried_, [&](const Carried& carried) {
      return std::minmax(carried.from, carried.to) == std::minmax(one.name, other.name);
    });
    one.segments->on_session_ended(other.name);
    other.segments->on_session_ended(one.name);
  }

  void deliver_one() {
    const Carried next = std::move(carried_.front());
    carried_.pop_front();
    ++carried_count_;
    const Bytes encoded = encode(Frame{1, 0, next.message});
    const auto decoded = decode(std::span(encoded).subspan(kLengthPrefixBytes));
    ASSERT_TRUE(decoded) << decoded.error().what;
    const auto& message = *std::get<Frame>(*decoded).message;
    EXPECT_EQ(message, on_the_wire(next.message));
    if (std::holds_alternative<HeldPage>(message)) ++pages_sent_[{next.from, next.to}];
    hosts_.at(next.to)->segments->on_peer_message(next.from, message);
  }
  void until(const std::function<bool()>& done) {
    const Deadline deadline;
    while (!done() && !deadline.over()) {
      while (!carried_.empty()) deliver_one();
      uv_run(&loop_, UV_RUN_NOWAIT);
    }
    EXPECT_TRUE(done()) << "it did not happen in time";
  }
  // Nothing is on its way any more.
  void quiet() {
    for (int turns = 0; turns < 20; ++turns) {
      if (!carried_.empty()) turns = 0;
      while (!carried_.empty()) deliver_one();
      uv_run(&loop_, UV_RUN_NOWAIT);
    }
  }

  ObjectRef make(Host& owner, std::int64_t bytes, std::uint32_t mode = 0600, const Identity& as = kRoot) {
    const GetCall call{.name = {Kind::kSegment, kKey}, .create = true, .exclusive = true, .mode = mode, .size = bytes};
    const auto made = owner.segments->make(call, ++generations_, as, owner.name, 77);
    EXPECT_TRUE(made) << errno_name(made.error());
    if (!made) return {};
    made_.push_back(made->id);
    return {Kind::kSegment, made->id, generations_};
  }
  // shmat of a program of `host`, all of it: what the owner or the host refuses it with, or kNone.
  Error attach(Host& host, Host& owner, const ObjectRef& segment, bool read_only = false, std::int32_t pid = 1,
               uid_t uid = 0) {
    const SegmentAttach body{.object = segment, .read_only = read_only, .page_bytes = 4096};
    const Reply reply = owner.segments->call(host.name, kRoot, pid, body);
    if (reply.error != Error::kNone) return reply.error;
    const auto key = host.segments->key(owner.name, segment);
    auto offer = host.segments->begin(key, std::get<AttachReply>(reply.body), !read_only, uid);
    if (!offer) return offer.error();
    std::optional<int> result;
    host.segments->attached(key, offer->ticket, pid, 0x10000, {}, [&](int error) { result = error; });
    until([&] { return result.has_value(); });
    EXPECT_EQ(result, 0);
    return Error::kNone;
  }
  Stat stat(Host& owner, const ObjectRef& segment) {
    const Reply reply =
        owner.segments->call(owner.name, kRoot, 1, Control{.object = segment, .command = ControlCommand::kStat});
    EXPECT_EQ(reply.error, Error::kNone);
    const auto* found = std::get_if<Stat>(&reply.body);
    return found == nullptr ? Stat{} : *found;
  }
  Error control(Host& owner, const ObjectRef& segment, ControlCommand command, const Identity& as = kRoot) {
    return owner.segments->call(owner.name, as, 1, Control{.object = segment, .command = command}).error;
  }
  void write(Host& host, PageIndex page, int value, std::size_t at = 0) {
    ScriptedPager& pager = *host.pagers.back();
    pager.touch(page, PageAccess::kWrite);
    until([&] { return pager.state(page) == ScriptedPager::State::kExclusive; });
    pager.write(page, static_cast<std::byte>(value), at);
  }
  int read(Host& host, PageIndex page, std::size_t at = 0) {
    ScriptedPager& pager = *host.pagers.back();
    pager.touch(page, PageAccess::kRead);
    until([&] {
      return pager.state(page) == ScriptedPager::State::kShared ||
             pager.state(page) == ScriptedPager::State::kExclusive;
    });
    return std::to_integer<int>(pager.read(page, at));
  }

  static constexpr std::int32_t kKey = 0x20;
  static inline const Identity kRoot = thread_identity();
  static inline const Identity kAlice{1001, 1001, {}};
  static inline const Identity kBob{1002, 1002, {1001}};

  std::map<std::string, std::unique_ptr<Host>> hosts_;
  std::set<std::pair<std::string, std::string>> sessions_;
  std::deque<Carried> carried_;
  int carried_count_ = 0;
  std::map<std::pair<std::string, std::string>, int> pages_sent_;  // straight from holder to requester
  std::string declarations_;                                       // of segments that are made from now on
  bool has_descriptors_to_spare_ = true;
  KeyPolicy::Sharing sharing_{.hold_time = Duration{0}};
  std::int64_t time_of_day_ = 1000;
  std::size_t segments_per_login_ = 1000;  // of hosts that are added from now on
  std::size_t segments_per_peer_ = 1000;
  std::size_t attachments_per_login_ = 1000;
  bool outlive_ = false;       // of hosts that are added from now on
  Descriptor next_directory_;  // not what the daemon before has written down, but that
  std::chrono::milliseconds resume_within_{20000};
  std::uint64_t generations_ = 0;
  std::vector<std::int32_t> made_;  // by make(), also of daemons before

 private:
  // The numbers of hosts are each daemon's own.
  static PeerMessage on_the_wire(PeerMessage message) {
    if (auto* order = std::get_if<SegmentOrder>(&message)) {
      if (auto* grant = std::get_if<PageGrant>(&order->message)) grant->holder = HostId{};
      if (auto* fetch = std::get_if<FetchPage>(&order->message)) fetch->requester = HostId{};
    }
    return message;
  }
};

}  // namespace dipc::test
