#include "wire/codec.h"

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <kj/exception.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "wire/check.h"
#include "wire/peer.capnp.h"

namespace dipc {
namespace {

using capnp::word;

// Enough for nearly every record; longer ones get a heap segment of about their size.
constexpr std::size_t kScratchWords = 256;
constexpr std::size_t kScratchTextBytes = 1024;
// Structs within structs from Record down to a Text: seven today.
constexpr int kNestingMax = 16;

template <typename... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};
template <typename... Functions>
Overloaded(Functions...) -> Overloaded<Functions...>;  // clang 14 does not deduce it for an aggregate

template <typename Enum>
constexpr auto number(Enum value) {
  return static_cast<std::underlying_type_t<Enum>>(value);
}

// ---- enumerators: the same numbers on both sides, so that a cast will do. The last ones are compared

template <typename Schema, typename Plain, Schema kSchemaLast, Plain kPlainLast>
struct SameEnum {
  static_assert(static_cast<unsigned>(kSchemaLast) == static_cast<unsigned>(kPlainLast), "an enumerator is missing");
  static Schema to_schema(Plain value) { return static_cast<Schema>(value); }
  static Plain to_plain(Schema value, const char* what) {
    KJ_REQUIRE(static_cast<unsigned>(value) <= static_cast<unsigned>(kSchemaLast), "unknown enumerator", what,
               static_cast<unsigned>(value));
    return static_cast<Plain>(value);
  }
};

using Kinds = SameEnum<schema::Kind, Kind, schema::Kind::SEGMENT, Kind::kSegment>;
using Errors = SameEnum<schema::Error, Error, schema::Error::STALE, Error::kStale>;
using ByteOrders = SameEnum<schema::Abi::ByteOrder, ByteOrder, schema::Abi::ByteOrder::BIG, ByteOrder::kBig>;
using Commands = SameEnum<schema::Call::Control::Command, ControlCommand,
                          schema::Call::Control::Command::GET_WAITING_FOR_ZERO, ControlCommand::kGetWaitingForZero>;
using Reasons =
    SameEnum<schema::Refusal::Reason, Refusal::Reason, schema::Refusal::Reason::SELF, Refusal::Reason::kSelf>;
static_assert(number(schema::Error::INVALID) == number(Error::kInvalid));
static_assert(number(schema::Error::NO_SPACE) == number(Error::kNoSpace));
static_assert(number(schema::Call::Control::Command::GET_ALL) == number(ControlCommand::kGetAll));

// ---- plain values into a builder

kj::StringPtr text(const std::string& value) { return {value.c_str(), value.size()}; }

kj::ArrayPtr<const kj::byte> data(const Bytes& value) {
  return {reinterpret_cast<const kj::byte*>(value.data()), value.size()};
}

unsigned count(std::size_t elements) {
  DIPC_CHECK(elements <= kRecordBytesMax);
  return static_cast<unsigned>(elements);
}

void write(schema::ObjectName::Builder to, const ObjectName& from) {
  to.setKind(Kinds::to_schema(from.kind));
  to.setKey(from.key);
}

void write(schema::ObjectRef::Builder to, const ObjectRef& from) {
  to.setKind(Kinds::to_schema(from.kind));
  to.setId(from.id);
  to.setGeneration(from.generation);
}

void write(schema::ProcessId::Builder to, const ProcessId& from) {
  to.setPid(from.pid);
  to.setStartTicks(from.start_ticks);
}

void write(schema::Abi::Builder to, const Abi& from) {
  to.setByteOrder(ByteOrders::to_schema(from.byte_order));
  auto types = to.initTypes(count(from.types.size()));
  for (unsigned i = 0; i < types.size(); ++i) {
    types[i].setSizeBytes(from.types[i].size_bytes);
    types[i].setAlignBytes(from.types[i].align_bytes);
  }
}

void write(schema::Hello::Builder to, const Hello& from) {
  to.setProtocolMin(from.protocol_min);
  to.setProtocolMax(from.protocol_max);
  to.setCluster(text(from.cluster));
  to.setReferee(text(from.referee));
  to.setHost(text(from.host));
  to.setIncarnation(number(from.incarnation));
  to.setBoot(text(from.boot));
  to.setSession(number(from.session));
  to.setResumes(from.resumes);
  to.setLastReceived(from.last_received);
  write(to.initAbi(), from.abi);
  to.setPageBytes(from.page_bytes);
}

void write(schema::Refusal::Builder to, const Refusal& from) {
  to.setReason(Reasons::to_schema(from.reason));
  to.setText(text(from.text));
}

void write(schema::Call::Get::Builder to, const GetCall& from) {
  write(to.initName(), from.name);
  to.setCreate(from.create);
  to.setExclusive(from.exclusive);
  to.setMode(from.mode);
  to.setSize(from.size);
  if (from.claim) to.getClaim().setNumber(number(*from.claim));
}

void write(schema::Call::Send::Builder to, const MessageSend& from) {
  write(to.initObject(), from.object);
  to.setType(from.type);
  to.setText(data(from.text));
  to.setDeclaredBytes(from.declared_bytes);
  to.setNoWait(from.no_wait);
  to.setUnreadable(from.unreadable);
}

void write(schema::Call::Receive::Builder to, const MessageReceive& from) {
  write(to.initObject(), from.object);
  to.setType(from.type);
  to.setMaxBytes(from.max_bytes);
  to.setNoWait(from.no_wait);
  to.setNoError(from.no_error);
  to.setExcept(from.except);
  to.setCopy(from.copy);
  to.setTypeBytes(from.type_bytes);
}

void write(schema::Call::Operate::Builder to, const SemaphoreOperate& from) {
  write(to.initObject(), from.object);
  auto ops = to.initOps(count(from.ops.size()));
  for (unsigned i = 0; i < ops.size(); ++i) {
    ops[i].setNumber(from.ops[i].number);
    ops[i].setDelta(from.ops[i].delta);
    ops[i].setNoWait(from.ops[i].no_wait);
    ops[i].setUndo(from.ops[i].undo);
  }
  to.setDeclaredOps(from.declared_ops);
  if (from.timeout_ns) to.getTimeout().setNs(*from.timeout_ns);
  to.setUnreadable(from.unreadable);
}

void write(capnp::List<std::uint16_t>::Builder to, const std::vector<std::uint16_t>& from) {
  for (unsigned i = 0; i < to.size(); ++i) to.set(i, from[i]);
}

void write(schema::Permissions::Builder to, const Permissions& from) {
  to.setOwnerLogin(text(from.owner_login));
  to.setGroupName(text(from.group_name));
  to.setUid(from.uid);
  to.setGid(from.gid);
  to.setMode(from.mode);
  to.setQueueBytes(from.queue_bytes);
}

void write(schema::Call::Control::Builder to, const Control& from) {
  write(to.initObject(), from.object);
  to.setCommand(Commands::to_schema(from.command));
  to.setSemaphore(from.semaphore);
  to.setValue(from.value);
  if (!from.values.empty()) write(to.initValues(count(from.values.size())), from.values);
  if (from.set) write(to.getSet().initPermissions(), *from.set);
  to.setUnreadable(from.unreadable);
}

void write(schema::Call::Builder to, const Call& from) {
  to.setId(number(from.id));
  to.setLogin(text(from.caller.login));
  write(to.initProcess(), from.caller.process);
  to.setHoldsUndo(from.holds_undo);
  std::visit(Overloaded{
                 [&](const GetCall& body) { write(to.initGet(), body); },
                 [&](const MessageSend& body) { write(to.initSend(), body); },
                 [&](const MessageReceive& body) { write(to.initReceive(), body); },
                 [&](const SemaphoreOperate& body) { write(to.initOperate(), body); },
                 [&](const Control& body) { write(to.initControl(), body); },
             },
             from.body);
}

void write(schema::Stat::Builder to, const Stat& from) {
  to.setKey(from.key);
  to.setUid(from.uid);
  to.setGid(from.gid);
  to.setCuid(from.cuid);
  to.setCgid(from.cgid);
  to.setOwnerLogin(text(from.owner_login));
  to.setGroupName(text(from.group_name));
  to.setCreatorLogin(text(from.creator_login));
  to.setCreatorGroupName(text(from.creator_group_name));
  to.setMode(from.mode);
  to.setSequence(from.sequence);
  to.setChangeTime(from.change_time_s);
  to.setSendTime(from.send_time_s);
  to.setReceiveTime(from.receive_time_s);
  to.setUsedBytes(from.used_bytes);
  to.setMessages(from.messages);
  to.setQueueBytes(from.queue_bytes);
  to.setLastSenderPid(from.last_sender_pid);
  to.setLastReceiverPid(from.last_receiver_pid);
  to.setOperationTime(from.operation_time_s);
  to.setSemaphores(from.semaphores);
}

void write(schema::Reply::Builder to, const Reply& from) {
  to.setId(number(from.id));
  to.setError(Errors::to_schema(from.error));
  to.setValue(from.value);
  std::visit(Overloaded{
                 [&](std::monostate) { to.setNone(); },
                 [&](const GetReply& body) {
                   auto get = to.initGet();
                   write(get.initObject(), body.object);
                   get.setSize(body.size);
                 },
                 [&](const Message& body) {
                   auto message = to.initMessage();
                   message.setType(body.type);
                   message.setText(data(body.text));
                 },
                 [&](const Stat& body) { write(to.initStat(), body); },
                 [&](const std::vector<std::uint16_t>& body) { write(to.initValues(count(body.size())), body); },
             },
             from.body);
}

void write(schema::Resolve::Builder to, const Resolve& from) {
  to.setRequest(number(from.id));
  write(to.initName(), from.name);
  to.setCreate(from.create);
  to.setExclusive(from.exclusive);
}

void write(schema::Resolved::Builder to, const Resolved& from) {
  to.setRequest(number(from.id));
  switch (from.outcome) {
    case Resolved::Outcome::kPresent: {
      auto present = to.initPresent();
      present.setOwner(text(from.owner));
      present.setGeneration(from.generation);
      break;
    }
    case Resolved::Outcome::kAbsent:
      to.setAbsent();
      break;
    case Resolved::Outcome::kCreate:
      to.setCreate(number(from.claim));
      break;
  }
}

void write(schema::Register::Builder to, const Register& from) {
  to.setRequest(number(from.id));
  to.setClaim(number(from.claim));
  write(to.initName(), from.name);
  to.setGeneration(from.generation);
}

void write(schema::NamedObject::Builder to, const ObjectName& name, std::uint64_t generation) {
  write(to.initName(), name);
  to.setGeneration(generation);
}

void write(capnp::List<schema::NamedObject>::Builder to, const std::vector<NamedObject>& from) {
  for (unsigned i = 0; i < to.size(); ++i) write(to[i], from[i].name, from[i].generation);
}

void write(schema::ObjectList::Builder to, const ObjectList& from) {
  to.setRequest(number(from.id));
  auto rows = to.initRows(count(from.rows.size()));
  for (unsigned i = 0; i < rows.size(); ++i) {
    auto row = rows[i];
    write(row.initName(), from.rows[i].name);
    row.setId(from.rows[i].id);
    row.setGeneration(from.rows[i].generation);
    row.setOwnerLogin(text(from.rows[i].owner_login));
    row.setMode(from.rows[i].mode);
    row.setUsedBytes(from.rows[i].used_bytes);
    row.setMessages(from.rows[i].messages);
    row.setSemaphores(from.rows[i].semaphores);
  }
}

void write(schema::Frame::Builder to, const Frame& from) {
  to.setSequence(from.sequence);
  to.setAcknowledged(from.acknowledged);
  if (!from.message) return;
  std::visit(Overloaded{
                 [&](const Call& message) { write(to.initCall(), message); },
                 [&](const Reply& message) { write(to.initReply(), message); },
                 [&](const Cancel& message) { to.initCancel().setId(number(message.id)); },
                 [&](const Taken& message) { to.initTaken().setId(number(message.id)); },
                 [&](const Returned& message) { to.initReturned().setId(number(message.id)); },
                 [&](const ProcessEnded& message) { write(to.initProcessEnded(), message.process); },
                 [&](const Resolve& message) { write(to.initResolve(), message); },
                 [&](const Resolved& message) { write(to.initResolved(), message); },
                 [&](const Register& message) { write(to.initRegister(), message); },
                 [&](const Registered& message) {
                   auto registered = to.initRegistered();
                   registered.setRequest(number(message.id));
                   registered.setAccepted(message.accepted);
                 },
                 [&](const Abandon& message) { to.initAbandon().setClaim(number(message.claim)); },
                 [&](const Removed& message) { write(to.initRemoved(), message.name, message.generation); },
                 [&](const Dropped& message) { write(to.initDropped(), message.name, message.generation); },
                 [&](const Announce& message) {
                   auto announce = to.initAnnounce();
                   write(announce.initOwned(count(message.owned.size())), message.owned);
                   write(announce.initUsed(count(message.used.size())), message.used);
                   announce.setLast(message.last);
                 },
                 [&](const Announced& message) {
                   write(to.initAnnounced().initRefused(count(message.refused.size())), message.refused);
                 },
                 [&](const UndoHolders& message) {
                   auto holders = to.initUndoHolders(count(message.processes.size()));
                   for (unsigned i = 0; i < holders.size(); ++i) write(holders[i], message.processes[i]);
                 },
                 [&](const ListObjects& message) { to.setListObjects(number(message.id)); },
                 [&](const ObjectList& message) { write(to.initObjectList(), message); },
             },
             *from.message);
}

void write(schema::Record::Builder to, const Record& from) {
  std::visit(Overloaded{
                 [&](const Hello& record) { write(to.initHello(), record); },
                 [&](const Refusal& record) { write(to.initRefusal(), record); },
                 [&](const Frame& record) { write(to.initFrame(), record); },
             },
             from);
}

// Bytes that the record holds beyond what fits the scratch segment anyway.
std::size_t bulk_bytes(const Record& record) {
  const auto* frame = std::get_if<Frame>(&record);
  if (frame == nullptr || !frame->message) return 0;
  if (const auto* call = std::get_if<Call>(&*frame->message)) {
    if (const auto* send = std::get_if<MessageSend>(&call->body)) return send->text.size();
    if (const auto* operate = std::get_if<SemaphoreOperate>(&call->body)) return operate->ops.size() * sizeof(word);
    if (const auto* control = std::get_if<Control>(&call->body)) return control->values.size() * 2;
  } else if (const auto* reply = std::get_if<Reply>(&*frame->message)) {
    if (const auto* message = std::get_if<Message>(&reply->body)) return message->text.size();
    if (const auto* values = std::get_if<std::vector<std::uint16_t>>(&reply->body)) return values->size() * 2;
  }
  return 0;
}

void append(Bytes& into, const void* from, std::size_t bytes) {
  const auto* begin = static_cast<const std::byte*>(from);
  into.insert(into.end(), begin, begin + bytes);
}

// Prefix, segment table (Cap'n Proto's stream framing), segments.
void append_record(Bytes& into, kj::ArrayPtr<const kj::ArrayPtr<const word>> segments) {
  Bytes many;
  std::array<std::byte, 64> few{};
  const std::size_t table_bytes = (segments.size() + 2) / 2 * sizeof(word);
  std::span<std::byte> head(few);
  if (kLengthPrefixBytes + table_bytes > few.size()) {
    many.resize(kLengthPrefixBytes + table_bytes);
    head = many;
  }
  head = head.first(kLengthPrefixBytes + table_bytes);
  std::size_t length = table_bytes;
  store_length_prefix(head.subspan(kLengthPrefixBytes).first<4>(), static_cast<std::uint32_t>(segments.size() - 1));
  for (std::size_t i = 0; i < segments.size(); ++i) {
    store_length_prefix(head.subspan(kLengthPrefixBytes + 4 * (i + 1)).first<4>(),
                        static_cast<std::uint32_t>(segments[i].size()));
    length += segments[i].size() * sizeof(word);
  }
  DIPC_CHECK(length <= kRecordBytesMax);
  store_length_prefix(head.first<4>(), static_cast<std::uint32_t>(length));
  append(into, head.data(), head.size());
  for (const auto& segment : segments) append(into, segment.begin(), segment.size() * sizeof(word));
}

// ---- readers into plain values

std::string string(capnp::Text::Reader from) { return {from.begin(), from.size()}; }

Bytes bytes(capnp::Data::Reader from) {
  const auto* begin = reinterpret_cast<const std::byte*>(from.begin());
  return {begin, begin + from.size()};
}

ObjectName read(schema::ObjectName::Reader from) { return {Kinds::to_plain(from.getKind(), "kind"), from.getKey()}; }

ObjectRef read(schema::ObjectRef::Reader from) {
  return {Kinds::to_plain(from.getKind(), "kind"), from.getId(), from.getGeneration()};
}

ProcessId read(schema::ProcessId::Reader from) { return {from.getPid(), from.getStartTicks()}; }

Abi read(schema::Abi::Reader from) {
  Abi to;
  to.byte_order = ByteOrders::to_plain(from.getByteOrder(), "byte order");
  const auto types = from.getTypes();
  for (unsigned i = 0; i < types.size() && i < to.types.size(); ++i) {
    to.types[i] = TypeShape{types[i].getSizeBytes(), types[i].getAlignBytes()};
  }
  return to;
}

Hello read(schema::Hello::Reader from) {
  Hello to;
  to.protocol_min = from.getProtocolMin();
  to.protocol_max = from.getProtocolMax();
  to.cluster = string(from.getCluster());
  to.referee = string(from.getReferee());
  to.host = string(from.getHost());
  to.incarnation = Incarnation{from.getIncarnation()};
  to.boot = string(from.getBoot());
  to.session = SessionNumber{from.getSession()};
  to.resumes = from.getResumes();
  to.last_received = from.getLastReceived();
  to.abi = read(from.getAbi());
  to.page_bytes = from.getPageBytes();
  return to;
}

Refusal read(schema::Refusal::Reader from) {
  return {Reasons::to_plain(from.getReason(), "refusal"), string(from.getText())};
}

GetCall read(schema::Call::Get::Reader from) {
  GetCall to;
  to.name = read(from.getName());
  to.create = from.getCreate();
  to.exclusive = from.getExclusive();
  to.mode = from.getMode();
  to.size = from.getSize();
  const auto claim = from.getClaim();
  switch (claim.which()) {
    case schema::Call::Get::Claim::NONE:
      return to;
    case schema::Call::Get::Claim::NUMBER:
      to.claim = ClaimId{claim.getNumber()};
      return to;
  }
  KJ_FAIL_REQUIRE("unknown kind of claim");
}

MessageSend read(schema::Call::Send::Reader from) {
  MessageSend to;
  to.object = read(from.getObject());
  to.type = from.getType();
  to.text = bytes(from.getText());
  to.declared_bytes = from.getDeclaredBytes();
  to.no_wait = from.getNoWait();
  to.unreadable = from.getUnreadable();
  return to;
}

MessageReceive read(schema::Call::Receive::Reader from) {
  MessageReceive to;
  to.object = read(from.getObject());
  to.type = from.getType();
  to.max_bytes = from.getMaxBytes();
  to.no_wait = from.getNoWait();
  to.no_error = from.getNoError();
  to.except = from.getExcept();
  to.copy = from.getCopy();
  to.type_bytes = from.getTypeBytes();
  return to;
}

SemaphoreOperate read(schema::Call::Operate::Reader from) {
  SemaphoreOperate to;
  to.object = read(from.getObject());
  const auto ops = from.getOps();
  to.ops.reserve(ops.size());
  for (const auto op : ops) to.ops.push_back({op.getNumber(), op.getDelta(), op.getNoWait(), op.getUndo()});
  to.declared_ops = from.getDeclaredOps();
  to.unreadable = from.getUnreadable();
  const auto timeout = from.getTimeout();
  switch (timeout.which()) {
    case schema::Call::Operate::Timeout::NONE:
      return to;
    case schema::Call::Operate::Timeout::NS:
      to.timeout_ns = timeout.getNs();
      return to;
  }
  KJ_FAIL_REQUIRE("unknown kind of timeout");
}

std::vector<std::uint16_t> read(capnp::List<std::uint16_t>::Reader from) {
  std::vector<std::uint16_t> to;
  to.reserve(from.size());
  for (const std::uint16_t value : from) to.push_back(value);
  return to;
}

Permissions read(schema::Permissions::Reader from) {
  Permissions to;
  to.owner_login = string(from.getOwnerLogin());
  to.group_name = string(from.getGroupName());
  to.uid = from.getUid();
  to.gid = from.getGid();
  to.mode = from.getMode();
  to.queue_bytes = from.getQueueBytes();
  return to;
}

Control read(schema::Call::Control::Reader from) {
  Control to;
  to.object = read(from.getObject());
  to.command = Commands::to_plain(from.getCommand(), "control command");
  to.semaphore = from.getSemaphore();
  to.value = from.getValue();
  to.values = read(from.getValues());
  to.unreadable = from.getUnreadable();
  const auto set = from.getSet();
  switch (set.which()) {
    case schema::Call::Control::Set::NONE:
      return to;
    case schema::Call::Control::Set::PERMISSIONS:
      to.set = read(set.getPermissions());
      return to;
  }
  KJ_FAIL_REQUIRE("unknown kind of set");
}

CallBody read_body(schema::Call::Reader from) {
  switch (from.which()) {
    case schema::Call::GET:
      return read(from.getGet());
    case schema::Call::SEND:
      return read(from.getSend());
    case schema::Call::RECEIVE:
      return read(from.getReceive());
    case schema::Call::OPERATE:
      return read(from.getOperate());
    case schema::Call::CONTROL:
      return read(from.getControl());
  }
  KJ_FAIL_REQUIRE("unknown call", static_cast<unsigned>(from.which()));
}

Call read(schema::Call::Reader from) {
  Call to;
  to.id = CallId{from.getId()};
  to.caller.login = string(from.getLogin());
  to.caller.process = read(from.getProcess());
  to.holds_undo = from.getHoldsUndo();
  to.body = read_body(from);
  return to;
}

Stat read(schema::Stat::Reader from) {
  Stat to;
  to.key = from.getKey();
  to.uid = from.getUid();
  to.gid = from.getGid();
  to.cuid = from.getCuid();
  to.cgid = from.getCgid();
  to.owner_login = string(from.getOwnerLogin());
  to.group_name = string(from.getGroupName());
  to.creator_login = string(from.getCreatorLogin());
  to.creator_group_name = string(from.getCreatorGroupName());
  to.mode = from.getMode();
  to.sequence = from.getSequence();
  to.change_time_s = from.getChangeTime();
  to.send_time_s = from.getSendTime();
  to.receive_time_s = from.getReceiveTime();
  to.used_bytes = from.getUsedBytes();
  to.messages = from.getMessages();
  to.queue_bytes = from.getQueueBytes();
  to.last_sender_pid = from.getLastSenderPid();
  to.last_receiver_pid = from.getLastReceiverPid();
  to.operation_time_s = from.getOperationTime();
  to.semaphores = from.getSemaphores();
  return to;
}

ReplyBody read_body(schema::Reply::Reader from) {
  switch (from.which()) {
    case schema::Reply::NONE:
      return std::monostate{};
    case schema::Reply::GET:
      return GetReply{read(from.getGet().getObject()), from.getGet().getSize()};
    case schema::Reply::MESSAGE:
      return Message{from.getMessage().getType(), bytes(from.getMessage().getText())};
    case schema::Reply::STAT:
      return read(from.getStat());
    case schema::Reply::VALUES:
      return read(from.getValues());
  }
  KJ_FAIL_REQUIRE("unknown reply", static_cast<unsigned>(from.which()));
}

Reply read(schema::Reply::Reader from) {
  Reply to;
  to.id = CallId{from.getId()};
  to.error = Errors::to_plain(from.getError(), "error");
  to.value = from.getValue();
  to.body = read_body(from);
  return to;
}

Resolve read(schema::Resolve::Reader from) {
  return {RequestId{from.getRequest()}, read(from.getName()), from.getCreate(), from.getExclusive()};
}

Resolved read(schema::Resolved::Reader from) {
  Resolved to;
  to.id = RequestId{from.getRequest()};
  switch (from.which()) {
    case schema::Resolved::PRESENT:
      to.outcome = Resolved::Outcome::kPresent;
      to.owner = string(from.getPresent().getOwner());
      to.generation = from.getPresent().getGeneration();
      return to;
    case schema::Resolved::ABSENT:
      to.outcome = Resolved::Outcome::kAbsent;
      return to;
    case schema::Resolved::CREATE:
      to.outcome = Resolved::Outcome::kCreate;
      to.claim = ClaimId{from.getCreate()};
      return to;
  }
  KJ_FAIL_REQUIRE("unknown outcome", static_cast<unsigned>(from.which()));
}

Register read(schema::Register::Reader from) {
  return {RequestId{from.getRequest()}, ClaimId{from.getClaim()}, read(from.getName()), from.getGeneration()};
}

std::vector<NamedObject> read(capnp::List<schema::NamedObject>::Reader from) {
  std::vector<NamedObject> to;
  to.reserve(from.size());
  for (const auto object : from) to.push_back({read(object.getName()), object.getGeneration()});
  return to;
}

ObjectList read(schema::ObjectList::Reader from) {
  ObjectList to;
  to.id = RequestId{from.getRequest()};
  const auto rows = from.getRows();
  to.rows.reserve(rows.size());
  for (const auto row : rows) {
    to.rows.push_back({read(row.getName()), row.getId(), row.getGeneration(), string(row.getOwnerLogin()),
                       row.getMode(), row.getUsedBytes(), row.getMessages(), row.getSemaphores()});
  }
  return to;
}

std::optional<PeerMessage> read_message(schema::Frame::Reader from) {
  switch (from.which()) {
    case schema::Frame::NONE:
      return std::nullopt;
    case schema::Frame::CALL:
      return read(from.getCall());
    case schema::Frame::REPLY:
      return read(from.getReply());
    case schema::Frame::CANCEL:
      return Cancel{CallId{from.getCancel().getId()}};
    case schema::Frame::TAKEN:
      return Taken{CallId{from.getTaken().getId()}};
    case schema::Frame::RETURNED:
      return Returned{CallId{from.getReturned().getId()}};
    case schema::Frame::PROCESS_ENDED:
      return ProcessEnded{read(from.getProcessEnded())};
    case schema::Frame::RESOLVE:
      return read(from.getResolve());
    case schema::Frame::RESOLVED:
      return read(from.getResolved());
    case schema::Frame::REGISTER:
      return read(from.getRegister());
    case schema::Frame::REGISTERED:
      return Registered{RequestId{from.getRegistered().getRequest()}, from.getRegistered().getAccepted()};
    case schema::Frame::ABANDON:
      return Abandon{ClaimId{from.getAbandon().getClaim()}};
    case schema::Frame::REMOVED:
      return Removed{read(from.getRemoved().getName()), from.getRemoved().getGeneration()};
    case schema::Frame::DROPPED:
      return Dropped{read(from.getDropped().getName()), from.getDropped().getGeneration()};
    case schema::Frame::ANNOUNCE:
      return Announce{read(from.getAnnounce().getOwned()), read(from.getAnnounce().getUsed()),
                      from.getAnnounce().getLast()};
    case schema::Frame::ANNOUNCED:
      return Announced{read(from.getAnnounced().getRefused())};
    case schema::Frame::UNDO_HOLDERS: {
      UndoHolders holders;
      for (const auto process : from.getUndoHolders()) holders.processes.push_back(read(process));
      return holders;
    }
    case schema::Frame::LIST_OBJECTS:
      return ListObjects{RequestId{from.getListObjects()}};
    case schema::Frame::OBJECT_LIST:
      return read(from.getObjectList());
  }
  KJ_FAIL_REQUIRE("unknown message", static_cast<unsigned>(from.which()));
}

Frame read(schema::Frame::Reader from) { return {from.getSequence(), from.getAcknowledged(), read_message(from)}; }

Record read(schema::Record::Reader from) {
  switch (from.which()) {
    case schema::Record::HELLO:
      return read(from.getHello());
    case schema::Record::REFUSAL:
      return read(from.getRefusal());
    case schema::Record::FRAME:
      return read(from.getFrame());
  }
  KJ_FAIL_REQUIRE("unknown record", static_cast<unsigned>(from.which()));
}

Record read_words(kj::ArrayPtr<const word> words) {
  capnp::ReaderOptions options;
  // Pointers may point at the same thing many times over; a record that does must not unfold to more than it is.
  options.traversalLimitInWords = 2 * words.size() + 64;
  options.nestingLimit = kNestingMax;
  capnp::FlatArrayMessageReader reader(words, options);
  KJ_REQUIRE(reader.getEnd() == words.end(), "bytes after the message");
  return read(reader.getRoot<schema::Record>());
}

}  // namespace

void encode(const Record& record, Bytes& into) {
  const std::size_t bulk = bulk_bytes(record);
  if (bulk <= kScratchTextBytes) {
    alignas(sizeof(word)) std::array<word, kScratchWords> scratch{};
    capnp::MallocMessageBuilder builder(kj::arrayPtr(scratch.data(), scratch.size()));
    write(builder.initRoot<schema::Record>(), record);
    append_record(into, builder.getSegmentsForOutput());
  } else {
    capnp::MallocMessageBuilder builder(static_cast<unsigned>(bulk / sizeof(word) + kScratchWords));
    write(builder.initRoot<schema::Record>(), record);
    append_record(into, builder.getSegmentsForOutput());
  }
}

Bytes encode(const Record& record) {
  Bytes encoded;
  encode(record, encoded);
  return encoded;
}

Result<Record> decode(std::span<const std::byte> bytes) {
  if (bytes.empty() || bytes.size() % sizeof(word) != 0) {
    return trouble("bad record: " + std::to_string(bytes.size()) + " bytes are no Cap'n Proto message");
  }
  try {
    const std::size_t words = bytes.size() / sizeof(word);
    // Cap'n Proto asks for more than alignof(word) where a machine aligns 64 bits to less (m68k: 2).
    if (reinterpret_cast<std::uintptr_t>(bytes.data()) % sizeof(word) == 0) {
      return read_words({reinterpret_cast<const word*>(bytes.data()), words});
    }
    if (words <= kScratchWords) {
      alignas(sizeof(word)) std::array<word, kScratchWords> scratch;
      std::memcpy(scratch.data(), bytes.data(), bytes.size());
      return read_words({scratch.data(), words});
    }
    auto copy = kj::heapArray<word>(words);
    std::memcpy(copy.asBytes().begin(), bytes.data(), bytes.size());
    return read_words(copy);
  } catch (const kj::Exception& exception) {
    return trouble(std::string("bad record: ") + exception.getDescription().cStr(),
                   "does the peer run a newer dipcd? Otherwise something between the hosts damages data");
  }
}

}  // namespace dipc
