#pragma once

// Messages of this host's programs to and from queues of other hosts, converted: what the owner declares is asked for
// once in a session, before the first call on a queue; then what a program sends leaves its own form here, and what it
// receives enters it. LAYOUTS.md has what can be refused; each refusal is logged with queue, field and value.
//
// A queue of which this host's own administrator has declared something else is refused (EINVAL, and the first
// difference in the log): one of the two is wrong, and either would spoil values silently.
//
// In: leaving(), entering(), on_*()   Out: PeerOutbox (AskLayout)   Owns: what owners have declared.

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <utility>

#include "daemon/core/typed_payload.h"
#include "daemon/io/peer_outbox.h"
#include "daemon/kernel/users.h"
#include "layouts/segment_layout.h"

namespace dipc {

// What this host's administrator has declared, and the number by which other hosts know its pids. Changes with a
// reload, and by the referee's word.
struct HostTypes {
  QueueLayouts queues;
  SegmentLayouts segments;
  std::uint16_t number = 0;  // 0: none yet
};

class TypedCalls {
 public:
  // All borrowed.
  TypedCalls(PeerOutbox& peers, Users& users, const HostTypes& here) : peers_(peers), users_(users), here_(here) {}

  struct Queue {
    std::string owner;
    ObjectRef object;
    std::int32_t key = 0;
  };
  // How to take the reply of a receive apart. `layout` is null where messages are bytes.
  struct Expected {
    std::shared_ptr<const QueueLayout> layout;
    std::uint64_t room_bytes = 0;  // msgsz
    bool cut = false;              // MSG_NOERROR
  };
  // Makes a msgsnd or msgrcv of a program of `abi` what travels; any other call on a queue stays as it is. Nothing: the
  // call is to wait, since the owner has yet to say what the messages are (on_declarations()). The error is the
  // program's: kHostUnreachable where the owner can't be asked.
  std::optional<tl::expected<Expected, Error>> leaving(const Queue& queue, const Abi& abi, CallBody& body);
  // Makes the message in a reply, if there is one, what the program gets. After an error: what to tell the owner.
  tl::expected<void, Unfit> entering(const Queue& queue, const Abi& abi, const Expected& expected, Reply& reply);

  // False: nobody had asked.
  bool on_declarations(const std::string& owner, const QueueDeclarations& declarations);
  // HostTypes::queues are others now.
  void on_reload();
  // There is no such queue any more.
  void forget(const std::string& owner, const ObjectRef& queue);
  // It declares something else now: to be asked again. What is asked already, it answers by that.
  void on_changed(const std::string& owner);
  // Nobody answers any more.
  void on_session_ended(const std::string& owner);

 private:
  struct Known {
    std::int32_t key = 0;
    bool asked = true;  // and not answered yet
    std::shared_ptr<const QueueLayout> layout;
    std::string nonsense;          // what is wrong with the answer; empty: nothing
    std::optional<Unfit> refusal;  // of each msgsnd and msgrcv
  };
  std::optional<Unfit> judge(const std::string& owner, const Known& known) const;
  Error refuse(const Queue& queue, const Unfit& unfit) const;

  PeerOutbox& peers_;
  Users& users_;
  const HostTypes& here_;
  std::map<std::pair<std::string, ObjectRef>, Known> known_;
};

}  // namespace dipc
