#include "daemon/segment_calls.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include "daemon/core/object_name.h"
#include "daemon/core/segment_form.h"
#include "daemon/io/log.h"
#include "daemon/kernel/identity.h"
#include "daemon/local_records.h"

namespace dipc {

void SegmentCalls::reply(ClientId client, std::uint64_t call, int error) {
  local::Reply header;
  header.call = call;
  header.error = error;
  header.value = error == 0 ? 0 : -1;
  programs_->reply(client, header, {});
}

std::optional<SegmentCalls::Place> SegmentCalls::find(std::int32_t id) const {
  if (const auto segment = segments_.owned().with_id(id)) {
    const OwnedObject* named = naming_.owned(*segment);
    return Place{host_, *segment, named == nullptr ? 0 : named->name.key};
  }
  const StandIn* stand_in = naming_.stand_in(Kind::kSegment, id);
  if (stand_in == nullptr) return std::nullopt;
  return Place{stand_in->owner, stand_in->object, stand_in->name.key};
}

void SegmentCalls::on_request(const LocalRequest& request) {
  if (request.header.op == local::Op::kAttached) return attached(request);
  const auto place = find(request.header.id);
  if (!place) {
    // Its offer, if this is about one, ended with the segment; there is nothing left to be counted.
    const bool gone = request.header.op == local::Op::kDetached;
    return reply(request.client, request.header.call, gone ? 0 : EINVAL);
  }
  const StandIn* stand_in = naming_.stand_in(Kind::kSegment, request.header.id);
  if (stand_in != nullptr && request.header.op != local::Op::kDetached && naming_.forget_lost_stand_in(*stand_in)) {
    return reply(request.client, request.header.call, EIDRM);
  }
  if (request.header.op == local::Op::kDetached) return detached(request, *place);
  if (place->owner != host_ && request.header.op == local::Op::kAttach) {
    const auto key = segments_.key(place->owner, place->segment);
    const auto attach = std::make_shared<LocalRequest>(request);
    return segments_.when_known(key, [this, attach, key, place = *place] {
      if (!segments_.may_begin(key)) return reply(attach->client, attach->header.call, EIDRM);
      local_calls_.begin(*attach, place.owner, place.segment, 0, place.key);
    });
  }
  // What programs of this host have done before is in what the owner is asked now.
  const auto shared = std::make_shared<LocalRequest>(request);
  segments_.settle(segments_.key(place->owner, place->segment), 0, [this, shared, place = *place] {
    if (shared->header.op == local::Op::kAttach) return begin(*shared, place);
    if (place.owner != host_) return local_calls_.begin(*shared, place.owner, place.segment, 0);
    control(*shared, place);
  });
}

// ---- segments of this host

void SegmentCalls::control(const LocalRequest& request, const Place& place) {
  const auto body = call_of(request, place.segment);
  if (!body) return reply(request.client, request.header.call, EINVAL);
  const LocalCredentials& who = request.credentials;
  const Reply result = segments_.call(host_, local_identity(who.uid, who.gid, who.pid), who.pid, *body);
  if (result.error == Error::kStale) return reply(request.client, request.header.call, EINVAL);
  const LocalAnswer answer = answer_of(result, request.header.call, request.abi);
  programs_->reply(request.client, answer.header, answer.payload);
}

void SegmentCalls::begin(const LocalRequest& request, const Place& place) {
  const auto body = call_of(request, place.segment);
  const LocalCredentials& who = request.credentials;
  const Reply result = segments_.call(host_, local_identity(who.uid, who.gid, who.pid), who.pid, *body);
  const auto* shape = std::get_if<AttachReply>(&result.body);
  if (shape == nullptr) {
    const Error error = result.error == Error::kStale ? Error::kInvalid : result.error;
    return reply(request.client, request.header.call, to_errno(error));
  }
  on_granted({.owner = host_,
              .segment = place.segment,
              .shape = *shape,
              .writable = !std::get<SegmentAttach>(*body).read_only,
              .uid = who.uid,
              .key = place.key,
              .abi = request.abi,
              .client = request.client,
              .call = request.header.call});
}

// ---- attaching

// Whether the struct that the owner declares is the same in this program.
bool SegmentCalls::may_have(const LocalCalls::Granted& granted) const {
  const auto own = granted.owner == host_ ? nullptr : types_.segments.find(granted.key);
  const auto why = objection(granted.shape, granted.owner, measured_abi(), granted.abi, own.get());
  if (!why) return true;
  const std::string name = granted.key == 0 ? "shm with id " + std::to_string(granted.segment.id)
                                            : format_name({Kind::kSegment, granted.key});
  log_trouble(LogLevel::kWarning, "types",
              {name + " of " + granted.owner + ": " + why->what + "; " + std::string(errno_name(Error::kInvalid)),
               why->remedy});
  return false;
}

void SegmentCalls::on_granted(const LocalCalls::Granted& granted) {
  if (!granted.call) return segments_.refuse_granted(granted.owner, granted.segment);
  if (segments_.has_room_for(granted.shape) && !may_have(granted)) {
    segments_.refuse_granted(granted.owner, granted.segment);
    return reply(granted.client, *granted.call, EINVAL);
  }
  const auto key = segments_.key(granted.owner, granted.segment);
  auto offer = segments_.begin(key, granted.shape, granted.writable, granted.uid);
  if (!offer) return reply(granted.client, *granted.call, to_errno(offer.error()));
  local::AttachOffer payload;
  payload.paging = offer->kind == PagerKind::kUserfault ? local::Paging::kUserfault : local::Paging::kSignal;
  payload.writable = granted.writable ? 1 : 0;
  local::Reply header;
  header.call = *granted.call;
  header.value = static_cast<std::int64_t>(offer->ticket);
  header.extra = static_cast<std::int64_t>(offer->map_bytes);
  const std::array<int, 2> descriptors = {offer->memory.get(), offer->pager.get()};
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(&payload), sizeof(payload));
  on_client_gone(granted.client);  // an earlier offer that it has not answered
  offers_.insert_or_assign(granted.client, Offer{key, offer->ticket});
  if (!programs_->reply(granted.client, header, bytes, false, descriptors)) on_client_gone(granted.client);
}

void SegmentCalls::attached(const LocalRequest& request) {
  const auto found = offers_.find(request.client);
  const ClientId client = request.client;
  const std::uint64_t call = request.header.call;
  if (found == offers_.end() || static_cast<std::int64_t>(found->second.ticket) != request.header.value) {
    return reply(client, call, EINVAL);
  }
  const Offer offer = found->second;
  offers_.erase(found);
  if (request.header.command != 0) {
    segments_.withdraw(offer.segment, offer.ticket);
    return reply(client, call, 0);
  }
  Descriptor userfaultfd;
  if (request.passed) userfaultfd = std::move(*request.passed);
  segments_.attached(offer.segment, offer.ticket, request.credentials.pid,
                     static_cast<std::uint64_t>(request.header.type), std::move(userfaultfd),
                     [this, client, call](int error) { reply(client, call, error); });
}

void SegmentCalls::detached(const LocalRequest& request, const Place& place) {
  segments_.settle(segments_.key(place.owner, place.segment), request.credentials.pid,
                   [this, client = request.client, call = request.header.call] { reply(client, call, 0); });
}

void SegmentCalls::on_client_gone(ClientId client) {
  const auto found = offers_.find(client);
  if (found == offers_.end()) return;
  const Offer offer = found->second;
  offers_.erase(found);
  segments_.withdraw(offer.segment, offer.ticket);
}

}  // namespace dipc
