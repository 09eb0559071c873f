#include "daemon/typed_calls.h"

#include <algorithm>

#include "daemon/core/object_name.h"
#include "daemon/io/log.h"

namespace dipc {
namespace {

std::string named(const TypedCalls::Queue& queue) {
  return format_name({Kind::kMessageQueue, queue.key}) + " of " + queue.owner;
}

IdsLeaving::NameOf names_of(Users& users) {
  return [&users](Meaning meaning, std::uint32_t id) {
    return meaning == Meaning::kUid ? users.login_of(id) : users.group_name_of(id);
  };
}

IdsEntering::IdOf ids_of(Users& users) {
  return [&users](Meaning meaning, const std::string& name) -> std::optional<std::uint32_t> {
    if (meaning == Meaning::kUid) return users.uid_of(name);
    return users.gid_of(name);
  };
}

}  // namespace

bool TypedCalls::on_declarations(const std::string& owner, const QueueDeclarations& declarations) {
  const auto found = known_.find({owner, declarations.queue});
  if (found == known_.end() || !found->second.asked) return false;
  Known& known = found->second;
  known.asked = false;
  if (!declarations.text.empty()) {
    auto layout = QueueLayout::parse(declarations.text);
    if (layout) {
      known.layout = std::move(*layout);
    } else {
      known.nonsense = layout.error().what;
    }
  }
  known.refusal = judge(owner, known);
  return true;
}

void TypedCalls::on_reload() {
  for (auto& [queue, known] : known_) {
    if (!known.asked) known.refusal = judge(queue.first, known);
  }
}

// Not while calls wait for the answer.
void TypedCalls::forget(const std::string& owner, const ObjectRef& queue) {
  const auto found = known_.find({owner, queue});
  if (found != known_.end() && !found->second.asked) known_.erase(found);
}

void TypedCalls::on_changed(const std::string& owner) {
  std::erase_if(known_, [&](const auto& entry) { return entry.first.first == owner && !entry.second.asked; });
}

void TypedCalls::on_session_ended(const std::string& owner) {
  std::erase_if(known_, [&](const auto& entry) { return entry.first.first == owner; });
}

std::optional<Unfit> TypedCalls::judge(const std::string& owner, const Known& known) const {
  if (!known.nonsense.empty()) {
    return Unfit{Error::kInvalid,
                 {owner + " declares what this host can't read: " + known.nonsense,
                  "have the same version of dipcd on both hosts"}};
  }
  const auto own = here_.queues.find(known.key);
  if (own == nullptr) return std::nullopt;
  std::string difference;
  if (known.layout == nullptr) {
    difference = "this host declares them, " + owner + " does not";
  } else {
    difference = QueueLayout::difference(*own, "this host", *known.layout, owner);
  }
  if (difference.empty()) return std::nullopt;
  return Unfit{Error::kInvalid,
               {"its messages are declared otherwise here: " + difference,
                "declare the same in types.d of both hosts, or on " + owner + " alone"}};
}

Error TypedCalls::refuse(const Queue& queue, const Unfit& unfit) const {
  log_trouble(LogLevel::kWarning, "types",
              {named(queue) + ": " + unfit.why.what + "; " + std::string(errno_name(unfit.error)), unfit.why.remedy});
  return unfit.error;
}

std::optional<tl::expected<TypedCalls::Expected, Error>> TypedCalls::leaving(const Queue& queue, const Abi& abi,
                                                                             CallBody& body) {
  const auto [found, is_new] = known_.try_emplace({queue.owner, queue.object}, Known{.key = queue.key});
  if (is_new && !peers_.send(queue.owner, AskLayout{queue.object})) {
    known_.erase(found);
    return tl::unexpected(Error::kHostUnreachable);
  }
  const Known& known = found->second;
  if (known.asked) return std::nullopt;
  auto* send = std::get_if<MessageSend>(&body);
  auto* receive = std::get_if<MessageReceive>(&body);
  if (send == nullptr && receive == nullptr) return Expected{};
  std::optional<Abi>& said = send != nullptr ? send->abi : receive->abi;
  if (abi != measured_abi()) said = abi;
  if (known.refusal) return tl::unexpected(refuse(queue, *known.refusal));
  const auto& layout = known.layout;
  if (layout == nullptr) return Expected{};
  if (receive != nullptr) {
    const Expected expected{layout, receive->max_bytes, receive->no_error};
    if (const auto left = type_leaving(*layout, *receive, here_.number); !left) {
      return tl::unexpected(refuse(queue, left.error()));
    }
    return expected;
  }
  // The owner's kernel says what is wrong with what can't be read.
  if (send->unreadable) return Expected{};
  IdsLeaving ids(here_.number, names_of(users_));
  auto form = dipc::leaving(*layout, abi, send->type, send->text, ids);
  if (!form) return tl::unexpected(refuse(queue, form.error()));
  send->form = std::move(*form);
  send->declared_bytes = send->text.size();
  return Expected{};
}

tl::expected<void, Unfit> TypedCalls::entering(const Queue& queue, const Abi& abi, const Expected& expected,
                                               Reply& reply) {
  auto* message = std::get_if<Message>(&reply.body);
  if (expected.layout == nullptr || message == nullptr || reply.error != Error::kNone) return {};
  IdsEntering ids(here_.number, message->form.logins, ids_of(users_));
  const std::uint64_t room = expected.cut ? UINT64_MAX : expected.room_bytes;
  auto entered = dipc::entering(*expected.layout, abi, message->form, message->type, message->text, ids, room);
  if (!entered) {
    refuse(queue, entered.error());
    return entered;
  }
  if (expected.cut) cut(message->text, expected.room_bytes);
  reply.value = static_cast<std::int64_t>(message->text.size());
  return {};
}

}  // namespace dipc
