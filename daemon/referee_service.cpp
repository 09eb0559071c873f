#include "daemon/referee_service.h"

#include <filesystem>

#include "daemon/core/object_name.h"
#include "daemon/io/atomic_file.h"
#include "daemon/io/log.h"
#include "daemon/kernel/identity.h"

namespace dipc {

namespace {

constexpr auto kRetryEvery = std::chrono::seconds(1);
// Messages that wait for the registry because of one host. More come from a flood only: it has 1024 claims to register.
constexpr std::size_t kHeldPerHostMax = 20000;

std::filesystem::path registry_file(const std::string& state_dir) {
  return std::filesystem::path(state_dir) / "registry";
}

Result<void> write_registry(const std::string& state_dir, const Referee& referee, const HostNumbers& numbers) {
  restore_own_groups();
  return write_file_atomically(registry_file(state_dir),
                               render_registry(referee.table(), !referee.in_grace(), numbers.table()));
}

}  // namespace

Result<std::unique_ptr<RefereeService>> RefereeService::open(uv_loop_t* loop, Options options, PeerOutbox& peers) {
  const auto path = registry_file(options.state_dir);
  const auto text = read_file(path);
  if (!text) return tl::unexpected(text.error());
  RegistryFile registry;
  if (*text) {
    auto parsed = parse_registry(path.string(), **text);
    if (!parsed) return tl::unexpected(parsed.error());
    registry = std::move(*parsed);
  }
  RefereeOptions rules;
  rules.claim_timeout = options.claim_timeout;
  rules.grace = options.grace;
  rules.table_lost = (!*text && options.ran_before) || !registry.complete;
  if (rules.table_lost) {
    log_warning("referee", path.string() +
                               " is lost: new names wait until the owners have said what they own; an object of a "
                               "host that stays away may lose its name to another");
  }
  Referee referee(loop_now(), options.incarnation, rules, std::move(registry.table));
  HostNumbers numbers(std::move(registry.numbers));
  if (auto written = write_registry(options.state_dir, referee, numbers); !written) {
    return tl::unexpected(written.error());
  }
  return std::unique_ptr<RefereeService>(
      new RefereeService(loop, std::move(options), peers, std::move(referee), std::move(numbers)));
}

RefereeService::RefereeService(uv_loop_t* loop, Options options, PeerOutbox& peers, Referee referee,
                               HostNumbers numbers)
    : options_(std::move(options)),
      peers_(peers),
      timer_(loop,
             [this] {
               referee_.on_time(loop_now());
               advance();
             }),
      referee_(std::move(referee)),
      numbers_(std::move(numbers)) {
  on_session_began(options_.host, options_.boot);
}

bool RefereeService::is_for_referee(const PeerMessage& message) {
  return std::holds_alternative<Resolve>(message) || std::holds_alternative<Register>(message) ||
         std::holds_alternative<Abandon>(message) || std::holds_alternative<Removed>(message) ||
         std::holds_alternative<Announce>(message) || std::holds_alternative<AskNumber>(message);
}

void RefereeService::on_message(const std::string& host, const PeerMessage& message) {
  if (trouble_ && held_for_[host] >= kHeldPerHostMax) {
    log_warning("referee", "too much of " + host + " waits for the registry: what it says is not heard");
    return;
  }
  const std::size_t held_before = held_.size();
  const TimePoint now = loop_now();
  if (const auto* resolve = std::get_if<Resolve>(&message)) {
    if (!trouble_) referee_.on_resolve(now, host, *resolve);
  } else if (const auto* registration = std::get_if<Register>(&message)) {
    referee_.on_register(now, host, *registration);
  } else if (const auto* abandon = std::get_if<Abandon>(&message)) {
    referee_.on_abandon(now, host, *abandon);
  } else if (const auto* removed = std::get_if<Removed>(&message)) {
    referee_.on_removed(now, host, *removed);
  } else if (const auto* announcement = std::get_if<Announce>(&message)) {
    referee_.on_announce(now, host, *announcement);
  } else if (const auto* question = std::get_if<AskNumber>(&message)) {
    give_number(host, question->number);
  }
  advance();
  if (trouble_) held_for_[host] += held_.size() - held_before;
}

void RefereeService::give_number(const std::string& host, std::uint16_t had) {
  if (referee_.in_grace() && had == 0 && !numbers_.knows(host)) {
    unnumbered_.insert(host);
    return;
  }
  const bool is_new = !numbers_.knows(host);
  const std::uint16_t number = numbers_.give(host, had);
  if (is_new && number != 0) changed_ = true;
  if (had != 0 && had != number) {
    log_warning("referee", host + " had number " + std::to_string(had) + ", which is not its own here: it gets " +
                               std::to_string(number) + "; pids of its processes that rest in queues are lost");
  } else if (number == 0) {
    log_warning("referee", "all numbers of hosts are given: messages with pids can't be sent from " + host);
  }
  held_.emplace_back(Numbered{host, {number}});
}

void RefereeService::on_session_began(const std::string& host, const std::string& boot) {
  sessions_.insert(host);
  referee_.on_host(loop_now(), host, boot);
  advance();
}

void RefereeService::on_session_ended(const std::string& host) {
  sessions_.erase(host);
  // Answers belong to the session that asked: the next one's requests may have the same numbers.
  std::erase_if(held_, [&](const Outgoing& one) {
    const auto* answer = std::get_if<Referee::Answer>(&one);
    const auto* numbered = std::get_if<Numbered>(&one);
    return (answer != nullptr && answer->host == host) || (numbered != nullptr && numbered->host == host);
  });
  unnumbered_.erase(host);
  referee_.on_host_lost(loop_now(), host);
  advance();
}

bool RefereeService::forget(const ObjectName& name) {
  if (!referee_.on_forget(loop_now(), name)) return false;
  advance();
  return true;
}

void RefereeService::advance() {
  for (const Referee::Action& action : referee_.take_actions()) {
    if (const auto* answer = std::get_if<Referee::Answer>(&action)) {
      held_.emplace_back(*answer);
    } else if (const auto* broadcast = std::get_if<Referee::Broadcast>(&action)) {
      held_.emplace_back(*broadcast);
    } else if (const auto* entry = std::get_if<Referee::Log>(&action)) {
      log_warning("referee", format_name(entry->name) + " for " + entry->host + ": " + entry->text);
    } else {
      changed_ = true;  // Persist, GraceOver: one write for all of the batch
    }
  }
  if (!referee_.in_grace()) {
    for (const std::string& host : std::exchange(unnumbered_, {})) give_number(host, 0);
  }
  if (write()) {
    for (const Outgoing& one : std::exchange(held_, {})) send(one);
  }
  timer_.start_at(std::min(referee_.deadline(), retry_at_));
}

// True: what is in the registry is on disk.
bool RefereeService::write() {
  if (!changed_) return true;
  if (trouble_ && loop_now() < retry_at_) return false;
  const auto written = write_registry(options_.state_dir, referee_, numbers_);
  if (!written) {
    log_trouble(LogLevel::kError, "referee", written.error());
    if (!trouble_) log_error("referee", "no names are given until the registry can be written");
    trouble_ = written.error();
    retry_at_ = loop_now() + kRetryEvery;
    return false;
  }
  if (trouble_) log_info("referee", registry_file(options_.state_dir).string() + " is written again");
  trouble_.reset();
  held_for_.clear();
  retry_at_ = kNever;
  changed_ = false;
  return true;
}

void RefereeService::send(const Outgoing& outgoing) {
  if (const auto* answer = std::get_if<Referee::Answer>(&outgoing)) {
    std::visit([&](const auto& message) { peers_.send(answer->host, message); }, answer->message);
  } else if (const auto* numbered = std::get_if<Numbered>(&outgoing)) {
    peers_.send(numbered->host, numbered->message);
  } else {
    for (const std::string& host : sessions_) peers_.send(host, std::get<Referee::Broadcast>(outgoing).message);
  }
}

}  // namespace dipc
