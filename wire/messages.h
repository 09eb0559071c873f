#pragma once

// What two daemons say to each other, as plain values. peer.capnp is the specification (who sends what, when, and what
// a disconnect loses); codec.{h,cpp} is the only place where the two meet. Nothing here knows about sockets or Cap'n
// Proto, so the state machines in daemon/core can use it.

#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "arch/abi.h"
#include "wire/bytes.h"
#include "wire/errors.h"
#include "wire/page_messages.h"

namespace dipc {

enum class Kind : std::uint8_t { kMessageQueue, kSemaphoreSet, kSegment };

// The name under which a cluster knows an object. IPC_PRIVATE (0) names nothing: such objects go by ObjectRef alone.
struct ObjectName {
  Kind kind{};
  std::int32_t key = 0;
  auto operator<=>(const ObjectName&) const = default;
};

// An object on its owner: the id in the owner's kernel, and the generation that the owner gave it when it was made. An
// id that the kernel hands out again has another generation, so a stale reference is never taken for the new object.
struct ObjectRef {
  Kind kind{};
  std::int32_t id = 0;
  std::uint64_t generation = 0;
  auto operator<=>(const ObjectRef&) const = default;
};

// A process on the host that sends it. `start_ticks` is field 22 of /proc/PID/stat, so a reused pid is another process.
struct ProcessId {
  std::int32_t pid = 0;
  std::uint64_t start_ticks = 0;
  auto operator<=>(const ProcessId&) const = default;
};

// Who calls: the login name of the caller's effective uid on its own host, to be mapped by the owner (logins.map).
struct Caller {
  std::string login;
  ProcessId process;
  bool operator==(const Caller&) const = default;
};

// Chosen by the caller's daemon, unique within one incarnation of it.
enum class CallId : std::uint64_t {};
// Chosen by the referee, unique for ever (high bits come from its incarnation).
enum class ClaimId : std::uint64_t {};
// One run of one daemon, random.
enum class Incarnation : std::uint64_t {};
// Given by the host that dials; 0 is "none".
enum class SessionNumber : std::uint64_t {};

// ---- before a session: one Hello from each side of a fresh connection, the dialler's first

struct Hello {
  std::uint16_t protocol_min = 0;
  std::uint16_t protocol_max = 0;
  std::string cluster;
  std::string referee;
  std::string host;
  Incarnation incarnation{};
  std::string boot;                 // boot id of the host's kernel and its IPC namespace; changes when objects are gone
  SessionNumber session{};          // dialler: the session to resume or to begin. Acceptor: the same number
  bool resumes = false;             // dialler: asks to resume. Acceptor: it did; false = the session begins anew
  std::uint64_t last_received = 0;  // sequence number of the last frame delivered in this session, 0 = none
  Abi abi{};
  std::uint32_t page_bytes = 0;
  bool operator==(const Hello&) const = default;
};

// The other answer to a Hello; the connection is closed after it.
struct Refusal {
  enum class Reason : std::uint8_t {
    kProtocolVersion,
    kCluster,
    kReferee,
    kNotAllowed,
    kNameInUse,
    kAlreadyConnected,
    kUnknownSession,
    kSelf
  };
  Reason reason{};
  std::string text;  // for the other side's log
  bool operator==(const Refusal&) const = default;
};

// ---- calls: caller's host -> owner

// msgget, semget: run on the owner with the kernel's own judgement; shmget: with the daemon's. `claim` is set when the
// referee said "you create it" (the owner then registers with it); without a claim the object must exist or, for key 0,
// is always made.
struct GetCall {
  ObjectName name;
  bool create = false;
  bool exclusive = false;
  std::uint32_t mode = 0;  // the low nine bits of the get flags
  std::int64_t size = 0;   // nsems; bytes of a segment
  std::optional<ClaimId> claim;
  bool operator==(const GetCall&) const = default;
};

// What a payload is on its way. Where its queue has declared structs it is in their canonical form (layouts/), which
// has no place for what C's padding says or for the names that a uid or gid stands for.
struct PayloadForm {
  std::uint64_t layout = 0;         // fingerprint of the declarations that its sender went by; 0: it knows of none
  std::uint16_t structure = 0;      // from 1: the canonical form of this one of them. 0: bytes, as they were sent
  bool padded = false;              // up to the struct's end, not only to its last field
  std::vector<std::string> logins;  // what uid and gid fields are numbers of, from 0
  bool operator==(const PayloadForm&) const = default;
};

// `declared_bytes` is msgsz as the program gave it. Where the program's buffer can't be read it is more than
// text.size() and `unreadable` is set: the owner then makes the call with an unreadable buffer of its own, so that its
// kernel decides which of the errors comes first. In a canonical form it is text.size(), and the owner says what it is
// there.
struct MessageSend {
  ObjectRef object;
  std::int64_t type = 0;  // mtype, a C long of the sender
  Bytes text;
  std::uint64_t declared_bytes = 0;
  bool no_wait = false;
  bool unreadable = false;
  PayloadForm form{};
  std::optional<Abi> abi = std::nullopt;  // of the program, where it is not its host's (Hello)
  bool operator==(const MessageSend&) const = default;
};

struct MessageReceive {
  ObjectRef object;
  std::int64_t type = 0;        // msgtyp
  std::uint64_t max_bytes = 0;  // msgsz
  bool no_wait = false;
  bool no_error = false;
  bool except = false;
  bool copy = false;                      // MSG_COPY
  std::uint8_t type_bytes = 8;            // width of the receiver's C long: a type that it can't hold is EOVERFLOW
  std::uint64_t layout = 0;               // as in PayloadForm; what is received comes in this form
  std::uint16_t structure = 0;            // as there: what `type` asks for; 0: several, or none
  std::optional<Abi> abi = std::nullopt;  // as in MessageSend: max_bytes are bytes of its form
  bool operator==(const MessageReceive&) const = default;
};

struct SemaphoreOp {
  std::uint16_t number = 0;
  std::int16_t delta = 0;
  bool no_wait = false;
  bool undo = false;
  bool operator==(const SemaphoreOp&) const = default;
};

// `declared_ops` is nsops as the program gave it; `unreadable` as in MessageSend.
struct SemaphoreOperate {
  ObjectRef object;
  std::vector<SemaphoreOp> ops;
  std::uint64_t declared_ops = 0;
  std::optional<std::int64_t> timeout_ns;  // semtimedop; the owner's kernel judges it, so it may be out of range
  bool unreadable = false;
  bool operator==(const SemaphoreOperate&) const = default;
};

enum class ControlCommand : std::uint8_t {
  kStat,
  kSet,
  kRemove,
  kGetValue,
  kSetValue,
  kGetAll,
  kSetAll,
  kGetPid,
  kGetWaitingForIncrease,
  kGetWaitingForZero,
  kLock,  // SHM_LOCK and SHM_UNLOCK: judged, and nothing else
  kUnlock
};

// What IPC_SET may change. Ids travel as names; the owner puts its own numbers in their place before the kernel sees
// them.
struct Permissions {
  std::string owner_login;
  std::string group_name;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t mode = 0;
  std::uint64_t queue_bytes = 0;  // msg_qbytes, queues only
  bool operator==(const Permissions&) const = default;
};

struct Control {
  ObjectRef object;
  ControlCommand command{};
  std::int32_t semaphore = 0;         // semnum
  std::int64_t value = 0;             // SETVAL
  std::vector<std::uint16_t> values;  // SETALL
  std::optional<Permissions> set;     // IPC_SET
  bool unreadable = false;            // SETALL from a buffer that can't be read
  bool operator==(const Control&) const = default;
};

// shmat: whether the caller may, and what its host needs to know of the segment. A success counts as an attachment
// until the host says SegmentDetached.
struct SegmentAttach {
  ObjectRef object;
  bool read_only = false;                 // SHM_RDONLY
  bool executable = false;                // SHM_EXEC
  std::uint32_t page_bytes = 0;           // of the caller's host
  std::optional<Abi> abi = std::nullopt;  // as in MessageSend
  bool operator==(const SegmentAttach&) const = default;
};

using CallBody = std::variant<GetCall, MessageSend, MessageReceive, SemaphoreOperate, Control, SegmentAttach>;

// Whether a success hands over a message that must be taken or returned.
bool consumes_message(const CallBody& body);
// Whether it puts the caller on an undo list.
bool uses_undo(const CallBody& body);
// Whether a success removes the object.
bool removes(const CallBody& body);

struct Call {
  CallId id{};
  Caller caller;
  CallBody body;
  bool holds_undo = false;  // the process has changed semaphores of the owner under SEM_UNDO, as far as its host knows
  bool operator==(const Call&) const = default;
};

// ---- replies: owner -> caller's host

struct GetReply {
  ObjectRef object;
  std::int64_t size = 0;  // nsems of the set, for the stand-in; bytes of the segment
  bool operator==(const GetReply&) const = default;
};

struct Message {
  std::int64_t type = 0;
  Bytes text;
  PayloadForm form{};
  bool operator==(const Message&) const = default;
};

// IPC_STAT. Numbers are the owner's; names are what the asking host shows its own numbers for (empty: shown as 65534).
struct Stat {
  std::int32_t key = 0;
  std::uint32_t uid = 0, gid = 0, cuid = 0, cgid = 0;
  std::string owner_login, group_name, creator_login, creator_group_name;
  std::uint32_t mode = 0;
  std::uint32_t sequence = 0;  // __seq
  std::int64_t change_time_s = 0;
  // queues
  std::int64_t send_time_s = 0, receive_time_s = 0;
  std::uint64_t used_bytes = 0, messages = 0, queue_bytes = 0;
  std::int32_t last_sender_pid = 0, last_receiver_pid = 0;
  // semaphore sets
  std::int64_t operation_time_s = 0;
  std::uint64_t semaphores = 0;
  // segments
  std::int64_t attach_time_s = 0, detach_time_s = 0;
  std::uint64_t segment_bytes = 0, attachments = 0;
  std::int32_t creator_pid = 0, last_pid = 0;
  bool operator==(const Stat&) const = default;
};

// The segment as all hosts see it, for all its life.
struct AttachReply {
  std::uint64_t segment_bytes = 0;
  std::uint32_t unit_bytes = 0;   // of a page as the protocol counts them; the last one may be longer than what is left
  std::uint64_t hold_ns = 0;      // hold_time
  std::string declarations = {};  // SegmentLayout::text(); empty: it is bytes
  Abi abi = {};                   // of the owner's dipcd: pages travel as they lie in its memory
  bool operator==(const AttachReply&) const = default;
};

using ReplyBody = std::variant<std::monostate, GetReply, Message, Stat, std::vector<std::uint16_t>, AttachReply>;

// `error` is kNone on success. `value` is what the C function returns (bytes received, a semaphore's value, a pid).
struct Reply {
  CallId id{};
  Error error = Error::kNone;
  std::int64_t value = 0;
  ReplyBody body;
  bool operator==(const Reply&) const = default;
};

// A signal came, or the caller died.
struct Cancel {
  CallId id{};
  bool operator==(const Cancel&) const = default;
};
// The reply is with the program.
struct Taken {
  CallId id{};
  bool operator==(const Taken&) const = default;
};
// It never got there: put the message back. Where it is nothing that the program's host can make a message for it of,
// `unfit` says why: put back it would come again and again, so it becomes a dead letter.
struct Returned {
  CallId id{};
  std::string unfit = {};
  bool operator==(const Returned&) const = default;
};
// Its undo group ends.
struct ProcessEnded {
  ProcessId process;
  bool operator==(const ProcessEnded&) const = default;
};

// owner -> caller's host: whose undo groups the owner has.
struct UndoHolders {
  std::vector<ProcessId> processes;
  bool operator==(const UndoHolders&) const = default;
};

// ---- what messages are: caller's host <-> owner of a queue

// Asked once in a session for each queue that programs use, before their first call on it.
struct AskLayout {
  ObjectRef queue;
  bool operator==(const AskLayout&) const = default;
};
struct QueueDeclarations {
  ObjectRef queue;
  std::string text;  // QueueLayout::text(); empty: its messages are bytes
  bool operator==(const QueueDeclarations&) const = default;
};
// The owner's declarations have changed: what was answered holds no more. Calls that were sent before are carried out
// by those that they were made for.
struct DeclarationsChanged {
  bool operator==(const DeclarationsChanged&) const = default;
};

// ---- names: any host <-> referee

enum class RequestId : std::uint64_t {};

struct Resolve {
  RequestId id{};
  ObjectName name;
  bool create = false;
  bool exclusive = false;
  std::string home;  // create: the host that will register the object; empty: the asker
  bool operator==(const Resolve&) const = default;
};

struct Resolved {
  enum class Outcome : std::uint8_t { kPresent, kAbsent, kCreate };
  RequestId id{};
  Outcome outcome{};
  std::string owner;             // kPresent
  std::uint64_t generation = 0;  // kPresent
  ClaimId claim{};               // kCreate: register before it times out
  bool operator==(const Resolved&) const = default;
};

struct Register {
  RequestId id{};
  ClaimId claim{};
  ObjectName name;
  std::uint64_t generation = 0;
  std::string claimant;  // the host whose get brought the claim; empty: the sender
  bool operator==(const Register&) const = default;
};

struct Registered {
  RequestId id{};
  bool accepted = false;  // false: the claim is over; remove what was made and resolve again
  bool operator==(const Registered&) const = default;
};

// From the host that got it: the create failed, or the claim came too late.
struct Abandon {
  ClaimId claim{};
  bool operator==(const Abandon&) const = default;
};

// Owner -> referee: the object is gone. Referee -> all: drop the stand-in.
struct Removed {
  ObjectName name;
  std::uint64_t generation = 0;
  bool operator==(const Removed&) const = default;
};
struct Dropped {
  ObjectName name;
  std::uint64_t generation = 0;
  bool operator==(const Dropped&) const = default;
};

// Which object a name stands for.
struct NamedObject {
  ObjectName name;
  std::uint64_t generation = 0;
  auto operator<=>(const NamedObject&) const = default;
};

// Any host -> referee, first thing in each new session: all objects with a name that it owns, and all that it has a
// stand-in of; in several messages if there are many, the last one marked. Entries of this host that it did not list
// are gone: so a Removed that was lost with a session, or an owner that lost its state, leaves no dead entry behind.
// For each of `used` that is no longer so the referee sends Dropped to this host.
struct Announce {
  std::vector<NamedObject> owned;
  std::vector<NamedObject> used;
  bool last = true;
  bool operator==(const Announce&) const = default;
};
// Referee -> host, one for each Announce: those of `owned` that the owner must fence, since the name is another's.
struct Announced {
  std::vector<NamedObject> refused;
  bool operator==(const Announced&) const = default;
};

// Numbers of hosts, by which pids of several hosts are told apart. Any host -> referee, at the beginning of each
// session: the one that it has, 0 = none yet. Referee -> host: the one that it has from now on.
struct AskNumber {
  std::uint16_t number = 0;
  bool operator==(const AskNumber&) const = default;
};
struct HostNumber {
  std::uint16_t number = 0;
  bool operator==(const HostNumber&) const = default;
};

// What one host owns, for `dipcctl objects`: asked of every peer, answered with its rows.
struct ListObjects {
  RequestId id{};
  bool operator==(const ListObjects&) const = default;
};
struct ObjectRow {
  ObjectName name;
  std::int32_t id = 0;
  std::uint64_t generation = 0;
  std::string owner_login;
  std::uint32_t mode = 0;
  std::uint64_t used_bytes = 0, messages = 0, semaphores = 0;
  // Without a declaration: messages that went to or came from a machine of another ABI; shmats of its programs.
  std::uint64_t unconverted = 0;
  bool operator==(const ObjectRow&) const = default;
};
struct ObjectList {
  RequestId id{};
  std::vector<ObjectRow> rows;
  bool operator==(const ObjectList&) const = default;
};

// ---- shared memory: see page_messages.h

// Host -> owner.
struct SegmentReport {
  ObjectRef segment;
  HostPageMessage message;
  std::int32_t process = 0;  // SegmentAttached and SegmentDetached: whose doing the last of them was
  std::uint32_t run = 1;     // see page_runs.h
  bool operator==(const SegmentReport&) const = default;
};
// Owner -> host.
struct SegmentOrder {
  ObjectRef segment;
  OwnerPageMessage message;  // the host ids in it say nothing between hosts:
  std::string host;          // PageGrant of kHolder: the holder. FetchPage: the requester
  std::uint32_t run = 1;     // see page_runs.h
  bool operator==(const SegmentOrder&) const = default;
};
// Holder -> requester.
struct HeldPage {
  std::string owner;  // of the segment
  ObjectRef segment;
  PageData data;
  std::vector<PageContents> more;  // of the pages behind it, each of the next transaction; as large
  bool operator==(const HeldPage& other) const {
    return owner == other.owner && segment == other.segment && data == other.data &&
           std::equal(more.begin(), more.end(), other.more.begin(), other.more.end(),
                      [](const PageContents& one, const PageContents& two) { return one.is_same(two); });
  }
};

using PeerMessage =
    std::variant<Call, Reply, Cancel, Taken, Returned, ProcessEnded, Resolve, Resolved, Register, Registered, Abandon,
                 Removed, Dropped, ListObjects, ObjectList, Announce, Announced, UndoHolders, SegmentReport,
                 SegmentOrder, HeldPage, AskLayout, QueueDeclarations, DeclarationsChanged, AskNumber, HostNumber>;

// One frame of a session. Sequence numbers begin at 1; 0 is a frame without a message (keep-alive, acknowledgement).
struct Frame {
  std::uint64_t sequence = 0;
  std::uint64_t acknowledged = 0;  // every frame up to this one has been delivered
  std::optional<PeerMessage> message;
  bool operator==(const Frame&) const = default;
};

// All that may stand in one record on a connection.
using Record = std::variant<Hello, Refusal, Frame>;

}  // namespace dipc
