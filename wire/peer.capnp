@0xac40c984a43f71b5;
# What two hosts' daemons say to each other. This file is the specification; wire/messages.h has the same shapes as
# plain C++ structs, the codec (wire/codec.h) is the one place where both meet.
#
# The stream. Two hosts keep at most one TCP connection, inside it TLS 1.3 with certificates on both sides. In it
# records follow each other: a length of four bytes, little-endian, at most 32 MiB, then one `Record` of that many
# bytes in Cap'n Proto's standard stream framing (segment table and segments, unpacked). A record that is longer, or
# none, or holds a union member or an enumerator that the reader does not know, ends the connection; it is logged once.
#
# In order:
#   dialler                      acceptor
#   hello (its version range, who it is, which session)  ->
#                                <-  hello (likewise), or refusal and the end
#   frame, frame, ...            <->  frame, frame, ...
#
# Session and connection. Frames belong to a session, which outlives connections. Each side numbers the frames that
# carry a message 1, 2, 3, ... and keeps them until they are acknowledged; the receiver delivers each number once and
# in order. When a connection is lost, either host dials again, both say in `hello` what they received last, and the
# rest is sent again. So a lost connection loses nothing. A session ends when no connection could be made for
# `peer_timeout`, when a hello comes with another session number, or when one daemon is another incarnation. What that
# end loses is said below at each message, under "End".
#
# Extending it. New fields are appended, new messages become new members of their union, new enumerators are appended;
# a host sends them only to peers whose hello named a version that has them. Numbers never change their meaning.
# Version 1 is what stands here.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("dipc::schema");

struct Record {
  union {
    hello @0 :Hello;
    refusal @1 :Refusal;
    frame @2 :Frame;
  }
}

# ---- before a session ------------------------------------------------------------------------------------------------

struct Hello {
  # The first record of each side on a fresh connection. The dialler's comes first; the acceptor answers with its own,
  # or with a refusal. Nothing else may be sent before both were seen.
  # Disconnect before the answer: nothing happened; the dialler dials again (100 ms to 3 s apart).

  protocolMin @0 :UInt16;
  protocolMax @1 :UInt16;      # versions that the sender speaks; the highest one of both ranges counts

  cluster @2 :Text;            # must be equal on both sides, as must `referee`
  referee @3 :Text;            # host name of the referee
  host @4 :Text;               # must be a name of the sender's certificate and stand in the receiver's hosts.allow

  incarnation @5 :UInt64;      # one run of one daemon, random. Another one than before: its calls and sessions are gone
  boot @6 :Text;               # boot id of the kernel and its IPC namespace. Another one: its objects are gone

  session @7 :UInt64;          # dialler: the session to resume or to begin. Acceptor: the same number
  resumes @8 :Bool;            # dialler: asks to resume. Acceptor: it does; false = both begin anew at frame 1
  lastReceived @9 :UInt64;     # number of the last frame delivered in this session, 0 = none: send what follows it

  abi @10 :Abi;                # of the daemon; local programs of another ABI are its own business
  pageBytes @11 :UInt32;
}

struct Abi {
  # How the sender's compiler lays out C data.
  byteOrder @0 :ByteOrder;
  types @1 :List(TypeShape);
  # In this order: char, short, int, long, long long, pointer, float, double, long double, size_t, time_t, int64_t.
  # A shorter list leaves the rest unknown (0), what follows after it is ignored.

  enum ByteOrder {
    little @0;
    big @1;
  }
  struct TypeShape {
    sizeBytes @0 :UInt8;
    alignBytes @1 :UInt8;      # as a struct member
  }
}

struct Refusal {
  # The acceptor's other answer to a hello; it closes the connection after it. The dialler logs it once and goes on
  # dialling, since an administrator may mend it (hosts.allow, a wrong cluster name) meanwhile.
  # In a session, from either side: the session ends on both, because the sender stops or was told what makes no sense
  # (unknownSession: a new session may follow), or does not want the other host any more (notAllowed). The connection is
  # closed after it.
  reason @0 :Reason;
  text @1 :Text;               # for the other side's log

  enum Reason {
    protocolVersion @0;        # no common version; the text names both ranges
    cluster @1;
    referee @2;
    notAllowed @3;             # name, address or fingerprint against hosts.allow
    nameInUse @4;              # another host with this name is connected
    alreadyConnected @5;       # both dialled at once: the connection dialled by the smaller name stays
    unknownSession @6;         # asked to resume what the acceptor does not know: begin anew
    self @7;                   # the acceptor's own name
  }
}

# ---- a session -------------------------------------------------------------------------------------------------------

struct Frame {
  sequence @0 :UInt64;         # 1, 2, 3, ... in each direction; 0 = carries no message: keep-alive and acknowledgement
  acknowledged @1 :UInt64;     # every frame up to this number has been delivered; the sender may forget them

  union {
    none @2 :Void;             # every `keepalive` (1 s) while idle, and when acknowledgements are due. Loss is harmless

    # Calls: from the host of the calling process to the owner, and back.
    call @3 :Call;
    reply @4 :Reply;
    cancel @5 :CallId;
    # Caller's host -> owner, when the caller was interrupted by a signal or died. There is one reply in any case: the
    # result if the call won, else `interrupted`. A cancel for a call that is not known (any more) is ignored.
    # End: the owner cancels every call of the session by itself.
    taken @6 :CallId;
    # Caller's host -> owner, once the reply of a receive is in the program's hands: the owner forgets the message.
    # End before it: the outcome is unknown; the message becomes a dead letter on the owner.
    returned @7 :Returned;
    # Caller's host -> owner, instead of `taken`, when the program was gone or interrupted: the message is put back, at
    # the tail of the queue; a dead letter if the queue is full.
    # End before it: as with `taken`.
    processEnded @8 :ProcessId;
    # Caller's host -> owner, once, for a process that used SEM_UNDO there: the kernel applies its undo list.
    # End before it: the owner's next `undoHolders` names the process, and is answered with this.

    undoHolders @20 :List(ProcessId);
    # Owner -> caller's host, at the beginning of a session if there are any: processes of that host (of its present
    # boot) whose undo lists the owner keeps. The host watches those that live and says `processEnded` of the others.
    # Undo lists outlive sessions: until the host has been gone for `peer_timeout`.
    # End: said anew in the next session.

    # What messages are, see QueueDeclarations.
    askLayout @24 :ObjectRef;
    # Caller's host -> owner of a queue, once in a session, before the first call of a program on it. Calls on the queue
    # wait for the answer, `queueDeclarations`.
    # End: the calls that waited were not executed.
    queueDeclarations @25 :QueueDeclarations;
    declarationsChanged @26 :Void;
    # Owner -> every host, when its administrator has changed declarations: what it answered before holds no more, ask
    # again. Calls that are under way are carried out by the declarations that they were made for.

    # Names: any host and the referee.
    resolve @9 :Resolve;
    resolved @10 :Resolved;
    register @11 :Register;
    registered @12 :Registered;
    abandon @13 :Abandon;
    removed @14 :NamedObject;
    # Owner -> referee: the object is gone (IPC_RMID by whomever, or found missing). The referee forgets the name if it
    # stands for this generation and sends `dropped` to all.
    # End before it: the owner's next `announce` does not list it.
    dropped @15 :NamedObject;
    # Referee -> every host: drop the stand-in of this generation. A host that has none does nothing.
    # End before it: sent again in answer to the host's next `announce`.

    announce @18 :Announce;
    announced @19 :Announced;

    askNumber @27 :UInt16;
    # Any host -> referee, at the beginning of each session: the number that it has, 0 = none yet. A number (1 to 511)
    # is what tells pids of several hosts apart, see PayloadForm; a host keeps it for ever.
    # End: said anew in the next session.
    hostNumber @28 :UInt16;
    # Referee -> host: the number that it has from now on; 0 = all are given. The one that it says it has, if no other
    # host has that: so a referee that lost its table learns them again.

    # Tools.
    listObjects @16 :UInt64;
    # Any host -> any host, for `dipcctl objects`: the request's id. Answered with `objectList`.
    # End: that host is shown as not reachable.
    objectList @17 :ObjectList;

    # Shared memory: see there.
    segmentReport @21 :SegmentReport;
    segmentOrder @22 :SegmentOrder;
    heldPage @23 :HeldPage;
  }
}

struct ObjectName {
  kind @0 :Kind;
  key @1 :Int32;               # 0 (IPC_PRIVATE) names nothing: such an object goes by ObjectRef alone
}

enum Kind {
  messageQueue @0;
  semaphoreSet @1;
  segment @2;
}

struct ObjectRef {
  # An object on its owner. An id that the owner's kernel hands out again has another generation, so that a stale
  # reference is never taken for the new object.
  kind @0 :Kind;
  id @1 :Int32;                # in the owner's kernel
  generation @2 :UInt64;       # given by the owner, fresh for each object
}

struct CallId {
  id @0 :UInt64;               # chosen by the caller's daemon, unique within its incarnation
}

struct ProcessId {
  # A process on the sender's host; field 22 of /proc/PID/stat tells a reused pid from the old one.
  pid @0 :Int32;
  startTicks @1 :UInt64;
}

# ---- calls -----------------------------------------------------------------------------------------------------------

struct Call {
  # Caller's host -> owner: run one System V operation as the local login that logins.map gives for login@host.
  # Each call has exactly one reply. It runs at most once, whatever happens to connections.
  # Calls of one host on one object start in the order of their frames.
  # End: a call whose frame was never written was certainly not executed: the program gets EHOSTUNREACH. Any other one's
  # outcome is unknown: ECONNRESET. The owner cancels what is still blocked.

  id @0 :UInt64;
  login @1 :Text;              # login name of the effective uid; empty where the host has no name for it
  process @2 :ProcessId;
  holdsUndo @8 :Bool;
  # The process has changed semaphores of the owner under SEM_UNDO. If the owner has no undo list of it (any more), the
  # call is not made: connectionReset, once, so that the process learns that what it held has been released.

  union {
    get @3 :Get;
    send @4 :Send;
    receive @5 :Receive;
    operate @6 :Operate;
    control @7 :Control;
    attach @9 :Attach;
  }

  struct Get {
    # msgget, semget: the owner's kernel judges permissions, sizes and limits; of shmget the owner's daemon does. With a
    # claim: the referee said "you create it", and the owner registers what it made before it replies. Without one the
    # object must exist; only key 0 is always made. Reply: body `get`.
    # End with a claim: the claim times out at the referee.
    name @0 :ObjectName;
    create @1 :Bool;           # IPC_CREAT
    exclusive @2 :Bool;        # IPC_EXCL
    mode @3 :UInt32;           # low nine bits of the flags
    size @4 :Int64;            # nsems; bytes of a segment
    claim :union {
      none @5 :Void;
      number @6 :UInt64;
    }
  }

  struct Send {
    # msgsnd. Reply: no body.
    object @0 :ObjectRef;      # a queue; one of another kind is no record, here and below
    type @1 :Int64;            # mtype; more than the owner's C long can hold is `invalid`
    text @2 :Data;             # at most 16 MiB
    declaredBytes @3 :UInt64;  # msgsz as the program gave it; in a canonical form the bytes of `text`
    noWait @4 :Bool;           # IPC_NOWAIT
    unreadable @5 :Bool;
    # The program's buffer could not be read to its end (text is what could). The owner makes the call with an
    # unreadable buffer of its own, so that its kernel decides which of several errors comes first.
    form @6 :PayloadForm;
    abi @7 :Abi;               # of the program, where it is not its host's; without `types`: as in the host's hello
  }

  struct Receive {
    # msgrcv. Reply: body `message`; it stays in the owner's care until `taken` or `returned`.
    object @0 :ObjectRef;      # a queue
    type @1 :Int64;            # msgtyp
    maxBytes @2 :UInt64;       # msgsz
    noWait @3 :Bool;           # IPC_NOWAIT
    noError @4 :Bool;          # MSG_NOERROR
    except @5 :Bool;           # MSG_EXCEPT
    copy @6 :Bool;             # MSG_COPY
    typeBytes @7 :UInt8 = 8;
    # Width of the receiver's C long. A message whose type does not fit is `overflow` and becomes a dead letter.
    layout @8 :UInt64;         # as in PayloadForm: what is received is to come in the form of these declarations
    structure @9 :UInt16;      # as there: what messages of `type` are; 0: several things, or bytes
    abi @10 :Abi;              # as in Send. `maxBytes` are bytes of its form
  }

  struct Operate {
    # semop, semtimedop. Reply: no body.
    object @0 :ObjectRef;      # a semaphore set
    ops @1 :List(Op);
    declaredOps @2 :UInt64;    # nsops as the program gave it; `ops` is shorter where the buffer could not be read
    timeout :union {
      none @3 :Void;
      ns @4 :Int64;            # the owner's kernel judges it, so it may be out of range
    }
    unreadable @5 :Bool;       # as in Send

    struct Op {
      number @0 :UInt16;       # sem_num
      delta @1 :Int16;         # sem_op
      noWait @2 :Bool;         # IPC_NOWAIT
      undo @3 :Bool;           # SEM_UNDO: belongs to Call.process, until processEnded
    }
  }

  struct Control {
    # msgctl, semctl, shmctl. Reply: body by command: stat -> `stat`, getAll -> `values`, others none.
    object @0 :ObjectRef;
    command @1 :Command;
    semaphore @2 :Int32;       # semnum
    value @3 :Int64;           # setValue
    values @4 :List(UInt16);   # setAll
    set :union {
      none @5 :Void;
      permissions @6 :Permissions;
    }
    unreadable @7 :Bool;       # setAll from a buffer that can't be read

    enum Command {
      stat @0;
      set @1;
      remove @2;
      getValue @3;
      setValue @4;
      getAll @5;
      setAll @6;
      getPid @7;
      getWaitingForIncrease @8;   # GETNCNT
      getWaitingForZero @9;       # GETZCNT
      lock @10;                   # SHM_LOCK
      unlock @11;                 # SHM_UNLOCK
    }
  }

  struct Attach {
    # shmat. Reply: body `attach`; from then on the owner counts one attachment more of the caller's host, until the
    # host reports `detached`. A host that could not hand it to the program reports that at once.
    # End: the attachments of the host are no more, as at every end of a session between a host and the owner.
    object @0 :ObjectRef;
    readOnly @1 :Bool;         # SHM_RDONLY
    executable @2 :Bool;       # SHM_EXEC
    pageBytes @3 :UInt32;      # of the caller's host: one whose pages are larger than the segment's can't take part
    abi @4 :Abi;               # as in Send
  }
}

struct Permissions {
  # What IPC_SET may change. The names count; the owner puts its own numbers in their place.
  ownerLogin @0 :Text;
  groupName @1 :Text;
  uid @2 :UInt32;
  gid @3 :UInt32;
  mode @4 :UInt32;
  queueBytes @5 :UInt64;       # msg_qbytes, queues only
}

struct Reply {
  # Owner -> caller's host, once for each call.
  # End: see Call. The reply of a receive that could not be sent: its message becomes a dead letter.
  id @0 :UInt64;
  error @1 :Error;
  value @2 :Int64;             # what the C function returns: bytes received, a semaphore's value, a pid

  union {
    none @3 :Void;
    get @4 :Get;
    message @5 :Message;
    stat @6 :Stat;
    values @7 :List(UInt16);   # getAll
    attach @8 :Attach;
  }

  struct Get {
    object @0 :ObjectRef;
    size @1 :Int64;            # nsems of the set, for the stand-in; bytes of the segment
  }

  struct Attach {
    # How the segment is shared; the same for all its life.
    segmentBytes @0 :UInt64;
    unitBytes @1 :UInt32;      # of what is called a page below: a multiple of each host's own pages, at most 16 MiB
    holdNs @2 :UInt64;         # a host that was given a page keeps it so long
    declarations @3 :Text;
    # What the segment is, in the language of docs/LAYOUTS.md: a struct, then `bind shm all to ...`; at most 60,000 bytes.
    # Empty: bytes. A host whose programs have the struct otherwise (a field at another place or of another size, or its own
    # administrator declares something else for the key) reports the attachment as `detached` and logs the first
    # difference.
    abi @4 :Abi;
    # Of the owner's daemon. Pages travel as they lie in its memory: a host of the other byte order turns each declared
    # number round when a page comes and when one goes.
  }

  struct Message {
    type @0 :Int64;            # mtype
    text @1 :Data;
    form @2 :PayloadForm;
  }
}

struct Returned {
  id @0 :UInt64;               # of the call
  unfit @1 :Text;
  # Not empty: why it is nothing that the program could be given (a value that its machine can't hold). The message
  # becomes a dead letter: put back it would come again and again.
}

struct QueueDeclarations {
  # Owner -> caller's host: what the messages of one queue are. A host whose own administrator has declared something
  # else for the key carries out no msgsnd and no msgrcv (EINVAL), and logs the first difference.
  queue @0 :ObjectRef;
  text @1 :Text;
  # In the language of docs/LAYOUTS.md: structs, then one binding, `bind msg all to ...`; at most 60,000 bytes. Empty: bytes.
}

struct PayloadForm {
  # How a payload is written down. In the canonical form of a struct (docs/LAYOUTS.md) its fields follow each other
  # without padding, little-endian. In it
  # - a pid is the number of its host, times 2^22, plus the pid there; 0 and negative numbers are themselves. So is an
  #   mtype that is declared to be a pid;
  # - a uid or gid is a number of `logins`.
  layout @0 :UInt64;           # FNV-1a (64 bits) of QueueDeclarations.text, 1 for 0; 0: none
  structure @1 :UInt16;        # from 1: it is that one of the structs there, in their order. 0: bytes, as they are
  padded @2 :Bool;             # its sender counted the padding behind the last field
  logins @3 :List(Text);       # names; a peer's are mapped by the owner, those to a peer are what it looks up
}

enum Error {
  # errno numbers differ between architectures, so these travel.
  none @0;
  tooBig @1;                   # E2BIG
  access @2;                   # EACCES
  again @3;                    # EAGAIN
  exists @4;                   # EEXIST
  fault @5;                    # EFAULT
  fileTooBig @6;               # EFBIG
  removed @7;                  # EIDRM
  interrupted @8;              # EINTR
  invalid @9;                  # EINVAL
  noEntry @10;                 # ENOENT
  noMemory @11;                # ENOMEM
  noMessage @12;               # ENOMSG
  noSpace @13;                 # ENOSPC
  notImplemented @14;          # ENOSYS
  overflow @15;                # EOVERFLOW
  notPermitted @16;            # EPERM
  range @17;                   # ERANGE
  timedOut @18;                # ETIMEDOUT
  hostUnreachable @19;         # EHOSTUNREACH: certainly not executed
  connectionReset @20;         # ECONNRESET: the outcome is unknown
  stale @21;                   # no errno: the owner has no object of this generation; resolve the key again
}

struct Stat {
  # IPC_STAT. Numbers are the owner's; names are what the asking host looks its own numbers up by (empty or unknown
  # there: 65534). Times are the owner's clock, seconds since 1970.
  key @0 :Int32;
  uid @1 :UInt32;
  gid @2 :UInt32;
  cuid @3 :UInt32;
  cgid @4 :UInt32;
  ownerLogin @5 :Text;
  groupName @6 :Text;
  creatorLogin @7 :Text;
  creatorGroupName @8 :Text;
  mode @9 :UInt32;
  sequence @10 :UInt32;        # __seq
  changeTime @11 :Int64;

  # Queues.
  sendTime @12 :Int64;
  receiveTime @13 :Int64;
  usedBytes @14 :UInt64;
  messages @15 :UInt64;
  queueBytes @16 :UInt64;
  lastSenderPid @17 :Int32;    # the real caller's pid on its own host
  lastReceiverPid @18 :Int32;

  # Semaphore sets.
  operationTime @19 :Int64;
  semaphores @20 :UInt64;

  # Segments.
  attachTime @21 :Int64;
  detachTime @22 :Int64;
  segmentBytes @23 :UInt64;
  attachments @24 :UInt64;     # over all hosts
  creatorPid @25 :Int32;       # the real caller's pid on its own host
  lastPid @26 :Int32;
}

# ---- names -----------------------------------------------------------------------------------------------------------

struct Resolve {
  # Any host -> referee: who owns this key? Answered with `resolved` of the same request id; while another host's claim
  # to the key is open the answer waits for its outcome.
  # End: asked again on the next session, until the program's `op_timeout` is over (ETIMEDOUT). The referee forgets it.
  request @0 :UInt64;          # chosen by the asking daemon
  name @1 :ObjectName;
  create @2 :Bool;             # IPC_CREAT: if nobody owns it, I will
  exclusive @3 :Bool;          # IPC_EXCL
  home @4 :Text;
  # create: the host that is to make the object and will register it; empty = the asker. A claim is good for this host
  # alone, and there for gets of the asker alone: its number gives nothing to anybody else.
}

struct Resolved {
  # Referee -> the host that asked.
  # End: see Resolve; a claim that never arrived times out like any other.
  request @0 :UInt64;
  union {
    present :group {
      owner @1 :Text;          # host name
      generation @2 :UInt64;
    }
    absent @3 :Void;           # ENOENT
    create @4 :UInt64;
    # "You create it": the number of the claim. Register or abandon it before `claim_timeout` (5 s) is over; unique for
    # ever.
  }
}

struct Register {
  # Owner -> referee: the object was made under this claim. No id reaches a program before the referee has accepted.
  # Answered with `registered` of the same request id.
  # End: registered again on the next session; the same claim, name and generation are accepted twice.
  request @0 :UInt64;
  claim @1 :UInt64;
  name @2 :ObjectName;
  generation @3 :UInt64;
  claimant @4 :Text;           # the host whose get brought the claim, as its session says; empty = the sender
}

struct Registered {
  # Referee -> owner.
  # End: see Register.
  request @0 :UInt64;
  accepted @1 :Bool;           # false: the claim is over. Remove what was made and resolve again
}

struct Abandon {
  # The claim's asker -> referee: the create failed, or the claim came too late; let the next one have it. Not answered.
  # End before it: the claim times out.
  claim @0 :UInt64;
}

struct NamedObject {
  # Which object a name stands for.
  name @0 :ObjectName;
  generation @1 :UInt64;
}

struct Announce {
  # Any host -> referee, first thing in each new session: all objects with a name that it owns, and all that it has a
  # stand-in of; in several messages if there are many. Entries of this host that it did not list are gone, so that a
  # `removed` that was lost with a session leaves no dead entry behind; and a referee that lost its table learns it
  # again. For each of `used` that is no longer so the referee sends `dropped`.
  # End: announced anew in the next session.
  owned @0 :List(NamedObject);
  used @1 :List(NamedObject);
  last @2 :Bool;               # no more of this announcement follows
}

struct Announced {
  # Referee -> host, one for each `announce`.
  # End: see Announce.
  refused @0 :List(NamedObject);
  # Those of `owned` whose name is another host's: the owner fences them (EIDRM, contents kept) and logs it.
}

# ---- shared memory ---------------------------------------------------------------------------------------------------
#
# A segment has a directory at its owner, which knows for each page who has it, and a cache on every host that has the
# segment attached (the owner's own one speaks with its directory without frames). A page is one writer's, or any number
# of readers'. wire/page_messages.h and daemon/core/page_directory.h say what follows from what; in short:
#
#   host                            owner                              holder, other readers
#   request            ->
#                                   fetch                      ->      (the data goes straight to the requester)
#                                   invalidate                 ->      (for writing: to every other reader)
#                                                              <-      dropped
#                      <-           grant
#                      <-------------------------------------------    HeldPage
#   installed          ->
#                                   release                    ->      (after a fetch with `drop`)
#
# These are messages of a session like all others: in order, each delivered once, sent again after a connection broke.
# They do not wait for room in the session's buffer, so programs' calls never hold up a page; they keep their order
# among themselves. What a host is sent of pages is bounded by what it asked for.
#
# End, for all of them: it is the session between a host and the owner that makes the host take part. When it ends the
# host takes the whole segment from its programs (SIGBUS), and says `cleared` in the next session. The owner counts the
# host's attachments as gone; pages that only it had are lost; a write waits until the host certainly has nothing any
# more. But when one of the two daemons was started again, since the same boot, the host begins the session by saying what
# its programs still have (`holds`): what nobody else has waits for that, as long as `peer_timeout`. An owner's that was
# started again goes on with what it has written down of its segments, and believes no host more than that; its
# transactions have greater numbers than those before. With the session between holder and requester ends what was on its
# way from the one to the other: the requester says `noData`.

struct SegmentReport {
  # Host that takes part -> owner. About a segment that the owner does not have (any more): ignored, it has crossed with
  # `destroyed`; but holdsAll is answered by refused. What makes no sense at this point ends the session.
  segment @0 :ObjectRef;       # of kind segment
  page @1 :UInt32;             # of all but attached, detached, cleared and holdsAll
  transaction @2 :UInt64;      # of installed, noData, dropped, relayed, failed, keeps: the one that it answers
  run @15 :UInt32 = 1;
  # The same of so many pages from `page` on, each of the next transaction: of what has both and no data. At most 256.

  union {
    request @3 :Access;        # a program has touched the page. One at a time for each page; answered by grant or lost
    askAhead @4 :UInt32;
    # Read access to so many pages from `page` on, 256 at most, if that takes nothing from anybody: for each grant,
    # declined or lost.
    installed @5 :Void;        # the grant is carried out
    noData @6 :Void;           # it can't be: what it needs will not come. The owner begins again
    dropped @7 :Void;          # no program of the host reads the page any more: the answer to invalidate
    relayed @8 :Data;          # the page, for the owner to pass on: the answer to a fetch that says so
    failed @9 :Void;           # the page is lost on this host
    attached @10 :Processes;   # so many attachments more, by fork
    detached @11 :Processes;   # so many less: shmdt, exec, exit
    cleared @12 :Void;
    # After a session with the owner ended, in a later one: the host's programs can reach nothing of the segment.
    holds @13 :Pages;          # after one of the daemons was started again, first in the session: pages from `page` on
    holdsAll @14 :UInt32;
    # There are no more, and so many attachments. Answered by resumed or refused; until then nothing else but attached
    # and detached.
    keeps @16 :Void;
    # Likewise, before holdsAll, if it was the owner's: the page was given away in that transaction, and neither release
    # nor restore has come. Answered by one of them.
  }

  enum Access {
    read @0;
    write @1;
  }

  struct Pages {
    count @0 :UInt32;
    access @1 :Access;         # what the host's programs may do with them
  }

  struct Processes {
    count @0 :UInt32;
    process @1 :Int32;         # whose doing the last of them was: shm_lpid
  }
}

struct SegmentOrder {
  # Owner -> host that takes part. About a segment that the host does not know: ignored.
  segment @0 :ObjectRef;       # of kind segment
  page @1 :UInt32;             # of all but dismissed, destroyed, resumed and refused
  transaction @2 :UInt64;      # of those but declined and lost; unique in the life of the segment
  run @16 :UInt32 = 1;         # as in SegmentReport

  union {
    grant @3 :Grant;           # answered by installed, noData or failed
    declined @4 :Void;         # not ahead
    lost @5 :Void;             # the page was lost with the host that had it: SIGBUS for who touches it
    fetch @6 :Fetch;           # send the page to another host; answered by HeldPage (to that one), relayed or failed
    invalidate @7 :Void;       # take the page from the programs; answered by dropped
    release @8 :Void;          # the copy that was kept since a fetch with `drop` can go
    restore @9 :Void;          # it is the page, to be read: who was to get it is gone
    holderGone @10 :Void;      # the holder's session ended; answered by noData, or crosses with installed
    dismissed @11 :Void;       # no attachment and no page is left on the host: it can forget the segment
    destroyed @12 :Void;
    # Removed, and the last attachment is gone. Said to all hosts that there is a session with: its id is valid on each
    # until then.
    data @13 :Data;            # relayed by its holder
    resumed @14 :Void;         # the host takes part with what it holds
    refused @15 :Void;         # it does not: it is to take all of it from its programs, and then says cleared
  }

  struct Grant {
    access @0 :SegmentReport.Access;
    hold @1 :Bool;             # a program waits for it: hold time applies
    answers @2 :Bool;          # what the host has asked for; else the owner's own host is to store it
    origin :union {
      held @3 :Void;           # the host has it already
      zero @4 :Void;           # nobody has written to it yet
      holder @5 :Text;         # this host sends it
    }
  }

  struct Fetch {
    requester @0 :Text;        # to whom
    drop @1 :Bool;             # take it from the programs first, and keep a copy until release or restore
    throughOwner @2 :Bool;     # as `relayed`
  }
}

struct HeldPage {
  # Holder -> requester, in answer to the owner's fetch. A requester that does not wait for it drops it.
  owner @0 :Text;              # of the segment
  segment @1 :ObjectRef;       # of kind segment
  page @2 :UInt32;
  transaction @3 :UInt64;
  data @4 :Data;               # exactly one page, or as many as `run` says; as in the owner's memory (Reply.Attach)
  run @5 :UInt32 = 1;          # so many pages from `page` on, each of the next transaction. At most 256
}

# ---- tools -----------------------------------------------------------------------------------------------------------

struct ObjectList {
  # Any host -> the one that asked with `listObjects`: what it owns.
  # End: see listObjects.
  request @0 :UInt64;
  rows @1 :List(Row);

  struct Row {
    name @0 :ObjectName;
    id @1 :Int32;
    generation @2 :UInt64;
    ownerLogin @3 :Text;
    mode @4 :UInt32;
    usedBytes @5 :UInt64;
    messages @6 :UInt64;
    semaphores @7 :UInt64;
    unconverted @8 :UInt64;
    # Without a declaration: messages to or from a machine that writes structs otherwise; attachments there.
  }
}
