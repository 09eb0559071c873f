#include "daemon/typed_queues.h"

#include "arch/abi_names.h"
#include "daemon/core/object_name.h"
#include "daemon/io/log.h"

namespace dipc {

std::string TypedQueues::declarations_of(std::int32_t key) {
  const auto layout = here_.queues.find(key);
  if (layout == nullptr) return {};
  told_.emplace(layout->fingerprint(), layout);
  return layout->text();
}

const Abi& TypedQueues::abi_of(const std::string& host, const std::optional<Abi>& said) const {
  static constexpr Abi kOwn = measured_abi();
  if (said) return *said;
  const auto known = abis_.find(host);
  return known == abis_.end() ? kOwn : known->second;
}

std::shared_ptr<const QueueLayout> TypedQueues::told(std::uint64_t fingerprint) const {
  const auto found = told_.find(fingerprint);
  return found == told_.end() ? nullptr : found->second;
}

Error TypedQueues::refuse(const std::string& host, const ObjectName& queue, const Unfit& unfit) const {
  log_trouble(
      LogLevel::kWarning, "types",
      {format_name(queue) + ", for " + host + ": " + unfit.why.what + "; " + std::string(errno_name(unfit.error)),
       unfit.why.remedy});
  return unfit.error;
}

tl::expected<std::optional<ReceiveRoom>, Error> TypedQueues::entering(const CallKey& key, const ObjectName& queue,
                                                                      CallBody& body) {
  if (auto* send = std::get_if<MessageSend>(&body)) {
    if (const auto entered = enter_send(key, queue, *send); !entered) return tl::unexpected(entered.error());
    return std::nullopt;
  }
  auto* receive = std::get_if<MessageReceive>(&body);
  if (receive == nullptr) return std::nullopt;
  const Abi& abi = abi_of(key.host, receive->abi);
  Receive under_way{.name = queue,
                    .queue = receive->object,
                    .abi = abi,
                    .layout = told(receive->layout),
                    .room_bytes = receive->max_bytes,
                    .cut = receive->no_error};
  if (under_way.layout == nullptr) {
    if (receive->layout != 0) return tl::unexpected(Error::kInvalid);  // nothing that we ever told
    if (abi != measured_abi()) receives_.insert_or_assign(key, std::move(under_way));
    return std::nullopt;
  }
  if (const auto entered = type_entering(*under_way.layout, *receive, here_.number); !entered) {
    return tl::unexpected(refuse(key.host, queue, entered.error()));
  }
  std::optional<ReceiveRoom> room;
  if (text_bytes_wanted(*receive)) {  // else the kernel says EINVAL
    room = room_for(*under_way.layout, measured_abi(), abi, *receive);
    if (!room) return tl::unexpected(Error::kInvalid);
  }
  receives_.insert_or_assign(key, std::move(under_way));
  return room;
}

tl::expected<void, Error> TypedQueues::enter_send(const CallKey& key, const ObjectName& queue, MessageSend& send) {
  if (send.form.structure == 0) {
    const Abi& abi = abi_of(key.host, send.abi);
    if (abi != measured_abi() && !send.text.empty()) note_unconverted(queue, send.object, key.host, abi);
    return {};
  }
  const auto layout = told(send.form.layout);
  if (layout == nullptr) return tl::unexpected(Error::kInvalid);
  IdsEntering ids(here_.number, send.form.logins,
                  [&](Meaning meaning, const std::string& name) -> std::optional<std::uint32_t> {
                    if (meaning == Meaning::kGid) return users_.gid_of(name);
                    const auto mapped = logins_.map(name, key.host);
                    return mapped ? users_.uid_of(mapped->local) : std::nullopt;
                  });
  const auto entered = dipc::entering(*layout, measured_abi(), send.form, send.type, send.text, ids, UINT64_MAX);
  if (!entered) return tl::unexpected(refuse(key.host, queue, entered.error()));
  send.declared_bytes = send.text.size();
  return {};
}

tl::expected<void, Unfit> TypedQueues::leaving(const CallKey& key, Reply& reply) {
  const auto found = receives_.find(key);
  if (found == receives_.end()) return {};
  const Receive receive = std::move(found->second);
  receives_.erase(found);
  auto* message = std::get_if<Message>(&reply.body);
  if (message == nullptr || reply.error != Error::kNone) return {};
  const bool is_of_another_abi = receive.abi != measured_abi();
  if (receive.layout == nullptr) {
    if (!message->text.empty()) note_unconverted(receive.name, receive.queue, key.host, receive.abi);
    return {};
  }
  IdsLeaving ids(here_.number, [&](Meaning meaning, std::uint32_t id) {
    if (meaning == Meaning::kGid) return users_.group_name_of(id);
    return logins_.login_at_peer(users_.login_of(id), key.host).value_or("");
  });
  auto form = dipc::leaving(*receive.layout, measured_abi(), message->type, message->text, ids);
  if (!form) {
    refuse(key.host, receive.name, form.error());
    return tl::unexpected(form.error());
  }
  message->form = std::move(*form);
  if (message->form.structure == 0) {
    if (receive.cut) cut(message->text, receive.room_bytes);
    if (is_of_another_abi && !message->text.empty()) {
      note_unconverted(receive.name, receive.queue, key.host, receive.abi);
    }
  }
  reply.value = static_cast<std::int64_t>(message->text.size());
  return {};
}

void TypedQueues::on_session_ended(const std::string& host) {
  std::erase_if(receives_, [&](const auto& entry) { return entry.first.host == host; });
}

void TypedQueues::note_unconverted(const ObjectName& name, const ObjectRef& queue, const std::string& host,
                                   const Abi& abi) {
  constexpr std::size_t kQueuesMax = 65'536;
  if (unconverted_.size() >= kQueuesMax && !unconverted_.contains(queue)) unconverted_.clear();
  if (++unconverted_[queue] > 1) return;
  log_trouble(LogLevel::kWarning, "types",
              {format_name(name) + " carries messages without a declaration between this host, " +
                   spoken(measured_abi()) + ", and a program of " + host + ", " + spoken(abi),
               "unless they are text, declare them in types.d; dipcctl objects counts them"});
}

std::uint64_t TypedQueues::unconverted(const ObjectRef& queue) const {
  const auto found = unconverted_.find(queue);
  return found == unconverted_.end() ? 0 : found->second;
}

}  // namespace dipc
