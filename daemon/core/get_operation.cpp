#include "daemon/core/get_operation.h"

#include <algorithm>
#include <utility>

#include "wire/check.h"

namespace dipc {
namespace {

// Between attempts: the word that makes the next one succeed (Removed, Dropped, a new session) is usually on its way.
constexpr Duration kPauseFirst = std::chrono::milliseconds(5);
constexpr Duration kPauseMax = std::chrono::milliseconds(200);

}  // namespace

GetOperation::GetOperation(GetRequest request, Duration op_timeout)
    : request_(std::move(request)), op_timeout_(op_timeout) {}

void GetOperation::start(TimePoint now) {
  DIPC_CHECK(state_ == State::kNew);
  deadline_ = now + op_timeout_;
  if (request_.name.key == 0) {
    get(request_.home, std::nullopt, false);
  } else if (!request_.known_owner.empty()) {
    get(request_.known_owner, std::nullopt, exclusive());
  } else {
    resolve();
  }
}

void GetOperation::resolve() {
  state_ = State::kResolving;
  Resolve message{.id = {}, .name = request_.name, .create = request_.create, .exclusive = exclusive(), .home = {}};
  if (request_.create) message.home = request_.home;
  actions_.emplace_back(SendResolve{message});
}

void GetOperation::get(const std::string& owner, std::optional<ClaimId> claim, bool fail_if_there) {
  state_ = State::kGetting;
  owner_ = owner;
  claim_ = claim;
  GetCall call{.name = request_.name,
               .create = request_.create,
               .exclusive = fail_if_there,
               .mode = request_.mode,
               .size = request_.size,
               .claim = claim};
  actions_.emplace_back(SendGet{owner, call});
}

void GetOperation::pause(TimePoint now) {
  state_ = State::kPausing;
  pause_ = std::clamp(pause_ * 2, kPauseFirst, kPauseMax);
  resume_ = now + pause_;
}

void GetOperation::give_claim_back() {
  if (claim_) actions_.emplace_back(SendAbandon{Abandon{*claim_}});
  claim_.reset();
}

void GetOperation::finish(Error error, std::string owner, GetReply reply) {
  state_ = State::kDone;
  const bool made = error == Error::kNone && (request_.name.key == 0 || made_ == reply.object.generation);
  actions_.emplace_back(Finish{error, std::move(owner), reply, made});
}

void GetOperation::on_resolved(TimePoint now, const Resolved& resolved) {
  if (state_ != State::kResolving || now >= deadline_) {
    if (const auto abandon = late_answer(resolved)) actions_.emplace_back(SendAbandon{*abandon});
    return on_time(now);
  }
  from_referee_ = true;
  switch (resolved.outcome) {
    case Resolved::Outcome::kPresent:
      return get(resolved.owner, std::nullopt, exclusive() && made_ != resolved.generation);
    case Resolved::Outcome::kAbsent:
      return finish(Error::kNoEntry);
    case Resolved::Outcome::kCreate:
      return get(request_.home, resolved.claim, exclusive());
  }
}

void GetOperation::on_referee_unreachable(TimePoint now) {
  on_time(now);
  if (state_ == State::kResolving) pause(now);
}

void GetOperation::on_get_reply(TimePoint now, Error error, const GetReply& reply, bool obstructed) {
  on_time(now);
  if (state_ != State::kGetting) return;
  if (error == Error::kNone) {
    if (std::exchange(claim_, std::nullopt)) made_ = reply.object.generation;
  } else {
    give_claim_back();
  }
  if (error == Error::kNone && obstructed) return pause(now);
  if (error != Error::kStale) return finish(error, error == Error::kNone ? owner_ : std::string(), reply);
  if (request_.name.key == 0) return finish(Error::kTimedOut);  // no referee to ask
  if (!from_referee_) return resolve();
  pause(now);
}

void GetOperation::on_owner_unreachable(TimePoint now, Error error) {
  on_time(now);
  if (state_ != State::kGetting) return;
  if (request_.name.key == 0) return finish(error);
  if (claim_) {
    give_claim_back();
    return finish(error);
  }
  if (!from_referee_) return resolve();  // the name may have another owner by now
  // The referee says that the name is taken, which is all that an exclusive create asks.
  finish(exclusive() ? Error::kExists : Error::kHostUnreachable);
}

void GetOperation::on_cancel(TimePoint now) {
  on_time(now);
  if (state_ == State::kDone) return;
  give_claim_back();
  finish(Error::kInterrupted);
}

void GetOperation::on_time(TimePoint now) {
  if (state_ == State::kDone || state_ == State::kNew) return;
  if (now >= deadline_) {
    give_claim_back();
    finish(Error::kTimedOut);
  } else if (state_ == State::kPausing && now >= resume_) {
    resolve();
  }
}

std::vector<GetOperation::Action> GetOperation::take_actions() { return std::exchange(actions_, {}); }

TimePoint GetOperation::deadline() const {
  if (state_ == State::kDone) return kNever;
  return state_ == State::kPausing ? std::min(deadline_, resume_) : deadline_;
}

std::optional<Abandon> GetOperation::late_answer(const Resolved& resolved) {
  if (resolved.outcome != Resolved::Outcome::kCreate) return std::nullopt;
  return Abandon{resolved.claim};
}

}  // namespace dipc
