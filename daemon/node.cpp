#include "daemon/node.h"

#include <sys/sysinfo.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>

#include "daemon/core/line_changes.h"
#include "daemon/core/object_name.h"
#include "daemon/io/log.h"
#include "daemon/io/random.h"
#include "daemon/kernel/processes.h"
#include "daemon/pager/descriptor_table.h"
#include "daemon/pager/kept_memory.h"

namespace dipc {

namespace {

constexpr std::uint16_t kProtocolVersion = 1;
constexpr auto kGuardsEvery = std::chrono::milliseconds(100);

Result<void> make_folder(const std::string& path, std::filesystem::perms mode) {
  std::error_code error;
  if (std::filesystem::create_directories(path, error)) std::filesystem::permissions(path, mode, error);
  if (error) return trouble(path + ": " + error.message(), "make it, or choose another place in [paths]");
  return {};
}

Result<void> make_run_folder(const std::string& path) {
  return make_folder(path, std::filesystem::perms(::geteuid() == 0 ? 0755 : 0700));
}

void log_warnings(const Configuration& configuration) {
  for (const std::string& warning : warnings_here(configuration)) log_warning("configuration", warning);
}

// `reason`: what there is not, of what was chosen or of what would be better.
PagerChoice pager_of(PagerChosen chosen) {
  if (chosen == PagerChosen::kSigsegv) return choose_pager(PagerKind::kSignal);
  PagerChoice choice = choose_pager(std::nullopt);
  if (chosen == PagerChosen::kUserfaultfd) choice.kind = PagerKind::kUserfault;
  return choice;
}

}  // namespace

// ---- start and stop

Result<keeper::Reached> reach_keeper(const Configuration& configuration) {
  const std::string& run = configuration.paths.run;
  if (auto made = make_run_folder(run); !made) return tl::unexpected(made.error());
  keeper::Options options;
  options.socket = run + "/keeper.sock";
  options.alone_max = std::chrono::duration_cast<std::chrono::milliseconds>(configuration.timing.peer_timeout);
  return keeper::reach(options);
}

Result<std::unique_ptr<Node>> Node::start(uv_loop_t* loop, std::string configuration_file, Policy policy,
                                          std::optional<keeper::Reached> keeper) {
  const Configuration::Paths paths = policy.configuration.paths;
  if (auto made = make_run_folder(paths.run); !made) return tl::unexpected(made.error());
  if (auto made = make_folder(paths.state, std::filesystem::perms(0700)); !made) return tl::unexpected(made.error());
  auto boot = boot_identity();
  if (!boot) return tl::unexpected(boot.error());
  auto tls = TlsContext::load(tls_files_beside(configuration_file));
  if (!tls) return tl::unexpected(tls.error());
  const CertificateInfo certificate = (*tls)->own();
  if (certificate.expires_soon(std::chrono::system_clock::now())) {
    log_warning("certificate", "of this host expires in " +
                                   std::to_string(certificate.days_left(std::chrono::system_clock::now())) +
                                   " days; have a new one signed and run dipcctl reload");
  }

  std::unique_ptr<Node> node(new Node(loop, std::move(configuration_file), std::move(policy), std::move(*tls),
                                      Incarnation{random_number()}, *boot));
  const Configuration& configuration = node->policy_.configuration;
  if (auto ready = node->start_executor(loop, std::move(keeper)); !ready) return tl::unexpected(ready.error());
  auto naming = Naming::open(loop,
                             {.host = configuration.host,
                              .referee = configuration.referee,
                              .boot = *boot,
                              .incarnation = node->own_.incarnation,
                              .state_dir = paths.state,
                              .op_timeout = configuration.timing.op_timeout,
                              .claim_timeout = configuration.timing.claim_timeout,
                              .own = node->executor_->own_identity(),
                              .numbered = [&types = node->types_](std::uint16_t number) { types.number = number; }},
                             *node);
  if (!naming) return tl::unexpected(naming.error());
  node->naming_ = std::move(*naming);
  node->remote_calls_ = std::make_unique<RemoteCalls>(*node, *node->naming_, *node->executor_, node->users_,
                                                      node->remote_policy_, node->types_);
  node->start_segments(loop);
  Node& self = *node;
  node->undo_keeping_ = std::make_unique<UndoKeeping>(loop, self, *node->executor_, configuration.timing.peer_timeout,
                                                      [&self] { self.remote_calls_->send_results(); });
  node->administration_ = std::make_unique<Administration>(
      loop, Administration::Parts{.policy = self.policy_,
                                  .own = self.own_,
                                  .tls = *self.tls_,
                                  .network = *self.network_,
                                  .naming = *self.naming_,
                                  .users = self.users_,
                                  .executor = *self.executor_,
                                  .segments = *self.segments_,
                                  .queues = self.remote_calls_->queues(),
                                  .reload = [&self](const std::string& who) { return self.reload(who); },
                                  .counters = [&self] { return self.counters(); }});
  const auto op_timeout = std::chrono::duration_cast<std::chrono::milliseconds>(configuration.timing.op_timeout);
  auto programs = ShimServer::listen(loop,
                                     {.path = paths.run + "/dipcd.sock",
                                      .op_timeout_ms = static_cast<std::uint32_t>(op_timeout.count()),
                                      .keeper_pid = [&self] { return self.executor_->keeper_process(); },
                                      .login_of = [&self](uid_t uid) { return self.users_.login_of(uid); },
                                      .connections_per_login = configuration.limits.connections_per_login,
                                      .bytes_per_login = configuration.limits.bytes_per_login},
                                     self);
  if (!programs) return tl::unexpected(programs.error());
  node->programs_ = std::move(*programs);
  node->local_calls_->attach(*node->programs_);
  node->segment_calls_->attach(*node->programs_);
  node->administration_->attach(*node->programs_);
  if (auto listening = node->network_->start(); !listening) return tl::unexpected(listening.error());
  node->naming_->start();
  log_warnings(configuration);
  log_info("started", "host " + configuration.host + " of cluster " + configuration.cluster + ", referee " +
                          configuration.referee);
  return node;
}

Node::Node(uv_loop_t* loop, std::string configuration_file, Policy policy, std::unique_ptr<TlsContext> tls,
           Incarnation incarnation, std::string boot)
    : configuration_file_(std::move(configuration_file)),
      policy_(std::move(policy)),
      remote_policy_{policy_.logins, policy_.keys},
      tls_(std::move(tls)) {
  const Configuration& configuration = policy_.configuration;
  own_.protocol_min = own_.protocol_max = kProtocolVersion;
  own_.cluster = configuration.cluster;
  own_.referee = configuration.referee;
  own_.host = configuration.host;
  own_.incarnation = incarnation;
  own_.boot = std::move(boot);
  own_.abi = measured_abi();
  types_.queues = policy_.queues;
  types_.segments = policy_.segments;
  own_.page_bytes = static_cast<std::uint32_t>(::sysconf(_SC_PAGESIZE));

  network_ = std::make_unique<PeerNetwork>(loop, configuration, policy_.hosts_allow, *tls_, own_, *this);
  local_calls_ = std::make_unique<LocalCalls>(loop, *this, users_, types_, configuration.limits.calls_per_login,
                                              [this](const std::string& owner, const ObjectRef& object, Error how) {
                                                if (how == Error::kNone)
                                                  return naming_->on_removed_there(owner, object);
                                                naming_->on_gone_there(owner, object);
                                              });
}

Node::~Node() = default;

Result<void> Node::start_executor(uv_loop_t* loop, std::optional<keeper::Reached> keeper) {
  const Configuration& configuration = policy_.configuration;
  Executor::Options options;
  options.slot_dir = configuration.paths.run + "/slots";
  options.dead_letter_dir = configuration.paths.state + "/dead-letters";
  options.dead_letters_max = configuration.limits.dead_letters;
  options.blocked_calls_per_peer = configuration.limits.blocked_calls_per_peer;
  options.bytes_per_peer = configuration.limits.bytes_per_peer;
  options.keeper = std::move(keeper);
  options.log = [](const std::string& text) { log_warning("executor", text); };
  auto executor = Executor::open(std::move(options), users_);
  if (!executor) return tl::unexpected(executor.error());
  executor_ = std::move(*executor);
  for (const int fd : executor_->wakeup_fds()) {
    executor_polls_.push_back(std::make_unique<ReadPoll>(loop, fd, [this] {
      executor_->poll();
      remote_calls_->send_results();
    }));
  }
  executor_turn_ = std::make_unique<AfterPoll>(loop, [this] {
    if (executor_->wants_polling()) {
      executor_->poll();
      remote_calls_->send_results();
    }
    executor_turn_->keep_turning(executor_->wants_polling());
  });
  return {};
}

// If it ends before us, another takes its place: at once, but for ones that don't live long, or can't be had.
bool Node::start_guard(uv_loop_t* loop, const GuardOptions& options) {
  const TimePoint next = loop_now() + kGuardsEvery;
  auto guard = start_memory_guard(options);
  if (!guard) {
    if (!guard_is_missing_) log_trouble(LogLevel::kError, "pager", guard.error());
    guard_is_missing_ = true;
    if (guard_timer_) guard_timer_->start_at(next);
    return false;
  }
  if (std::exchange(guard_is_missing_, false)) log_info("pager", "segments have a guard again");
  guard_ = std::move(*guard);
  if (!guard_) return true;
  if (!guard_timer_) {
    guard_timer_ = std::make_unique<Timer>(loop, [this, loop, options] { start_guard(loop, options); });
  }
  guard_poll_ = std::make_unique<ReadPoll>(loop, guard_.get(), [this, next] {
    log_error("pager", "the guard of segments (dipc-guard) was killed; another one is started");
    guard_poll_.reset();
    guard_timer_->start_at(next);
  });
  return true;
}

void Node::start_segments(uv_loop_t* loop) {
  const Configuration& configuration = policy_.configuration;
  const PagerChoice choice = pager_of(configuration.memory.pager);
  can_page_ = choice.kind == PagerKind::kSignal || choice.reason.empty();
  if (!can_page_) {
    log_error("pager", choice.reason +
                           "; memory.pager demands it: shmget of distributed segments fails with ENOSYS on this host");
  } else if (!choice.reason.empty()) {
    log_warning("pager", choice.reason + "; programs of this host page shared memory by SIGSEGV");
  }
  const std::string guard_socket = configuration.paths.run + "/guard.sock";
  KeptMemory kept = KeptMemory::fetch(guard_socket);
  const auto alone_max = std::chrono::duration_cast<std::chrono::milliseconds>(configuration.timing.peer_timeout);
  can_page_ = can_page_ && start_guard(loop, {guard_socket, alone_max});
  struct sysinfo memory {};
  ::sysinfo(&memory);
  Segments::Options options;
  options.host = configuration.host;
  options.page_bytes = own_.page_bytes;
  options.owned.segment_bytes_max = configuration.limits.segment_bytes;
  options.owned.segments_per_login = configuration.limits.segments_per_login;
  options.owned.segments_per_peer = configuration.limits.segments_per_peer;
  options.owned.memory_bytes = (std::uint64_t{memory.totalram} + memory.totalswap) * memory.mem_unit;
  // When both ends have noticed: each counts for itself, and then has to take the pages from programs.
  options.owned.fence = 2 * configuration.timing.peer_timeout;
  options.owned.patience = configuration.timing.peer_timeout;
  options.owned.sharing = [this](std::int32_t key) { return policy_.keys.sharing(key); };
  options.owned.declarations = [this](std::int32_t key) {
    const auto layout = types_.segments.find(key);
    return layout == nullptr ? std::string() : layout->text();
  };
  options.owned.outlive = can_page_ && choice.kind == PagerKind::kUserfault;
  options.owned.time_of_day = [] { return static_cast<std::int64_t>(std::time(nullptr)); };
  options.attached.make_pager = [kind = choice.kind](Pager::Options of, Pager::Handler& handler) {
    return make_pager(kind, std::move(of), handler);
  };
  options.attached.take_over = take_over;
  // It runs already. A daemon that was not started again, but has lost us before we lost it, fences us off: in time.
  options.attached.resume_within = configuration.timing.peer_timeout / 2;
  options.attached.attachments_per_login = configuration.limits.attachments_per_login;
  options.attached.has_descriptors_to_spare = has_descriptors_to_spare;
  options.attached.stuck_after = configuration.timing.peer_timeout;
  options.removed = [this](const ObjectRef& segment) { naming_->on_removed_here(segment); };
  options.gone = [this](const std::string& owner, const ObjectRef& ref) { naming_->on_gone_there(owner, ref); };
  segments_ = std::make_unique<Segments>(loop, std::move(options), *this);
  segment_calls_ = std::make_unique<SegmentCalls>(configuration.host, *segments_, *naming_, *local_calls_, types_);
  local_calls_->on_granted([this](const LocalCalls::Granted& granted) { segment_calls_->on_granted(granted); });
  naming_->attach(*segments_);
  remote_calls_->attach(*segments_);
  for (const std::string& text : kept.troubles()) log_error("pager", text);
  naming_->end_segments_but(segments_->take_back(
      std::move(kept.segments()), [this](const ObjectRef& segment) { return naming_->owned(segment) != nullptr; }));
  kept.taken();
}

void Node::stop(const std::string& why) {
  log_info("stopping", why);
  stopping_ = true;
  segments_->stop();
  network_->stop(why);
  programs_.reset();
}

Parsed<AdminDone> Node::reload(const std::string& who) {
  auto fresh = load_policy(configuration_file_, defaults_of_this_machine());
  if (!fresh) {
    for (const Trouble& one : fresh.error()) log_trouble(LogLevel::kError, "reload by " + who, one);
    return tl::unexpected(fresh.error());
  }
  const std::vector<std::string> certificates_before = tls_->lines();
  // The last that may fail: from here on all of it counts.
  if (auto certificates = tls_->reload(); !certificates) {
    log_trouble(LogLevel::kError, "reload by " + who, certificates.error());
    return tl::unexpected(Troubles{certificates.error()});
  }
  AdminDone done;
  for (const std::string& name : keep_until_start(policy_.configuration, fresh->configuration)) {
    done.done.push_back(name + " has changed, which counts from the next start of dipcd");
  }
  for (std::string& change : changes(policy_, *fresh)) done.done.push_back(std::move(change));
  for (std::string& change : line_changes("tls", certificates_before, tls_->lines())) {
    done.done.push_back(std::move(change));
  }
  log_change("reload by " + who, done.done.empty() ? "nothing has changed" : "taken");
  for (const std::string& change : done.done) log_change("reload by " + who, change);
  policy_ = std::move(*fresh);
  remote_policy_ = {policy_.logins, policy_.keys};
  types_.queues = policy_.queues;
  types_.segments = policy_.segments;
  local_calls_->on_reload();
  // To all, changed or not: it costs a question for each queue that is used.
  for (const std::string& host : network_->hosts()) {
    if (network_->has_session(host)) network_->send(host, DeclarationsChanged{});
  }
  users_.reload();
  network_->reconfigure(policy_.configuration, policy_.hosts_allow);
  done.done.push_back("hosts.allow: " + std::to_string(policy_.hosts_allow.line_count()) + " lines");
  done.done.push_back("logins.map, types.d, [[keys]] and certificates read again");
  log_warnings(policy_.configuration);
  return done;
}

// ---- other hosts

bool Node::send(const std::string& host, PeerMessage message) { return network_->send(host, std::move(message)); }

bool Node::withdraw(const std::string& host, CallId call) { return network_->withdraw(host, call); }

bool Node::takes_answers(const std::string& host) const { return network_->takes_answers(host); }

void Node::end_session(const std::string& host, const std::string& why) { network_->end_session(host, why); }

void Node::on_peer_message(const std::string& host, PeerMessage message) {
  if (naming_->on_peer_message(host, message) || segments_->on_peer_message(host, message)) return;
  if (const auto* call = std::get_if<Call>(&message)) {
    remote_calls_->on_call(host, *call);
  } else if (const auto* reply = std::get_if<Reply>(&message)) {
    local_calls_->on_reply(host, *reply);
  } else if (const auto* cancel = std::get_if<Cancel>(&message)) {
    remote_calls_->on_cancel(host, cancel->id);
  } else if (const auto* taken = std::get_if<Taken>(&message)) {
    remote_calls_->on_taken(host, taken->id);
  } else if (const auto* returned = std::get_if<Returned>(&message)) {
    remote_calls_->on_returned(host, *returned);
  } else if (const auto* question = std::get_if<AskLayout>(&message)) {
    remote_calls_->on_ask_layout(host, *question);
  } else if (const auto* declarations = std::get_if<QueueDeclarations>(&message)) {
    local_calls_->on_declarations(host, *declarations);
  } else if (std::holds_alternative<DeclarationsChanged>(message)) {
    local_calls_->on_declarations_changed(host);
  } else if (const auto* ended = std::get_if<ProcessEnded>(&message)) {
    remote_calls_->on_process_ended(host, ended->process);
  } else if (const auto* holders = std::get_if<UndoHolders>(&message)) {
    local_calls_->on_undo_holders(host, *holders);
  } else if (const auto* list_question = std::get_if<ListObjects>(&message)) {
    administration_->on_list_objects(host, *list_question);
  } else if (const auto* list = std::get_if<ObjectList>(&message)) {
    administration_->on_object_list(host, *list);
  }
}

void Node::on_session_began(const std::string& host, const Hello& hello) {
  undo_keeping_->on_session_began(host, hello.boot);
  remote_calls_->on_session_began(host, hello);
  segments_->on_session_began(host, hello);
  local_calls_->on_session_began(host, hello.boot);
  naming_->on_session_began(host, hello.boot);
}

void Node::on_session_ended(const std::string& host, PeerSessions::EndReason reason,
                            const std::vector<PeerMessage>& unwritten) {
  remote_calls_->on_session_ended(host);
  if (!stopping_) undo_keeping_->on_session_ended(host, reason);
  local_calls_->on_session_ended(host, unwritten);
  // Whoever does not know our session is another daemon as a rule, and says so only in the next one.
  const bool restarted =
      reason == PeerSessions::EndReason::kPeerRestarted || reason == PeerSessions::EndReason::kSuperseded;
  segments_->on_session_ended(host, restarted);
  naming_->on_session_ended(host, unwritten, restarted);
  administration_->on_session_ended(host);
}

void Node::on_unreachable(const std::string& host, const std::vector<PeerMessage>& unwritten) {
  local_calls_->on_session_ended(host, unwritten);
  naming_->on_unreachable(host, unwritten);
  administration_->on_session_ended(host);
}

std::map<std::string, std::uint64_t> Node::counters() const {
  std::map<std::string, std::uint64_t> counters;
  counters["calls_received"] = remote_calls_->received();
  counters["calls_under_way"] = local_calls_->under_way();
  counters["programs"] = programs_ ? programs_->program_count() : 0;
  counters["stand_ins"] = naming_->stand_ins().size();
  counters["objects_owned"] = naming_->owned_objects().size();
  const Executor::Counters executed = executor_->counters();
  counters["calls_waiting"] = executed.blocked_now + executed.queued_now;
  counters["dead_letters"] = executed.dead_letters_now;
  counters["undo_groups"] = executed.undo_groups;
  counters["keeper"] = static_cast<std::uint64_t>(executor_->keeper_process());
  counters["segments_attached"] = segments_->attached().count();
  counters["messages_put_back"] = executed.put_back;
  return counters;
}

}  // namespace dipc
