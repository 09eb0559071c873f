#include "daemon/core/typed_payload.h"

#include <algorithm>

#include "wire/framing.h"

namespace dipc {
namespace {

constexpr char kSameAbis[] = "programs and their libdipc.so must be of one build";

tl::unexpected<Unfit> unfit(Error error, std::string what, std::string remedy) {
  return tl::unexpected<Unfit>(Unfit{error, {std::move(what), std::move(remedy)}});
}

tl::unexpected<Unfit> unfit(const Conversion& conversion, const Converted& failed) {
  return tl::unexpected<Unfit>(Unfit{failed.error, conversion.describe(failed)});
}

tl::unexpected<Unfit> no_such_machine() {
  return unfit(Error::kInvalid, "a message is for a program of a machine that there can't be", kSameAbis);
}

tl::expected<std::int64_t, Unfit> pid_type(const QueueLayout& layout, std::size_t structure,
                                           const IdRewriter::Answer& answer, std::int64_t type) {
  if (answer.error == Error::kNone) return answer.value;
  return unfit(answer.error,
               "the mtype of struct " + layout.types().structs[structure].name + " is " + std::to_string(type) +
                   ", which is no process id here",
               "send to the pid that a request carried; the number of this host comes from the referee");
}

}  // namespace

tl::expected<PayloadForm, Unfit> leaving(const QueueLayout& layout, const Abi& abi, std::int64_t& type, Bytes& text,
                                         IdsLeaving& ids) {
  PayloadForm form;
  form.layout = layout.fingerprint();
  const auto structure = layout.structure_for(type);
  if (!structure) return form;
  const auto conversion = layout.to_canonical(*structure, abi);
  if (!conversion) return no_such_machine();
  if (layout.mtype_is_pid(*structure)) {
    const auto pid = pid_type(layout, *structure, ids.rewrite(Meaning::kPid, type), type);
    if (!pid) return tl::unexpected(pid.error());
    type = *pid;
  }
  const std::size_t room = std::min<std::size_t>(conversion->largest_result_bytes(text.size()), kTextBytesMax);
  Bytes canonical(room);
  const Converted done = conversion->convert({text, {}}, canonical, &ids);
  if (done.error != Error::kNone) return unfit(*conversion, done);
  canonical.resize(done.bytes);
  text = std::move(canonical);
  form.structure = static_cast<std::uint16_t>(*structure + 1);
  form.padded = done.ending == Ending::kPadded;
  form.logins = ids.take_logins();
  return form;
}

tl::expected<void, Unfit> entering(const QueueLayout& layout, const Abi& abi, const PayloadForm& form,
                                   std::int64_t& type, Bytes& text, IdsEntering& ids, std::uint64_t room_bytes) {
  if (form.structure == 0) return {};
  const std::size_t structure = form.structure - std::size_t{1};
  if (!layout.has(structure)) {
    return unfit(Error::kInvalid, "a message is in the form of a struct that is not declared", kSameAbis);
  }
  const auto conversion = layout.from_canonical(structure, abi);
  if (!conversion) return no_such_machine();
  if (layout.mtype_is_pid(structure)) {
    const auto pid = pid_type(layout, structure, ids.rewrite(Meaning::kPid, type), type);
    if (!pid) return tl::unexpected(pid.error());
    type = *pid;
  }
  const std::uint64_t largest = std::min<std::uint64_t>(conversion->largest_result_bytes(text.size()), kTextBytesMax);
  Bytes native(static_cast<std::size_t>(std::min(largest, room_bytes)));
  const Ending ending = form.padded ? Ending::kPadded : Ending::kLastField;
  const Converted done = conversion->convert({text, ending}, native, &ids);
  if (done.error != Error::kNone) {
    auto failed = unfit(*conversion, done);
    if (!ids.unknown().empty()) failed.value().why.what += " (" + ids.unknown() + ")";
    return failed;
  }
  native.resize(done.bytes);
  text = std::move(native);
  return {};
}

tl::expected<void, Unfit> type_leaving(const QueueLayout& layout, MessageReceive& receive, std::uint16_t own_number) {
  receive.layout = layout.fingerprint();
  receive.structure = 0;
  if (receive.copy) return {};  // the type is a place in the queue
  if (receive.type < 0 && layout.any_mtype_is_pid()) {
    return unfit(Error::kInvalid,
                 "msgrcv asks for types up to " + std::to_string(receive.type).substr(1) +
                     " of a queue whose types are process ids, which have no order between hosts",
                 "ask for one process id, or for any type");
  }
  if (receive.type <= 0) return {};
  const auto structure = layout.structure_for(receive.type);
  if (!structure) return {};
  receive.structure = static_cast<std::uint16_t>(*structure + 1);
  if (!layout.mtype_is_pid(*structure)) return {};
  const auto pid = pid_type(layout, *structure, pid_leaving(receive.type, own_number), receive.type);
  if (!pid) return tl::unexpected(pid.error());
  receive.type = *pid;
  return {};
}

tl::expected<void, Unfit> type_entering(const QueueLayout& layout, MessageReceive& receive, std::uint16_t own_number) {
  if (receive.structure == 0) return {};
  const std::size_t structure = receive.structure - std::size_t{1};
  if (!layout.has(structure)) {
    return unfit(Error::kInvalid, "msgrcv asks for a struct that is not declared", kSameAbis);
  }
  if (!layout.mtype_is_pid(structure)) return {};
  const auto pid = pid_type(layout, structure, pid_entering(receive.type, own_number), receive.type);
  if (!pid) return tl::unexpected(pid.error());
  receive.type = *pid;
  return {};
}

std::optional<ReceiveRoom> room_for(const QueueLayout& layout, const Abi& own, const Abi& theirs,
                                    const MessageReceive& receive) {
  ReceiveRoom room;
  room.cut = receive.no_error;
  const auto of = [&](std::optional<std::size_t> structure) -> std::optional<std::uint64_t> {
    if (receive.no_error) return kTextBytesMax;
    if (!structure) return std::min<std::uint64_t>(receive.max_bytes, kTextBytesMax);
    const auto conversion = layout.between(*structure, own, theirs);
    if (!conversion) return std::nullopt;
    const std::uint64_t there = std::min<std::uint64_t>(receive.max_bytes, kPayloadBytesMax);
    // Nothing fits: no payload of the struct is so short.
    return conversion->largest_source_bytes(static_cast<std::size_t>(there)).value_or(0);
  };
  const bool asks_for_one = receive.type > 0 && !receive.except && !receive.copy;
  if (asks_for_one) {
    std::optional<std::size_t> structure;
    if (receive.structure != 0) structure = receive.structure - std::size_t{1};
    const auto bytes = of(structure);
    if (!bytes) return std::nullopt;
    room.otherwise = *bytes;
    return room;
  }
  for (const Binding::MtypeCase& one : layout.binding().cases) {
    const auto bytes = of(one.structure);
    if (!bytes) return std::nullopt;
    room.types.push_back({one.first, one.last, *bytes});
  }
  const auto bytes = of(layout.binding().otherwise);
  if (!bytes) return std::nullopt;
  room.otherwise = *bytes;
  return room;
}

}  // namespace dipc
