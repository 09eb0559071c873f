#include "daemon/core/session_outbox.h"

#include <algorithm>
#include <utility>

#include "wire/check.h"

namespace dipc {
namespace {

constexpr std::uint64_t kMessageOverhead = 96;  // the fixed parts of a message, roughly

std::uint64_t login_bytes(const PayloadForm& form) {
  std::uint64_t bytes = 0;
  for (const std::string& login : form.logins) bytes += 8 + login.size();
  return bytes;
}

std::uint64_t variable_bytes(const Call& call) {
  std::uint64_t bytes = call.caller.login.size();
  if (const auto* send = std::get_if<MessageSend>(&call.body)) {
    bytes += send->text.size() + login_bytes(send->form);
  } else if (const auto* operate = std::get_if<SemaphoreOperate>(&call.body)) {
    bytes += operate->ops.size() * 8;
  } else if (const auto* control = std::get_if<Control>(&call.body)) {
    bytes += control->values.size() * 2;
  }
  return bytes;
}

std::uint64_t variable_bytes(const Reply& reply) {
  if (const auto* message = std::get_if<Message>(&reply.body)) {
    return message->text.size() + login_bytes(message->form);
  }
  if (const auto* values = std::get_if<std::vector<std::uint16_t>>(&reply.body)) return values->size() * 2;
  if (const auto* attach = std::get_if<AttachReply>(&reply.body)) return attach->declarations.size();
  return 0;
}

std::uint64_t variable_bytes(const Announce& announce) { return (announce.owned.size() + announce.used.size()) * 16; }
std::uint64_t variable_bytes(const Announced& announced) { return announced.refused.size() * 16; }
std::uint64_t variable_bytes(const UndoHolders& holders) { return holders.processes.size() * 16; }
std::uint64_t variable_bytes(const ObjectList& list) { return list.rows.size() * kMessageOverhead; }

std::uint64_t variable_bytes(const QueueDeclarations& declarations) { return declarations.text.size(); }
std::uint64_t variable_bytes(const Returned& returned) { return returned.unfit.size(); }

std::uint64_t variable_bytes(const PageContents& contents) { return contents == nullptr ? 0 : contents->size(); }
std::uint64_t variable_bytes(const HeldPage& held) {
  return variable_bytes(held.data.contents) * (1 + held.more.size());
}

std::uint64_t variable_bytes(const SegmentReport& report) {
  const auto* relayed = std::get_if<RelayedPage>(&report.message);
  return relayed == nullptr ? 0 : variable_bytes(relayed->contents);
}

std::uint64_t variable_bytes(const SegmentOrder& order) {
  const auto* data = std::get_if<PageData>(&order.message);
  return data == nullptr ? 0 : variable_bytes(data->contents);
}

template <typename T>
std::uint64_t variable_bytes(const T& /*small*/) {
  return 0;
}

// What ends or settles a call must get through when calls fill the buffer. So must pages: a call may wait for a program
// that waits for one. What there is of them is bounded by what the peer asks for, which answer_bytes() counts.
bool is_urgent(const PeerMessage& message) {
  return std::holds_alternative<SegmentReport>(message) || std::holds_alternative<SegmentOrder>(message) ||
         std::holds_alternative<HeldPage>(message) || std::holds_alternative<Cancel>(message) ||
         std::holds_alternative<Taken>(message) || std::holds_alternative<Returned>(message) ||
         std::holds_alternative<ProcessEnded>(message);
}

std::uint64_t answer_bytes_of(const PeerMessage& message) {
  if (std::holds_alternative<Call>(message)) return 0;
  return kMessageOverhead + std::visit([](const auto& kind) { return variable_bytes(kind); }, message);
}

}  // namespace

std::uint64_t SessionOutbox::bytes_of(const PeerMessage& message) {
  if (is_urgent(message)) return 0;
  return kMessageOverhead + std::visit([](const auto& kind) { return variable_bytes(kind); }, message);
}

void SessionOutbox::add(PeerMessage message) {
  const std::uint64_t bytes = bytes_of(message);
  const bool urgent = bytes == 0;
  const std::uint64_t after = urgent ? last_related(message) : 0;
  answer_bytes_ += answer_bytes_of(message);
  (urgent ? urgent_ : bounded_).push_back({std::move(message), bytes, ++added_, after});
  waiting_bytes_ += bytes;
}

// The last waiting message that an urgent one must not overtake; 0: none.
std::uint64_t SessionOutbox::last_related(const PeerMessage& urgent) const {
  const auto* cancel = std::get_if<Cancel>(&urgent);
  const auto* ended = std::get_if<ProcessEnded>(&urgent);
  if (cancel == nullptr && ended == nullptr) return 0;
  const auto found = std::find_if(bounded_.rbegin(), bounded_.rend(), [cancel, ended](const Waiting& waiting) {
    const auto* call = std::get_if<Call>(&waiting.message);
    if (call == nullptr) return false;
    return cancel != nullptr ? call->id == cancel->id : call->caller.process == ended->process;
  });
  return found == bounded_.rend() ? 0 : found->order;
}

bool SessionOutbox::withdraw(CallId call) {
  const auto found = std::find_if(bounded_.begin(), bounded_.end(), [call](const Waiting& waiting) {
    const auto* of = std::get_if<Call>(&waiting.message);
    return of != nullptr && of->id == call;
  });
  if (found == bounded_.end()) return false;
  waiting_bytes_ -= found->bytes;
  bounded_.erase(found);
  return true;
}

bool SessionOutbox::has_room(const Waiting& waiting) const {
  return written_bytes_ == 0 || written_bytes_ + waiting.bytes <= bytes_most_;
}

const PeerMessage* SessionOutbox::write_front(std::deque<Waiting>& of) {
  Waiting& next = of.front();
  waiting_bytes_ -= next.bytes;
  written_bytes_ += next.bytes;
  written_.push_back({std::move(next.message), next.bytes});
  of.pop_front();
  return &written_.back().message;
}

const PeerMessage* SessionOutbox::write_next() {
  const bool urgent_is_next = !urgent_.empty() && (bounded_.empty() || urgent_.front().order < bounded_.front().order);
  if (!urgent_is_next && !bounded_.empty() && has_room(bounded_.front())) return write_front(bounded_);
  if (!urgent_.empty() && (bounded_.empty() || urgent_.front().after < bounded_.front().order)) {
    return write_front(urgent_);
  }
  return nullptr;
}

void SessionOutbox::acknowledge(std::uint64_t up_to) {
  DIPC_CHECK(up_to >= acknowledged_ && up_to <= written());
  for (; acknowledged_ < up_to; ++acknowledged_) {
    const Written& first = written_.front();
    written_bytes_ -= first.bytes;
    answer_bytes_ -= answer_bytes_of(first.message);
    written_.pop_front();
  }
}

const PeerMessage& SessionOutbox::at(std::uint64_t sequence) const {
  DIPC_CHECK(sequence > acknowledged_ && sequence <= written());
  return written_[static_cast<std::size_t>(sequence - acknowledged_ - 1)].message;
}

SessionOutbox::Rest SessionOutbox::take_rest() {
  Rest rest;
  for (Written& written : written_) rest.unacknowledged.emplace_back(std::move(written.message));
  while (!bounded_.empty() || !urgent_.empty()) {
    const bool urgent = bounded_.empty() || (!urgent_.empty() && urgent_.front().order < bounded_.front().order);
    std::deque<Waiting>& from = urgent ? urgent_ : bounded_;
    rest.unwritten.emplace_back(std::move(from.front().message));
    from.pop_front();
  }
  *this = SessionOutbox(bytes_most_);
  return rest;
}

}  // namespace dipc
