#pragma once

// Messages of other hosts' programs to and from this host's queues, converted: what comes leaves the form in which it
// travels for that of this daemon, in which it rests in the kernel for local programs; what is received travels in the
// form that the receiver's host was told (QueueDeclarations). LAYOUTS.md has what can be refused; each refusal is
// logged with queue, field and value.
//
// In: declarations_of(), entering(), leaving(), on_*()   Out: their answers   Owns: what it needs of receives under way
// to answer them, and how many messages passed unconverted.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tl/expected.hpp>

#include "daemon/core/logins_map.h"
#include "daemon/core/typed_payload.h"
#include "daemon/kernel/executor.h"
#include "daemon/kernel/users.h"
#include "daemon/typed_calls.h"

namespace dipc {

class TypedQueues {
 public:
  // All borrowed; `logins` may change between calls (reload).
  TypedQueues(Users& users, const LoginsMap& logins, const HostTypes& here)
      : users_(users), logins_(logins), here_(here) {}

  // What the messages of our queue with this key are, to be told to who asks. Empty: bytes.
  std::string declarations_of(std::int32_t key);

  // A call that came, made this host's own; those that are no msgsnd or msgrcv stay as they are. The room of a receive
  // of declared messages is for the executor. The error is the caller's.
  tl::expected<std::optional<ReceiveRoom>, Error> entering(const CallKey& key, const ObjectName& queue, CallBody& body);
  // The reply to such a call, as the executor gave it. After an error: the message is unfit for its receiver.
  tl::expected<void, Unfit> leaving(const CallKey& key, Reply& reply);

  void on_session_began(const std::string& host, const Abi& abi) { abis_.insert_or_assign(host, abi); }
  void on_session_ended(const std::string& host);
  void forget(const ObjectRef& queue) { unconverted_.erase(queue); }

  // Messages without a declaration that went to or came from a machine that writes structs otherwise.
  std::uint64_t unconverted(const ObjectRef& queue) const;

 private:
  struct Receive {  // under way
    ObjectName name;
    ObjectRef queue;
    Abi abi;
    std::shared_ptr<const QueueLayout> layout;  // null: bytes
    std::uint64_t room_bytes = 0;
    bool cut = false;
  };
  const Abi& abi_of(const std::string& host, const std::optional<Abi>& said) const;
  std::shared_ptr<const QueueLayout> told(std::uint64_t fingerprint) const;
  tl::expected<void, Error> enter_send(const CallKey& key, const ObjectName& queue, MessageSend& send);
  Error refuse(const std::string& host, const ObjectName& queue, const Unfit& unfit) const;
  void note_unconverted(const ObjectName& name, const ObjectRef& queue, const std::string& host, const Abi& abi);

  Users& users_;
  const LoginsMap& logins_;
  const HostTypes& here_;
  std::map<std::string, Abi> abis_;
  // All that was ever told: calls that were made by it may still come, or wait here, when it holds no more.
  std::map<std::uint64_t, std::shared_ptr<const QueueLayout>> told_;
  std::map<CallKey, Receive> receives_;
  std::map<ObjectRef, std::uint64_t> unconverted_;
};

}  // namespace dipc
