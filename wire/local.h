#pragma once

// The records between the shim (or dipcctl) and the daemon of the same host: fixed width, native byte order, one record
// to one packet of a unix SOCK_SEQPACKET socket. Nothing but libc is needed to speak it, because the shim lives in
// other people's programs. 64-bit fields stand at multiples of eight, so that an i386 program and its x86-64 daemon
// agree.
//
// A record is a header and then `payload_bytes` of payload. A payload larger than kInlineBytesMax does not travel in
// the packet but in a memfd (SCM_RIGHTS, flag kPayloadInMemfd), which the receiver reads with pread and never maps. A
// request that arrives with fewer payload bytes than its header says had a buffer that the kernel could not read (under
// qemu sendmsg shortens the packet at a bad buffer instead of failing): it is carried on as "unreadable", and the
// owner's kernel decides which error comes first.
//
// Every request carries SCM_CREDENTIALS with the thread's current effective ids.
//
//   client                       daemon
//   HelloRequest            ->
//                           <-   HelloReply                 wrong version: error EPROTO and close
//   Request                 ->                              one at a time on one socket
//                           <-   Reply (same `call`)
//   Request{kCancel, call}  ->                              while a reply is outstanding; not answered itself: the
//                                                           cancelled call is, with its result or with EINTR
// Closing the socket cancels what is outstanding; a reply that was never read is put back by the daemon.

#include <stddef.h>
#include <stdint.h>

namespace dipc::local {

inline constexpr uint32_t kVersion = 4;
inline constexpr uint32_t kMagic = 0x43504944;          // "DIPC"
inline constexpr uint32_t kInlineBytesMax = 64 * 1024;  // a SEQPACKET record ends near 200 KB
inline constexpr uint32_t kAbiBytes = 32;               // encoded Abi of the client

enum class Op : uint32_t {
  kHello = 1,
  kGet,      // kind, key, flags, size                 -> value = id, `where`
  kLookup,   // kind, id                               -> `where`; value = stand-in's id; extra = nsems of a set
             // (the shim learns from it how long the array of a SETALL is)
  kSend,     // id, size = msgsz, flags; payload: long mtype, then msgsz bytes, as in struct msgbuf of the client
             // (mtype alone where the text can't be read; not even that: EFAULT)
  kReceive,  // id, size = msgsz, type = msgtyp, flags -> payload: long mtype, text; value = bytes of text
  kOperate,  // id, size = nsops, timeout_ns (kHasTimeout); payload: nsops struct sembuf
  kControl,  // kind, id, command = native IPC_*/GETVAL/SHM_LOCK..., semaphore, value; payload: StatRecord (IPC_SET) or
             // uint16_t[] (SETALL)                    -> value; payload: StatRecord (IPC_STAT) or uint16_t[] (GETALL)
  kCancel,   // call = the call to cancel
  kNoteRemoved,  // kind, id: this process removed an object of this host through the kernel -> value 0
  kCallerPids,   // kind, id, semaphore (-1 for queues): the pids recorded where the kernel names the daemon
                 // -> value = last sender's or semaphore's pid, extra = last receiver's; 0 = the kernel is right
  kAdmin,        // payload: an AdminCommand as text ("status") -> payload: JSON (daemon/core/status_report.h)
  // Of distributed segments, in the order in which a shmat and its shmdt send them. The client maps, the daemon pages.
  kAttach,  // id, flags = native shmflg        -> value = ticket, extra = bytes to map; payload: AttachOffer, with the
            // memory and how to be paged as descriptors (SCM_RIGHTS, two, in this order)
  kAttached,  // id, value = ticket, type = address: mapped there without access; with the process's new userfaultfd
              // (SCM_RIGHTS, one) if the offer was kUserfault -> value 0: may be used, or shmat's error.
              // `command` is the errno with which mapping failed, if it did: the ticket is void  -> value 0
  kDetached,  // id, type = address: the program has unmapped it -> value 0, once it is counted
  kFtok,  // value = ftok's id; payload: the path, links resolved -> extra 1, value = its key; extra 0: libc's is right
};

// Which kernel to ask for an id.
enum class Where : uint32_t {
  kLocal = 0,   // not ours: ask this kernel, forget about DIPC
  kOwned = 1,   // distributed, and this host owns it: ask this kernel, tell the daemon of IPC_RMID
  kRemote = 2,  // distributed, owned elsewhere: ask the daemon
};

enum Flag : uint32_t {
  kPayloadInMemfd = 1u << 0,
  kHasTimeout = 1u << 1,
};

struct HelloRequest {
  uint32_t magic = kMagic;
  uint32_t op = static_cast<uint32_t>(Op::kHello);
  uint32_t version = kVersion;
  uint32_t reserved = 0;
  uint8_t abi[kAbiBytes] = {};  // encode_abi(): an i386 program on an x86-64 host has another ABI than its daemon
  uint64_t ipc_namespace = 0;   // inode of /proc/self/ns/ipc, 0 = could not be told
};

struct HelloReply {
  uint32_t magic = kMagic;
  uint32_t version = kVersion;
  int32_t error = 0;            // native errno
  int32_t daemon_pid = 0;       // what this kernel says where the caller was a remote one,
  int32_t keeper_pid = 0;       // or this, if it used SEM_UNDO; 0 = there is none
  uint32_t same_namespace = 0;  // 0: another IPC namespace; carry on as if no daemon ran
  uint32_t op_timeout_ms = 0;
};

struct Request {
  uint32_t magic = kMagic;
  Op op{};
  uint64_t call = 0;       // chosen by the client, unique on its socket
  uint64_t issued_ns = 0;  // CLOCK_MONOTONIC when the program called: daemons forward in this order
  uint32_t kind = 0;       // dipc::Kind
  int32_t id = 0;
  int32_t key = 0;
  int32_t flags = 0;      // native msgflg / semflg
  int64_t size = 0;       // msgsz (as size_t), nsops (as size_t), nsems
  int64_t type = 0;       // msgtyp
  int64_t value = 0;      // SETVAL
  int64_t timeout_s = 0;  // semtimedop, as the program gave it
  int64_t timeout_ns = 0;
  int32_t command = 0;
  int32_t semaphore = 0;
  uint32_t marks = 0;  // enum Flag
  uint32_t payload_bytes = 0;
};

struct Reply {
  uint32_t magic = kMagic;
  int32_t error = 0;  // native errno, 0 = success
  uint64_t call = 0;
  int64_t value = 0;  // what the C function returns
  int64_t extra = 0;
  Where where{};
  uint32_t marks = 0;
  uint32_t payload_bytes = 0;
  uint32_t reserved = 0;
};

// How an attachment is paged; the same as dipc::PagerKind (daemon/pager/pager.h), which is not for this side.
enum class Paging : uint32_t {
  kUserfault = 0,  // the second descriptor of the offer is /dev/userfaultfd
  kSignal = 1,     // it is the socket of the helper thread
};

// The payload of the answer to kAttach; its two descriptors are the client's.
struct AttachOffer {
  Paging paging{};
  uint32_t writable = 0;  // 0: the memory is open for reading alone, to be mapped privately
};

// struct msqid_ds, struct semid_ds and struct shmid_ds, neutral; ids are already this host's numbers.
struct StatRecord {
  int32_t key = 0;
  uint32_t uid = 0, gid = 0, cuid = 0, cgid = 0;
  uint32_t mode = 0;
  uint32_t sequence = 0;
  int32_t last_sender_pid = 0, last_receiver_pid = 0;
  uint32_t reserved = 0;
  int64_t change_time_s = 0;
  int64_t send_time_s = 0, receive_time_s = 0;
  uint64_t used_bytes = 0, messages = 0, queue_bytes = 0;
  int64_t operation_time_s = 0;
  uint64_t semaphores = 0;
  int64_t attach_time_s = 0, detach_time_s = 0;
  uint64_t segment_bytes = 0, attachments = 0;
  int32_t creator_pid = 0, last_pid = 0;
};

static_assert(sizeof(HelloRequest) == 56 && sizeof(HelloReply) == 28);
static_assert(sizeof(Request) == 96 && offsetof(Request, size) == 40 && offsetof(Request, command) == 80);
static_assert(sizeof(Reply) == 48 && offsetof(Reply, value) == 16);
static_assert(sizeof(AttachOffer) == 8);
static_assert(sizeof(StatRecord) == 144 && offsetof(StatRecord, change_time_s) == 40);

}  // namespace dipc::local
