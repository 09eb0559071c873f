#include "wire/read_record.h"

#include <kj/debug.h>

#include "wire/read_parts.h"
#include "wire/schema_enums.h"

namespace dipc {
namespace {

using dipc::read;  // of parts

Bytes bytes(capnp::Data::Reader from) {
  const auto* begin = reinterpret_cast<const std::byte*>(from.begin());
  return {begin, begin + from.size()};
}

ObjectName read(schema::ObjectName::Reader from) { return {Kinds::to_plain(from.getKind(), "kind"), from.getKey()}; }

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

std::vector<std::string> read(capnp::List<capnp::Text>::Reader from) {
  std::vector<std::string> to;
  to.reserve(from.size());
  for (const auto one : from) to.push_back(string(one));
  return to;
}

PayloadForm read(schema::PayloadForm::Reader from) {
  return {from.getLayout(), from.getStructure(), from.getPadded(), read(from.getLogins())};
}

std::optional<Abi> read_if_said(schema::Abi::Reader from) {
  if (from.getTypes().size() == 0) return std::nullopt;
  return read(from);
}

MessageSend read(schema::Call::Send::Reader from) {
  MessageSend to;
  to.object = read(from.getObject(), Kind::kMessageQueue);
  to.type = from.getType();
  to.text = bytes(from.getText());
  to.declared_bytes = from.getDeclaredBytes();
  to.no_wait = from.getNoWait();
  to.unreadable = from.getUnreadable();
  to.form = read(from.getForm());
  to.abi = read_if_said(from.getAbi());
  return to;
}

MessageReceive read(schema::Call::Receive::Reader from) {
  MessageReceive to;
  to.object = read(from.getObject(), Kind::kMessageQueue);
  to.type = from.getType();
  to.max_bytes = from.getMaxBytes();
  to.no_wait = from.getNoWait();
  to.no_error = from.getNoError();
  to.except = from.getExcept();
  to.copy = from.getCopy();
  to.type_bytes = from.getTypeBytes();
  to.layout = from.getLayout();
  to.structure = from.getStructure();
  to.abi = read_if_said(from.getAbi());
  return to;
}

SemaphoreOperate read(schema::Call::Operate::Reader from) {
  SemaphoreOperate to;
  to.object = read(from.getObject(), Kind::kSemaphoreSet);
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

SegmentAttach read(schema::Call::Attach::Reader from) {
  return {read(from.getObject(), Kind::kSegment), from.getReadOnly(), from.getExecutable(), from.getPageBytes(),
          read_if_said(from.getAbi())};
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
    case schema::Call::ATTACH:
      return read(from.getAttach());
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
  to.attach_time_s = from.getAttachTime();
  to.detach_time_s = from.getDetachTime();
  to.segment_bytes = from.getSegmentBytes();
  to.attachments = from.getAttachments();
  to.creator_pid = from.getCreatorPid();
  to.last_pid = from.getLastPid();
  return to;
}

AttachReply read(schema::Reply::Attach::Reader from) {
  return {from.getSegmentBytes(), from.getUnitBytes(), from.getHoldNs(), string(from.getDeclarations()),
          read(from.getAbi())};
}

ReplyBody read_body(schema::Reply::Reader from) {
  switch (from.which()) {
    case schema::Reply::NONE:
      return std::monostate{};
    case schema::Reply::GET:
      return GetReply{read(from.getGet().getObject()), from.getGet().getSize()};
    case schema::Reply::MESSAGE:
      return Message{from.getMessage().getType(), bytes(from.getMessage().getText()),
                     read(from.getMessage().getForm())};
    case schema::Reply::STAT:
      return read(from.getStat());
    case schema::Reply::VALUES:
      return read(from.getValues());
    case schema::Reply::ATTACH:
      return read(from.getAttach());
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
  return {RequestId{from.getRequest()}, read(from.getName()), from.getCreate(), from.getExclusive(),
          string(from.getHome())};
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
  return {RequestId{from.getRequest()}, ClaimId{from.getClaim()}, read(from.getName()), from.getGeneration(),
          string(from.getClaimant())};
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
                       row.getMode(), row.getUsedBytes(), row.getMessages(), row.getSemaphores(),
                       row.getUnconverted()});
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
      return Returned{CallId{from.getReturned().getId()}, string(from.getReturned().getUnfit())};
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
    case schema::Frame::ASK_LAYOUT:
      return AskLayout{read(from.getAskLayout())};
    case schema::Frame::QUEUE_DECLARATIONS:
      return QueueDeclarations{read(from.getQueueDeclarations().getQueue()),
                               string(from.getQueueDeclarations().getText())};
    case schema::Frame::DECLARATIONS_CHANGED:
      return DeclarationsChanged{};
    case schema::Frame::ASK_NUMBER:
      return AskNumber{from.getAskNumber()};
    case schema::Frame::HOST_NUMBER:
      return HostNumber{from.getHostNumber()};
    case schema::Frame::LIST_OBJECTS:
      return ListObjects{RequestId{from.getListObjects()}};
    case schema::Frame::OBJECT_LIST:
      return read(from.getObjectList());
    case schema::Frame::SEGMENT_REPORT:
      return read(from.getSegmentReport());
    case schema::Frame::SEGMENT_ORDER:
      return read(from.getSegmentOrder());
    case schema::Frame::HELD_PAGE:
      return read(from.getHeldPage());
  }
  KJ_FAIL_REQUIRE("unknown message", static_cast<unsigned>(from.which()));
}

Frame read(schema::Frame::Reader from) { return {from.getSequence(), from.getAcknowledged(), read_message(from)}; }

}  // namespace

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

}  // namespace dipc
