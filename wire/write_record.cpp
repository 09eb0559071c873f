#include "wire/write_record.h"

#include "wire/check.h"
#include "wire/framing.h"
#include "wire/schema_enums.h"
#include "wire/write_parts.h"

namespace dipc {
namespace {

using dipc::write;  // of parts

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

// What is not set is not written: most payloads are bytes.
template <typename Builder>
void write_form(Builder to, const PayloadForm& from) {
  if (from == PayloadForm{}) return;
  schema::PayloadForm::Builder form = to.initForm();
  form.setLayout(from.layout);
  form.setStructure(from.structure);
  form.setPadded(from.padded);
  if (from.logins.empty()) return;
  auto logins = form.initLogins(count(from.logins.size()));
  for (unsigned i = 0; i < logins.size(); ++i) logins.set(i, text(from.logins[i]));
}

void write(schema::Call::Send::Builder to, const MessageSend& from) {
  write(to.initObject(), from.object);
  to.setType(from.type);
  to.setText(data(from.text));
  to.setDeclaredBytes(from.declared_bytes);
  to.setNoWait(from.no_wait);
  to.setUnreadable(from.unreadable);
  write_form(to, from.form);
  if (from.abi) write(to.initAbi(), *from.abi);
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
  to.setLayout(from.layout);
  to.setStructure(from.structure);
  if (from.abi) write(to.initAbi(), *from.abi);
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

void write(schema::Call::Attach::Builder to, const SegmentAttach& from) {
  write(to.initObject(), from.object);
  to.setReadOnly(from.read_only);
  to.setExecutable(from.executable);
  to.setPageBytes(from.page_bytes);
  if (from.abi) write(to.initAbi(), *from.abi);
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
                 [&](const SegmentAttach& body) { write(to.initAttach(), body); },
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
  to.setAttachTime(from.attach_time_s);
  to.setDetachTime(from.detach_time_s);
  to.setSegmentBytes(from.segment_bytes);
  to.setAttachments(from.attachments);
  to.setCreatorPid(from.creator_pid);
  to.setLastPid(from.last_pid);
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
                   write_form(message, body.form);
                 },
                 [&](const Stat& body) { write(to.initStat(), body); },
                 [&](const std::vector<std::uint16_t>& body) { write(to.initValues(count(body.size())), body); },
                 [&](const AttachReply& body) {
                   auto attach = to.initAttach();
                   attach.setSegmentBytes(body.segment_bytes);
                   attach.setUnitBytes(body.unit_bytes);
                   attach.setHoldNs(body.hold_ns);
                   attach.setDeclarations(text(body.declarations));
                   write(attach.initAbi(), body.abi);
                 },
             },
             from.body);
}

void write(schema::Resolve::Builder to, const Resolve& from) {
  to.setRequest(number(from.id));
  write(to.initName(), from.name);
  to.setCreate(from.create);
  to.setExclusive(from.exclusive);
  to.setHome(text(from.home));
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
  to.setClaimant(text(from.claimant));
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
    row.setUnconverted(from.rows[i].unconverted);
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
                 [&](const Returned& message) {
                   auto returned = to.initReturned();
                   returned.setId(number(message.id));
                   if (!message.unfit.empty()) returned.setUnfit(text(message.unfit));
                 },
                 [&](const ProcessEnded& message) { write(to.initProcessEnded(), message.process); },
                 [&](const Resolve& message) { write(to.initResolve(), message); },
                 [&](const Resolved& message) { write(to.initResolved(), message); },
                 [&](const Register& message) { write(to.initRegister(), message); },
                 [&](const Registered& message) {
                   auto registered = to.initRegistered();
                   registered.setRequest(number(message.id));
                   registered.setAccepted(message.accepted);
                 },
                 [&](const Abandon& message) {
                   auto abandon = to.initAbandon();
                   abandon.setClaim(number(message.claim));
                 },
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
                 [&](const AskLayout& message) { write(to.initAskLayout(), message.queue); },
                 [&](const QueueDeclarations& message) {
                   auto declarations = to.initQueueDeclarations();
                   write(declarations.initQueue(), message.queue);
                   declarations.setText(text(message.text));
                 },
                 [&](const DeclarationsChanged&) { to.setDeclarationsChanged(); },
                 [&](const AskNumber& message) { to.setAskNumber(message.number); },
                 [&](const HostNumber& message) { to.setHostNumber(message.number); },
                 [&](const ListObjects& message) { to.setListObjects(number(message.id)); },
                 [&](const ObjectList& message) { write(to.initObjectList(), message); },
                 [&](const SegmentReport& message) { write(to.initSegmentReport(), message); },
                 [&](const SegmentOrder& message) { write(to.initSegmentOrder(), message); },
                 [&](const HeldPage& message) { write(to.initHeldPage(), message); },
             },
             *from.message);
}

}  // namespace

void write(schema::Record::Builder to, const Record& from) {
  std::visit(Overloaded{
                 [&](const Hello& record) { write(to.initHello(), record); },
                 [&](const Refusal& record) { write(to.initRefusal(), record); },
                 [&](const Frame& record) { write(to.initFrame(), record); },
             },
             from);
}

}  // namespace dipc
