#pragma once

// One record, at least, of every kind that may stand on a connection, each field at a value that a careless codec would
// lose: signs, the highest bits, empty and long texts, NUL bytes.

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "wire/messages.h"

namespace dipc::sample {

struct NamedRecord {
  std::string name;
  Record record;
};

inline Bytes pattern(std::size_t count) {
  Bytes bytes(count);
  for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>((i * 7 + 3) & 0xff);
  return bytes;
}

inline std::vector<NamedRecord> records() {
  constexpr auto kMin64 = std::numeric_limits<std::int64_t>::min();
  constexpr auto kMax64 = std::numeric_limits<std::int64_t>::max();
  constexpr auto kMax64u = std::numeric_limits<std::uint64_t>::max();
  constexpr auto kMax32u = std::numeric_limits<std::uint32_t>::max();
  constexpr auto kMin32 = std::numeric_limits<std::int32_t>::min();
  constexpr auto kMax32 = std::numeric_limits<std::int32_t>::max();
  const ObjectName queue{Kind::kMessageQueue, kMin32};
  const ObjectName set{Kind::kSemaphoreSet, kMax32};
  const ObjectRef queue_ref{Kind::kMessageQueue, kMax32, kMax64u};
  const ObjectRef set_ref{Kind::kSemaphoreSet, 0, 1};
  const Caller caller{"alice", {kMax32, kMax64u}};

  std::vector<NamedRecord> all;
  const auto add = [&](std::string name, Record record) { all.push_back({std::move(name), std::move(record)}); };
  const auto frame = [&](std::string name, PeerMessage message) {
    Frame made;
    made.sequence = kMax64u;
    made.acknowledged = kMax64u - 1;
    made.message = std::move(message);
    add(std::move(name), std::move(made));
  };
  const auto call = [&](std::string name, CallBody body) {
    frame(std::move(name), Call{CallId{kMax64u - 2}, caller, std::move(body)});
  };
  const auto reply = [&](std::string name, Error error, std::int64_t value, ReplyBody body) {
    frame(std::move(name), Reply{CallId{0x0123456789abcdef}, error, value, std::move(body)});
  };

  Hello hello;
  hello.protocol_min = 1;
  hello.protocol_max = 65535;
  hello.cluster = "lab";
  hello.referee = "vax";
  hello.host = "amiga";
  hello.incarnation = Incarnation{kMax64u};
  hello.boot = "6f1e2d3c-0000-4000-8000-123456789abc/4026531839";
  hello.session = SessionNumber{0x8000000000000001};
  hello.resumes = true;
  hello.last_received = kMax64u;
  hello.abi = *known_abi("m68k");
  hello.page_bytes = 65536;
  add("hello", hello);
  add("empty hello", Hello{});
  add("refusal", Refusal{Refusal::Reason::kSelf, "sun is the name of the host that you called"});
  add("keep-alive", Frame{0, kMax64u, std::nullopt});

  call("get", GetCall{queue, true, true, 0777, kMax64, ClaimId{kMax64u}});
  call("get without a claim", GetCall{set, false, false, 0, kMin64, std::nullopt});
  call("get with claim 0", GetCall{{Kind::kSegment, 0}, false, true, 0600, 0, ClaimId{0}});
  call("send", MessageSend{queue_ref, kMin64, pattern(100), 100, true, false});
  call("empty send", MessageSend{queue_ref, kMax64, {}, kMax64u, false, true});
  call("long send", MessageSend{queue_ref, 1, pattern(100'001), 100'001, false, false});
  call("receive", MessageReceive{queue_ref, kMin64, kMax64u, true, true, true, true, 4});
  call("receive with defaults", MessageReceive{queue_ref, 0, 0, false, false, false, false, 8});
  const PayloadForm form{kMax64u, 65535, true, {"alice", "", "staff"}};
  call("send in a form", MessageSend{queue_ref, 1, pattern(40), 40, false, false, form, *known_abi("i386")});
  call("receive in a form",
       MessageReceive{queue_ref, 1, 40, false, false, false, false, 4, kMax64u, 65535, *known_abi("m68k")});
  call("operate", SemaphoreOperate{set_ref, {{65535, -32768, true, true}, {0, 32767, false, false}}, 2, kMin64, false});
  call("operate without a time-out", SemaphoreOperate{set_ref, {}, kMax64u, std::nullopt, true});
  call("many operations",
       SemaphoreOperate{set_ref, std::vector<SemaphoreOp>(500, {7, -1, false, true}), 500, 0, false});
  call("stat call", Control{queue_ref, ControlCommand::kStat, 0, 0, {}, std::nullopt, false});
  call("set", Control{queue_ref,
                      ControlCommand::kSet,
                      -1,
                      kMin64,
                      {},
                      Permissions{"bob", "staff", 1, kMax32u, 0666, kMax64u},
                      false});
  call("set all", Control{set_ref, ControlCommand::kSetAll, kMin32, kMax64, {0, 1, 65535}, std::nullopt, true});
  call("waiting", Control{set_ref, ControlCommand::kGetWaitingForZero, kMax32, 0, {}, std::nullopt, false});

  const ObjectRef segment{Kind::kSegment, kMax32, kMax64u};
  call("attach", SegmentAttach{segment, true, true, kMax32u});
  call("attach for writing", SegmentAttach{segment, false, false, 4096});
  call("attach by a program of another ABI", SegmentAttach{segment, true, false, 4096, *known_abi("i386")});
  call("unlock", Control{segment, ControlCommand::kUnlock, 0, 0, {}, std::nullopt, false});

  reply("plain reply", Error::kNone, kMax64, std::monostate{});
  reply("failed reply", Error::kStale, -1, std::monostate{});
  reply("get reply", Error::kNone, 0, GetReply{set_ref, 32000});
  reply("message", Error::kNone, 100, Message{kMax64, pattern(100)});
  reply("empty message", Error::kNone, 0, Message{1, {}});
  reply("message in a form", Error::kNone, 100, Message{kMax64, pattern(100), form});
  Stat stat;
  stat.key = kMin32;
  stat.uid = 0;
  stat.gid = 65534;
  stat.cuid = kMax32u;
  stat.cgid = kMax32u - 1;
  stat.owner_login = std::string("with\0nul", 8);
  stat.group_name = "staff";
  stat.creator_login = "";
  stat.creator_group_name = std::string(1000, 'g');
  stat.mode = 01777;
  stat.sequence = kMax32u;
  stat.change_time_s = kMin64;
  stat.send_time_s = kMax64;
  stat.receive_time_s = 1;
  stat.used_bytes = kMax64u;
  stat.messages = kMax64u - 1;
  stat.queue_bytes = kMax64u - 2;
  stat.last_sender_pid = kMax32;
  stat.last_receiver_pid = kMin32;
  stat.operation_time_s = 0x100000000;  // after 2038, and after 2106
  stat.semaphores = 32000;
  stat.attach_time_s = kMin64;
  stat.detach_time_s = 0x100000000;
  stat.segment_bytes = kMax64u;
  stat.attachments = kMax64u - 3;
  stat.creator_pid = kMax32;
  stat.last_pid = kMin32;
  reply("stat reply", Error::kNone, 0, stat);
  reply("attach reply", Error::kNone, 0, AttachReply{kMax64u, kMax32u, kMax64u - 1});
  reply("attach reply with declarations", Error::kNone, 0,
        AttachReply{8192, 4096, 0, "struct note { int n; };\nbind shm all to note;\n", *known_abi("m68k")});
  reply("values", Error::kNone, 0, std::vector<std::uint16_t>(32000, 65534));
  reply("no values", Error::kNone, 0, std::vector<std::uint16_t>{});

  frame("cancel", Cancel{CallId{1}});
  frame("taken", Taken{CallId{kMax64u}});
  frame("returned", Returned{CallId{0}});
  frame("returned as unfit", Returned{CallId{kMax64u}, "note.n is 4294967296"});
  frame("ask layout", AskLayout{queue_ref});
  frame("declarations", QueueDeclarations{queue_ref, "struct note { long mtype; };\nbind msg all to note;\n"});
  frame("no declarations", QueueDeclarations{queue_ref, ""});
  frame("declarations changed", DeclarationsChanged{});
  frame("ask number", AskNumber{511});
  frame("host number", HostNumber{65535});
  frame("process ended", ProcessEnded{{kMax32, kMax64u}});
  frame("call with undo", Call{CallId{1}, {"alice", {2, 3}}, Control{}, true});
  frame("undo holders", UndoHolders{{{kMax32, kMax64u}, {1, 0}}});
  frame("resolve", Resolve{RequestId{kMax64u}, queue, true, false, "vax"});
  frame("exclusive resolve", Resolve{RequestId{0}, set, false, true, ""});
  frame("present", Resolved{RequestId{1}, Resolved::Outcome::kPresent, "vax", kMax64u, ClaimId{}});
  frame("absent", Resolved{RequestId{2}, Resolved::Outcome::kAbsent, "", 0, ClaimId{}});
  frame("create", Resolved{RequestId{3}, Resolved::Outcome::kCreate, "", 0, ClaimId{kMax64u}});
  frame("register", Register{RequestId{4}, ClaimId{5}, queue, 6, "sun"});
  frame("registered", Registered{RequestId{kMax64u}, true});
  frame("not registered", Registered{RequestId{7}, false});
  frame("abandon", Abandon{ClaimId{kMax64u}});
  frame("removed", Removed{queue, kMax64u});
  frame("dropped", Dropped{set, 1});
  frame("list objects", ListObjects{RequestId{kMax64u}});
  frame("object list", ObjectList{RequestId{8},
                                  {{queue, kMax32, kMax64u, "alice", 0600, 16384, 12, 0, kMax64u},
                                   {set, kMin32, 0, "", kMax32u, 0, kMax64u, kMax64u}}});
  frame("empty object list", ObjectList{RequestId{9}, {}});
  frame("announce", Announce{{{queue, 1}, {set, kMax64u}}, {{set, 2}}, true});
  frame("announce, more follows", Announce{{}, {}, false});
  frame("announced", Announced{{{queue, kMax64u}}});

  const PageIndex page{kMax32u};
  const TransactionNumber transaction{kMax64u};
  const auto contents = [](std::size_t count) { return std::make_shared<const Bytes>(pattern(count)); };
  const auto report = [&](std::string name, HostPageMessage message, std::int32_t process = 0, std::uint32_t run = 1) {
    frame(std::move(name), SegmentReport{segment, std::move(message), process, run});
  };
  report("page request", PageRequest{page, PageAccess::kWrite});
  report("page request for reading", PageRequest{PageIndex{0}, PageAccess::kRead});
  report("ask ahead", AskAhead{page, kMax32u});
  report("page installed", PageInstalled{page, transaction});
  report("pages installed", PageInstalled{page, transaction}, 0, kPagesAtOnceMax);
  report("no page data", NoPageData{page, transaction});
  report("page dropped", PageDropped{page, transaction});
  report("relayed page", RelayedPage{page, transaction, contents(4096)});
  report("page failed", PageFailed{page, transaction});
  report("segment attached", SegmentAttached{kMax32u}, kMax32);
  report("segment detached", SegmentDetached{1}, kMin32);
  report("segment cleared", SegmentCleared{});
  report("pages held", PagesHeld{page, kMax32u, PageAccess::kWrite});
  report("segment held", SegmentHeld{kMax32u});
  report("page kept", PageKept{page, transaction});
  const auto order = [&](std::string name, OwnerPageMessage message, std::string host = "", std::uint32_t run = 1) {
    frame(std::move(name), SegmentOrder{segment, std::move(message), std::move(host), run});
  };
  order("grant from a holder",
        PageGrant{page, transaction, PageAccess::kWrite, PageOrigin::kHolder, HostId{}, true, true}, "vax");
  order("grant of what is held",
        PageGrant{page, transaction, PageAccess::kWrite, PageOrigin::kHeld, HostId{}, true, false});
  order("grant of zeros", PageGrant{page, transaction, PageAccess::kRead, PageOrigin::kZero, HostId{}, false, true});
  order("grants", PageGrant{page, transaction, PageAccess::kRead, PageOrigin::kHolder, HostId{}, false, true}, "vax",
        kPagesAtOnceMax);
  order("page declined", PageDeclined{page});
  order("page lost", PageLost{page});
  order("fetch", FetchPage{page, transaction, HostId{}, true, false}, "amiga");
  order("fetch through the owner", FetchPage{page, transaction, HostId{}, false, true}, "sun");
  order("invalidate", InvalidatePage{page, transaction});
  order("release", ReleasePage{page, transaction});
  order("restore", RestorePage{page, transaction});
  order("holder gone", HolderGone{page, transaction});
  order("dismissed", SegmentDismissed{});
  order("destroyed", SegmentDestroyed{});
  order("resumed", SegmentResumed{});
  order("refused", SegmentRefused{});
  order("passed on page", PageData{page, transaction, contents(65536)});
  frame("held page", HeldPage{"vax", segment, PageData{page, transaction, contents(4096)}, {}});
  frame("held pages",
        HeldPage{"vax", segment, PageData{page, transaction, contents(4096)}, {contents(4096), contents(4096)}});
  return all;
}

}  // namespace dipc::sample
