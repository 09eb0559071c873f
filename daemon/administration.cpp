#include "daemon/administration.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "arch/abi_names.h"
#include "daemon/core/number_text.h"
#include "daemon/core/object_name.h"
#include "daemon/io/log.h"
#include "daemon/kernel/objects.h"
#include "daemon/segment_reports.h"
#include "daemon/version.h"

namespace dipc {

namespace {

constexpr auto kObjectsWait = std::chrono::seconds(2);  // for peers that do not answer; dipcctl waits longer
constexpr const char* kReaders = "dipc";                // group that may read

std::string state_name(PeerSessions::State state) {
  switch (state) {
    case PeerSessions::State::kUnreachable:
      return "dead";
    case PeerSessions::State::kConnecting:
      return "connecting";
    case PeerSessions::State::kConnected:
      return "connected";
    case PeerSessions::State::kDisconnected:
      return "broken";
  }
  return "";
}

}  // namespace

Administration::Administration(uv_loop_t* loop, Parts parts)
    : parts_(std::move(parts)),
      dead_letters_(
          parts_.executor.dead_letters(),
          [this](std::int32_t queue) { return parts_.naming.owned(Kind::kMessageQueue, queue); },
          [this](std::int32_t queue, const Message& message) { return parts_.executor.put(queue, message); }),
      timer_(loop, [this] { on_time(); }),
      started_(loop_now()) {}

bool Administration::may_change(const LocalCredentials& credentials) {
  return credentials.uid == 0 || credentials.uid == ::geteuid();
}

bool Administration::may_read(const LocalCredentials& credentials) {
  if (may_change(credentials)) return true;
  const auto group = parts_.users.gid_of(kReaders);
  if (!group) return false;
  const Identity who = local_identity(credentials.uid, credentials.gid, credentials.pid);
  return who.gid == *group || std::find(who.groups.begin(), who.groups.end(), *group) != who.groups.end();
}

void Administration::answer(ClientId client, std::uint64_t call, int error, const std::string& json) {
  local::Reply header;
  header.call = call;
  header.error = error;
  programs_->reply(client, header, std::as_bytes(std::span(json)));
}

void Administration::fail(const LocalRequest& request, int error, std::string what, std::string remedy) {
  answer(request.client, request.header.call, error,
         to_json(AdminFailure{{Trouble{std::move(what), std::move(remedy)}}}));
}

template <typename T>
void Administration::answer_or_fail(const LocalRequest& request, const Result<T>& result) {
  if (!result) return fail(request, EINVAL, result.error().what, result.error().remedy);
  answer(request.client, request.header.call, 0, to_json(*result));
}

std::string Administration::who(const LocalRequest& request) {
  const LocalCredentials& credentials = request.credentials;
  const std::string login = parts_.users.login_of(credentials.uid);
  return (login.empty() ? "nameless" : login) + " (uid " + std::to_string(credentials.uid) + ", pid " +
         std::to_string(credentials.pid) + ")";
}

void Administration::on_request(const LocalRequest& request) {
  if (!may_read(request.credentials)) {
    return fail(request, EACCES, "you may not ask this daemon",
                "be root or a member of group " + std::string(kReaders));
  }
  const auto command =
      parse_admin_command({reinterpret_cast<const char*>(request.payload.data()), request.payload.size()});
  if (!command) return fail(request, EINVAL, command.error().what, command.error().remedy);
  if (command->changes_something() && !may_change(request.credentials)) {
    return fail(request, EACCES, "you may not change this daemon", "be root");
  }
  switch (command->verb) {
    case AdminCommand::Verb::kStatus:
      return answer(request.client, request.header.call, 0, to_json(status()));
    case AdminCommand::Verb::kObjects:
      return ask_for_objects(request);
    case AdminCommand::Verb::kReload:
      return reload(request);
    case AdminCommand::Verb::kForget:
      return forget(request, command->object);
    case AdminCommand::Verb::kDeadLetters:
      return answer(request.client, request.header.call, 0, to_json(dead_letters_.list(command->letter)));
    case AdminCommand::Verb::kShowLetter:
      return answer_or_fail(request, dead_letters_.show(command->letter, command->offset));
    case AdminCommand::Verb::kRequeueLetter:
      return answer_or_fail(request, dead_letters_.requeue(command->letter, who(request)));
    case AdminCommand::Verb::kSegments:
      return answer(request.client, request.header.call, 0, to_json(report_segments(parts_.segments, parts_.users)));
    case AdminCommand::Verb::kPages:
      return pages(request, *command);
    case AdminCommand::Verb::kDropLetter:
      return answer_or_fail(request, dead_letters_.drop(command->letter, who(request)));
  }
}

void Administration::pages(const LocalRequest& request, const AdminCommand& command) {
  const auto segment =
      command.id ? parts_.segments.owned().with_id(*command.id) : segment_of_key(parts_.segments, command.object.key);
  const auto report = segment ? report_pages(parts_.segments, parts_.users, *segment) : std::nullopt;
  if (report) return answer(request.client, request.header.call, 0, to_json(*report));
  for (const StandIn& stand_in : parts_.naming.stand_ins()) {
    if (stand_in.object.kind != Kind::kSegment) continue;
    if (command.id ? stand_in.id != *command.id : !(stand_in.name == command.object)) continue;
    return fail(
        request, ENOENT, "this segment lives on " + stand_in.owner,
        "run dipcctl pages " + (command.id ? "--id " + std::to_string(stand_in.object.id) + " " : "") + "there");
  }
  fail(request, ENOENT, std::string("no segment of that ") + (command.id ? "id" : "key") + " lives on this host",
       command.id ? "dipcctl segments lists those that do; another host's has another id there, and is asked for there"
                  : "dipcctl objects says which host is its owner; ask there");
}

void Administration::reload(const LocalRequest& request) {
  const auto done = parts_.reload(who(request));
  answer(request.client, request.header.call, done ? 0 : EINVAL,
         done ? to_json(*done) : to_json(AdminFailure{done.error()}));
}

StatusReport Administration::status() const {
  StatusReport report;
  const Configuration& configuration = parts_.policy.configuration;
  report.host = parts_.own.host;
  report.cluster = configuration.cluster;
  report.referee = configuration.referee;
  report.referee_reachable = configuration.referee == report.host || parts_.network.has_session(configuration.referee);
  report.incarnation = hexadecimal(static_cast<std::uint64_t>(parts_.own.incarnation));
  report.version = kVersion;
  report.uptime_s =
      static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(loop_now() - started_).count());
  for (const Endpoint& endpoint : configuration.listen) report.listen.push_back(endpoint.to_string());
  for (const auto& peer : parts_.network.peers()) {
    StatusReport::Peer row;
    row.name = peer.host;
    row.address = peer.address;
    row.state = state_name(peer.state);
    row.reason = peer.reason;
    if (peer.session != SessionNumber{}) row.session = hexadecimal(static_cast<std::uint64_t>(peer.session));
    if (peer.abi) {
      row.abi = to_string(*peer.abi);
      row.machine = spoken(*peer.abi);
    }
    row.waiting_bytes = peer.waiting_bytes;
    row.blocked_calls = parts_.executor.waiting_calls(peer.host);
    report.peers.push_back(std::move(row));
  }
  const CertificateInfo& certificate = parts_.tls.own();
  report.certificates.push_back({.file = "tls/host.pem",
                                 .subject = certificate.subject,
                                 .expires = utc(certificate.not_after.time_since_epoch().count()),
                                 .days_left = certificate.days_left(std::chrono::system_clock::now())});
  if (certificate.expires_soon(std::chrono::system_clock::now())) {
    report.warnings.push_back("the certificate of this host expires in " +
                              std::to_string(report.certificates[0].days_left) +
                              " days; have a new one signed and run dipcctl reload");
  }
  if (const auto& trouble = parts_.naming.trouble()) {
    report.warnings.push_back(
        "nothing new can be made or used here until the state file can be written, and a restart "
        "would forget what changed since: " +
        trouble->what);
  }
  if (RefereeService* referee = parts_.naming.referee(); referee != nullptr && referee->trouble()) {
    report.warnings.push_back("no names are given until the registry can be written: " + referee->trouble()->what);
  }
  for (std::string& warning : warnings_here(configuration)) report.warnings.push_back(std::move(warning));
  if (!report.referee_reachable) {
    report.warnings.push_back("the referee " + configuration.referee + " can't be reached: no new names until it is");
  }
  report.counters = parts_.counters();
  return report;
}

// ---- objects of the cluster

std::vector<ObjectRow> Administration::own_rows() {
  std::vector<ObjectRow> rows;
  for (const OwnedObject& object : parts_.naming.owned_objects()) {
    if (object.state == OwnedObject::State::kRegistering) continue;
    if (object.ref.kind == Kind::kSegment) {  // whose stand-in is all that the kernel has
      if (auto row = row_of_segment(parts_.segments, parts_.users, object)) rows.push_back(std::move(*row));
      continue;
    }
    const auto facts = object_facts(object.ref.kind, object.ref.id);
    if (!facts) continue;
    rows.push_back({.name = object.name,
                    .id = object.ref.id,
                    .generation = object.ref.generation,
                    .owner_login = parts_.users.login_of(facts->uid),
                    .mode = facts->mode & 0777,
                    .used_bytes = facts->used_bytes,
                    .messages = facts->messages,
                    .semaphores = facts->semaphores,
                    .unconverted = parts_.queues.unconverted(object.ref)});
  }
  return rows;
}

void Administration::add_rows(Question& question, const std::string& host, const std::vector<ObjectRow>& rows) const {
  const std::vector<StandIn> stand_ins = parts_.naming.stand_ins();
  for (const ObjectRow& row : rows) {
    ObjectsReport::Row line;
    line.name = row.name;
    line.owner = host;
    line.id = row.id;
    if (host == parts_.own.host) line.local_id = row.id;
    for (const StandIn& stand_in : stand_ins) {
      const ObjectRef object{row.name.kind, row.id, row.generation};
      if (stand_in.owner == host && stand_in.object == object) line.local_id = stand_in.id;
    }
    line.login = row.owner_login;
    line.mode = row.mode;
    line.used_bytes = row.used_bytes;
    line.messages = row.messages;
    line.semaphores = row.semaphores;
    line.unconverted = row.unconverted;
    question.report.rows.push_back(std::move(line));
  }
}

void Administration::ask_for_objects(const LocalRequest& request) {
  const RequestId id{next_request_++};
  Question& question = questions_[id];
  question.client = request.client;
  question.call = request.header.call;
  question.until = loop_now() + kObjectsWait;
  add_rows(question, parts_.own.host, own_rows());
  for (const std::string& host : parts_.network.hosts()) {
    if (parts_.network.send(host, ListObjects{id})) {
      question.silent.insert(host);
    } else {
      question.report.silent_hosts.push_back({host, "no session with it"});
    }
  }
  if (question.silent.empty()) {
    finish(id);
  } else {
    set_timer();
  }
}

void Administration::on_list_objects(const std::string& host, const ListObjects& request) {
  if (!parts_.network.takes_answers(host)) return;  // who asked waits no longer than kObjectsWait
  parts_.network.send(host, ObjectList{request.id, own_rows()});
}

void Administration::on_object_list(const std::string& host, const ObjectList& list) {
  const auto found = questions_.find(list.id);
  if (found == questions_.end() || found->second.silent.erase(host) == 0) return;
  add_rows(found->second, host, list.rows);
  if (found->second.silent.empty()) finish(list.id);
}

void Administration::on_session_ended(const std::string& host) {
  std::vector<RequestId> complete;
  for (auto& [id, question] : questions_) {
    if (question.silent.erase(host) == 0) continue;
    question.report.silent_hosts.push_back({host, "its session ended"});
    if (question.silent.empty()) complete.push_back(id);
  }
  for (const RequestId id : complete) finish(id);
}

void Administration::finish(RequestId id) {
  Question question = std::move(questions_.at(id));
  questions_.erase(id);
  for (const std::string& host : question.silent) question.report.silent_hosts.push_back({host, "did not answer"});
  std::sort(question.report.rows.begin(), question.report.rows.end(), [](const auto& a, const auto& b) {
    return std::tie(a.name, a.owner, a.id) < std::tie(b.name, b.owner, b.id);
  });
  answer(question.client, question.call, 0, to_json(question.report));
}

void Administration::on_client_gone(ClientId client) {
  std::erase_if(questions_, [client](const auto& entry) { return entry.second.client == client; });
}

void Administration::on_time() {
  std::vector<RequestId> due;
  for (const auto& [id, question] : questions_) {
    if (question.until <= loop_now()) due.push_back(id);
  }
  for (const RequestId id : due) finish(id);
  set_timer();
}

void Administration::set_timer() {
  TimePoint when = kNever;
  for (const auto& [id, question] : questions_) when = std::min(when, question.until);
  timer_.start_at(when);
}

void Administration::forget(const LocalRequest& request, const ObjectName& name) {
  RefereeService* referee = parts_.naming.referee();
  if (referee == nullptr || !referee->forget(name)) {
    fail(request, ENOENT, "this host has no entry for that name",
         "run it on the referee's host, " + parts_.policy.configuration.referee + "; dipcctl objects lists the names");
    return;
  }
  const std::string what = format_name(name);
  log_change("referee", what + " forgotten on the word of " + who(request));
  answer(request.client, request.header.call, 0, to_json(AdminDone{{what + " is free"}}));
}

}  // namespace dipc
