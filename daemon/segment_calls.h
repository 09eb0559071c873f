#pragma once

// shmat, shmdt and shmctl of this host's programs, whoever owns the segment: LocalCalls takes those of other hosts'
// segments to their owners, those of our own are judged here as their callers. A shmat is three requests of one client
// (wire/local.h): kAttach is granted by the owner and answered with an offer, kAttached makes it an attachment,
// kDetached ends it.
//
// In: on_*()   Out: ShimServer::reply, Segments, LocalCalls   Owns: offers that programs have and have not answered.

#include <functional>
#include <map>
#include <string>
#include <utility>

#include "daemon/io/shim_server.h"
#include "daemon/local_calls.h"
#include "daemon/naming.h"
#include "daemon/segments.h"

namespace dipc {

class SegmentCalls {
 public:
  // All borrowed. `host`: this one.
  SegmentCalls(std::string host, Segments& segments, Naming& naming, LocalCalls& local_calls, const HostTypes& types)
      : host_(std::move(host)), segments_(segments), naming_(naming), local_calls_(local_calls), types_(types) {}
  void attach(ShimServer& programs) { programs_ = &programs; }

  // kControl of a segment, kAttach, kAttached, kDetached.
  void on_request(const LocalRequest& request);
  void on_granted(const LocalCalls::Granted& granted);
  void on_client_gone(ClientId client);

  // Whether the id is a distributed segment's, on this host.
  bool knows(std::int32_t id) const { return find(id).has_value(); }

 private:
  struct Place {
    std::string owner;
    ObjectRef segment;
    std::int32_t key = 0;
  };
  struct Offer {
    AttachedSegments::Key segment;
    AttachTicket ticket{};
  };
  std::optional<Place> find(std::int32_t id) const;
  bool may_have(const LocalCalls::Granted& granted) const;
  void control(const LocalRequest& request, const Place& place);
  void begin(const LocalRequest& request, const Place& place);
  void attached(const LocalRequest& request);
  void detached(const LocalRequest& request, const Place& place);
  void reply(ClientId client, std::uint64_t call, int error);

  std::string host_;
  Segments& segments_;
  Naming& naming_;
  LocalCalls& local_calls_;
  const HostTypes& types_;
  ShimServer* programs_ = nullptr;
  std::map<ClientId, Offer> offers_;  // a thread attaches one at a time
};

}  // namespace dipc
