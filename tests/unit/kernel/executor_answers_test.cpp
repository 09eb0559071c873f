#include <sys/mman.h>
#include <sys/wait.h>

#include <limits>

#include "daemon/kernel/native_calls.h"
#include "tests/unit/kernel/kernel_fixture.h"

namespace dipc::test {
namespace {

// The kernel's own answers to the same calls, made directly as the same login, are what an answer must be.
class ExecutorAnswersTest : public ExecutorTest {
 protected:
  template <typename Make>
  Error directly(const Identity& as, Make&& make) {
    const ScopedIdentity identity(executor_->own_identity(), as);
    EXPECT_EQ(identity.error(), 0);
    return make() < 0 ? from_errno(errno) : Error::kNone;
  }
  static int removed_queue() {
    const Queue queue;
    return queue.id();
  }
  static int removed_set() {
    const SemaphoreSet set;
    return set.id();
  }
};

enum class Buffer { kGood, kTextUnreadable };

long send_bare(int id, const void* message, std::size_t bytes) {
#ifdef DIPC_SANITIZED
  // A sanitizer's msgsnd() reads the text before the kernel does, and takes what is meant here for a mistake.
  return syscall(SYS_msgsnd, id, message, bytes, IPC_NOWAIT);
#else
  return msgsnd(id, message, bytes, IPC_NOWAIT);
#endif
}

TEST_F(ExecutorAnswersTest, SendErrorsComeInTheKernelsOrder) {
  const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  auto* const pages =
      static_cast<char*>(mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(pages, MAP_FAILED);
  ASSERT_EQ(mprotect(pages + page, page, PROT_NONE), 0);
  const int removed = removed_queue();
  int compared = 0;
  int errors = 0;
  for (const int which : {0, 1, 2, 3}) {
    for (const std::uint64_t bytes : {std::uint64_t{3}, std::uint64_t{0}, std::uint64_t{8193},
                                      std::uint64_t{std::numeric_limits<std::size_t>::max()}}) {
      for (const long type : {1L, 0L, -1L}) {
        for (const Buffer buffer : {Buffer::kGood, Buffer::kTextUnreadable}) {
          for (const Identity& as : {kRoot, kAlice}) {
            const Queue queue;
            if (buffer == Buffer::kGood && bytes > 8193) continue;          // nobody has such a buffer
            if (buffer == Buffer::kTextUnreadable && bytes == 0) continue;  // there is no text
            const int id = which == 0 ? queue.id() : which == 1 ? removed : which == 2 ? -1 : 0x7fffffff;
            const std::size_t given = buffer == Buffer::kGood ? static_cast<std::size_t>(bytes) : 0;
            MessageSend call_body = sending(queue, type, std::string(given, 'x'), true);
            call_body.object.id = id;
            call_body.declared_bytes = bytes;
            call_body.unreadable = buffer != Buffer::kGood;
            const Reply reply = call(call_body, "vax", 100, as);
            std::vector<char> good(sizeof type + 8193);
            char* address = good.data();
            if (buffer == Buffer::kTextUnreadable) address = pages + page - sizeof type;
            std::memcpy(address, &type, sizeof type);
            const Error expected =
                directly(as, [&] { return send_bare(id, address, static_cast<std::size_t>(bytes)); });
            EXPECT_EQ(errno_name(reply.error), errno_name(expected))
                << "id " << id << " bytes " << bytes << " type " << type << " buffer " << static_cast<int>(buffer)
                << " uid " << as.uid;
            ++compared;
            errors += expected != Error::kNone ? 1 : 0;
          }
        }
      }
    }
  }
  EXPECT_GT(compared, 100);
  EXPECT_GT(compared, errors);
  munmap(pages, 2 * page);
}

TEST_F(ExecutorAnswersTest, ReceiveErrorsComeInTheKernelsOrder) {
  const int removed = removed_queue();
  for (const int which : {0, 1, 2}) {
    for (const std::uint64_t bytes : {std::uint64_t{100}, std::uint64_t{0}, std::uint64_t{2}, std::uint64_t{100000},
                                      std::uint64_t{std::numeric_limits<std::size_t>::max()},
                                      std::uint64_t{std::numeric_limits<std::size_t>::max() / 2}}) {
      for (const long type : {0L, 5L, 9L, -3L, -6L, std::numeric_limits<long>::min()}) {
        for (const int flags : {0, MSG_NOERROR, MSG_EXCEPT, MSG_COPY, MSG_COPY | MSG_EXCEPT}) {
          for (const Identity& as : {kRoot, kAlice}) {
            const Queue ours;
            const Queue theirs;
            ASSERT_TRUE(ours.send(5, "12345"));
            ASSERT_TRUE(theirs.send(5, "12345"));
            MessageReceive call_body = receiving(ours, type, true);
            if (which == 1) call_body.object.id = removed;
            if (which == 2) call_body.object.id = -1;
            call_body.max_bytes = bytes;
            call_body.type_bytes = sizeof(long);
            call_body.no_error = (flags & MSG_NOERROR) != 0;
            call_body.except = (flags & MSG_EXCEPT) != 0;
            call_body.copy = (flags & MSG_COPY) != 0;
            const Reply reply = call(call_body, "vax", 100, as);
            const int id = which == 0 ? theirs.id() : call_body.object.id;
            std::vector<char> buffer(sizeof type + 200000);
            ssize_t got = 0;
            const Error expected = directly(as, [&] {
              return got = msgrcv(id, buffer.data(), static_cast<std::size_t>(bytes), type, flags | IPC_NOWAIT);
            });
            EXPECT_EQ(errno_name(reply.error), errno_name(expected))
                << "id " << id << " bytes " << bytes << " type " << type << " flags " << flags << " uid " << as.uid;
            EXPECT_EQ(reply.value, got);
            EXPECT_EQ(ours.stat().msg_qnum, theirs.stat().msg_qnum);
          }
        }
      }
    }
  }
}

TEST_F(ExecutorAnswersTest, OperateErrorsComeInTheKernelsOrder) {
  const int removed = removed_set();
  for (const int which : {0, 1, 2}) {
    for (const unsigned count : {0u, 1u, 3u, 501u}) {
      for (const int number : {0, 1, 2}) {
        for (const int delta : {0, 1, -1, 32767}) {
          for (const bool unreadable : {false, true}) {
            for (const bool undo : {false, true}) {
              for (const std::int64_t timeout : {std::int64_t{1}, std::int64_t{-1}}) {
                for (const Identity& as : {kRoot, kAlice}) {
                  const SemaphoreSet ours(2);
                  const SemaphoreSet theirs(2);
                  const std::vector<SemaphoreOp> ops(unreadable ? 0 : count, op(number, delta, undo, true));
                  SemaphoreOperate call_body = operating(ours, ops, timeout);
                  call_body.declared_ops = count;
                  call_body.unreadable = unreadable;
                  if (which == 1) call_body.object.id = removed;
                  if (which == 2) call_body.object.id = -1;
                  const Reply reply = call(call_body, "vax", 100, as);
                  std::vector<sembuf> native(
                      count, sembuf{static_cast<unsigned short>(number), static_cast<short>(delta), IPC_NOWAIT});
                  timespec time{timeout < 0 ? -1 : 0, 1};
                  const int id = which == 0 ? theirs.id() : call_body.object.id;
                  const Error expected = directly(as, [&] {
                    return semtimedop(id, unreadable ? static_cast<sembuf*>(unreadable_memory()) : native.data(), count,
                                      &time);
                  });
                  // The adjustment of +32767 is in range, a third one isn't: SEM_UNDO has limits of its own.
                  const bool undo_range = undo && delta == 32767 && count == 3;
                  if (!undo_range) {
                    EXPECT_EQ(errno_name(reply.error), errno_name(expected))
                        << "id " << id << " count " << count << " number " << number << " delta " << delta
                        << " unreadable " << unreadable << " timeout " << timeout << " uid " << as.uid;
                  }
                  EXPECT_EQ(ours.value(0), theirs.value(0));
                }
              }
            }
          }
        }
      }
    }
    end_host("vax");
  }
}

TEST_F(ExecutorAnswersTest, SemaphoreControlAnswersAreTheKernels) {
  const int removed = removed_set();
  for (const int which : {0, 1}) {
    for (const Identity& as : {kRoot, kAlice}) {
      const SemaphoreSet ours(3);
      const SemaphoreSet theirs(3);
      ours.set(5, 1);
      theirs.set(5, 1);
      const ObjectRef object = which == 0 ? ours.ref() : ObjectRef{Kind::kSemaphoreSet, removed, 1};
      const int id = which == 0 ? theirs.id() : removed;
      const struct {
        ControlCommand command;
        int native;
      } commands[] = {{ControlCommand::kGetValue, GETVAL},
                      {ControlCommand::kGetWaitingForIncrease, GETNCNT},
                      {ControlCommand::kGetWaitingForZero, GETZCNT},
                      {ControlCommand::kSetValue, SETVAL}};
      for (const auto& [command, native] : commands) {
        for (const int number : {0, 1, 2, 3, -1}) {
          for (const int value : {7, 0, -1, 32767, 32768}) {
            const Reply reply = call(controlling(object, command, number, value), "vax", 100, as);
            int result = 0;
            // clang 14 captures no structured binding by name.
            const Error expected =
                directly(as, [&, native = native] { return result = semctl(id, number, native, value); });
            EXPECT_EQ(errno_name(reply.error), errno_name(expected))
                << "command " << native << " number " << number << " value " << value << " uid " << as.uid;
            EXPECT_EQ(reply.value, result);
          }
        }
      }
    }
  }
}

TEST_F(ExecutorAnswersTest, AllValuesAreReadAndSet) {
  const SemaphoreSet set(3);
  Control set_all = controlling(set.ref(), ControlCommand::kSetAll);
  set_all.values = {1, 2, 32767};
  EXPECT_EQ(call(set_all).error, Error::kNone);
  const Reply all = call(controlling(set.ref(), ControlCommand::kGetAll));
  EXPECT_EQ(std::get<std::vector<std::uint16_t>>(all.body), (std::vector<std::uint16_t>{1, 2, 32767}));
  set_all.values = {1, 2, 40000};
  EXPECT_EQ(call(set_all).error, Error::kRange);
  set_all.values = {1, 2};
  EXPECT_EQ(call(set_all).error, Error::kFault) << "less than the kernel would read";
  set_all.values = {1, 2, 3};
  set_all.unreadable = true;
  EXPECT_EQ(call(set_all).error, Error::kFault);
  EXPECT_EQ(call(set_all, "vax", 100, kAlice).error, Error::kAccess);
  EXPECT_EQ(call(controlling(set.ref(), ControlCommand::kGetAll), "vax", 100, kAlice).error, Error::kAccess);
  set_all.object.id = removed_set();
  EXPECT_EQ(call(set_all).error, Error::kInvalid);
  EXPECT_EQ(set.value(2), 32767);
}

TEST_F(ExecutorAnswersTest, PermissionsAreJudgedAsTheLogin) {
  const Queue queue(0600);
  queue.give_to(kAlice.uid, kAlice.gid, 0640);
  EXPECT_EQ(call(sending(queue, 1, "x"), "vax", 1, kAlice).error, Error::kNone);
  EXPECT_EQ(call(receiving(queue, 0, true), "vax", 1, kBob).error, Error::kAccess);
  const Identity in_group{kBob.uid, kBob.gid, {777, kAlice.gid}};
  EXPECT_EQ(call(receiving(queue, 0, true), "vax", 1, in_group).error, Error::kNone) << "a supplementary group";
  EXPECT_EQ(call(sending(queue, 1, "x"), "vax", 1, in_group).error, Error::kAccess);
  EXPECT_EQ(call(controlling(queue.ref(), ControlCommand::kRemove), "vax", 1, kBob).error, Error::kNotPermitted);
  EXPECT_EQ(geteuid(), 0u);
  EXPECT_EQ(call(controlling(queue.ref(), ControlCommand::kRemove), "vax", 1, kAlice).error, Error::kNone);
  EXPECT_EQ(call(controlling(queue.ref(), ControlCommand::kRemove), "vax", 1, kAlice).error, Error::kInvalid);
}

TEST_F(ExecutorAnswersTest, ABlockedCallKeepsItsIdentity) {
  const Queue queue(0600);
  queue.give_to(kAlice.uid, kAlice.gid, 0600);
  const CallKey wait = start(receiving(queue, 9), "vax", 1, kAlice);
  settle(queue.ref());
  // The kernel looks at the sleeper's permission again when it wakes (do_msgrcv() in ipc/msg.c).
  queue.give_to(kAlice.uid, kAlice.gid, 0);
  ASSERT_TRUE(queue.send(1, "wakes nobody"));
  queue.give_to(kAlice.uid, kAlice.gid, 0000);
  EXPECT_EQ(reply_of(wait).error, Error::kAccess);
}

TEST_F(ExecutorAnswersTest, StatusIsTheKernels) {
  const Queue queue(0640);
  queue.give_to(kAlice.uid, kBob.gid, 0640);
  ASSERT_TRUE(queue.send(1, "12345"));
  const Reply reply = call(controlling(queue.ref(), ControlCommand::kStat), "vax", 1, kAlice);
  const Stat& stat = std::get<Stat>(reply.body);
  const msqid_ds native = queue.stat();
  EXPECT_EQ(stat.uid, kAlice.uid);
  EXPECT_EQ(stat.gid, kBob.gid);
  EXPECT_EQ(stat.cuid, 0u);
  EXPECT_EQ(stat.mode, 0640u);
  EXPECT_EQ(stat.messages, 1u);
  EXPECT_EQ(stat.used_bytes, 5u);
  EXPECT_EQ(stat.queue_bytes, native.msg_qbytes);
  EXPECT_EQ(stat.send_time_s, native.msg_stime);
  EXPECT_EQ(stat.change_time_s, native.msg_ctime);
  EXPECT_EQ(stat.sequence, native.msg_perm.__seq);
  const SemaphoreSet set(4);
  const Reply of_set = call(controlling(set.ref(), ControlCommand::kStat));
  EXPECT_EQ(std::get<Stat>(of_set.body).semaphores, 4u);
}

TEST_F(ExecutorAnswersTest, SettingPermissionsNeedsNoPermissionToRead) {
  const Queue queue;
  queue.give_to(kAlice.uid, kAlice.gid, 0200);
  Control set = controlling(queue.ref(), ControlCommand::kSet);
  Permissions permissions;
  permissions.uid = kBob.uid;
  permissions.gid = kBob.gid;
  permissions.mode = 0604;
  permissions.queue_bytes = 100;
  set.set = permissions;
  EXPECT_EQ(call(set, "vax", 1, kBob).error, Error::kNotPermitted);
  EXPECT_EQ(call(set, "vax", 1, kAlice).error, Error::kNone);
  const msqid_ds native = queue.stat();
  EXPECT_EQ(native.msg_perm.uid, kBob.uid);
  EXPECT_EQ(native.msg_perm.gid, kBob.gid);
  EXPECT_EQ(native.msg_perm.mode & 0777u, 0604u);
  EXPECT_EQ(native.msg_qbytes, 100u);
  permissions.queue_bytes = 1u << 30;
  set.set = permissions;
  EXPECT_EQ(call(set, "vax", 1, kBob).error, Error::kNotPermitted) << "more than kernel.msgmnb needs root";
  set.set.reset();
  EXPECT_EQ(call(set, "vax", 1, kAlice).error, Error::kFault);
  const SemaphoreSet semaphores;
  set.object = semaphores.ref();
  set.set = permissions;
  EXPECT_EQ(call(set).error, Error::kNone);
  EXPECT_EQ(call(set, "vax", 1, kAlice).error, Error::kNotPermitted);
}

TEST_F(ExecutorAnswersTest, CommandsThatTheKindDoesNotHaveAreInvalid) {
  const Queue queue;
  EXPECT_EQ(call(controlling(queue.ref(), ControlCommand::kGetValue)).error, Error::kInvalid);
  EXPECT_EQ(call(controlling({Kind::kSegment, 1, 1}, ControlCommand::kStat)).error, Error::kNotImplemented);
}

TEST_F(ExecutorAnswersTest, PidsAreThoseOfTheRemoteCallers) {
  const Queue queue;
  const SemaphoreSet set(2);
  const auto stat = [&] { return std::get<Stat>(call(controlling(queue.ref(), ControlCommand::kStat)).body); };
  EXPECT_EQ(stat().last_sender_pid, 0);
  call(sending(queue, 1, "x"), "vax", 4001);
  EXPECT_EQ(stat().last_sender_pid, 4001);
  executor_->taken(start(receiving(queue), "sun", 4002));
  EXPECT_EQ(stat().last_receiver_pid, 4002);
  EXPECT_EQ(executor_->recorded_pids(Kind::kMessageQueue, queue.id(), -1), (RecordedPids{4001, 4002}));
  const pid_t child = fork();
  if (child == 0) _exit(queue.send(1, "local") ? 0 : 1);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(stat().last_sender_pid, child) << "a local sender is who the kernel says";
  EXPECT_EQ(stat().last_receiver_pid, 4002);
  EXPECT_EQ(executor_->recorded_pids(Kind::kMessageQueue, queue.id(), -1), (RecordedPids{0, 4002}));

  const auto get_pid = [&](int number) { return call(controlling(set.ref(), ControlCommand::kGetPid, number)).value; };
  call(operating(set, {op(0, 1)}), "vax", 4003);
  EXPECT_EQ(get_pid(0), 4003);
  EXPECT_EQ(get_pid(1), 0);
  call(controlling(set.ref(), ControlCommand::kSetValue, 1, 3), "vax", 4004);
  EXPECT_EQ(get_pid(1), 4004);
  Control all = controlling(set.ref(), ControlCommand::kSetAll);
  all.values = {1, 1};
  call(all, "vax", 4005);
  EXPECT_EQ(get_pid(0), 4005);
  EXPECT_EQ(executor_->recorded_pids(Kind::kSemaphoreSet, set.id(), 1).sender_or_semaphore, 4005);
  call(operating(set, {op(0, 1, true)}), "vax", 4006);
  EXPECT_EQ(get_pid(0), 4006);
}

TEST_F(ExecutorAnswersTest, ThePidOfAWokenSleeperIsKnownToTheNextStatus) {
  for (int round = 0; round < 300; ++round) {
    const Queue queue;
    const SemaphoreSet set;
    const CallKey receive = start(receiving(queue), "sun", 5001);
    const CallKey wait = start(operating(set, {op(0, -1)}), "sun", 5003);
    settle(queue.ref());
    settle(set.ref());
    start(sending(queue, 1, "x"), "vax", 5002);
    const CallKey stat = start(controlling(queue.ref(), ControlCommand::kStat));
    start(operating(set, {op(0, 1)}), "vax", 5004);
    const CallKey get_pid = start(controlling(set.ref(), ControlCommand::kGetPid));
    const Stat status = std::get<Stat>(reply_of(stat).body);
    ASSERT_EQ(status.last_sender_pid, 5002);
    ASSERT_EQ(status.last_receiver_pid, 5001);
    ASSERT_EQ(reply_of(get_pid).value, 5003);
    EXPECT_EQ(reply_of(receive).error, Error::kNone);
    EXPECT_EQ(reply_of(wait).error, Error::kNone);
    executor_->taken(receive);
  }
}

TEST_F(ExecutorAnswersTest, TimeoutsAreTheKernels) {
  const SemaphoreSet set;
  const auto timed = [&](std::int64_t ns, bool undo) {
    const auto begin = std::chrono::steady_clock::now();
    const Reply reply = call(operating(set, {op(0, -1, undo)}, ns));
    return std::pair(reply.error, std::chrono::steady_clock::now() - begin);
  };
  for (const bool undo : {false, true}) {
    EXPECT_EQ(timed(0, undo).first, Error::kAgain);
    EXPECT_EQ(timed(-1, undo).first, Error::kInvalid);
    EXPECT_EQ(timed(std::numeric_limits<std::int64_t>::min(), undo).first, Error::kInvalid);
    const auto [error, time] = timed(50'000'000, undo);
    EXPECT_EQ(error, Error::kAgain);
    EXPECT_GE(time, std::chrono::milliseconds(50));
  }
  const CallKey for_ever = start(operating(set, {op(0, -1)}, std::numeric_limits<std::int64_t>::max()));
  settle(set.ref());
  ASSERT_TRUE(set.add(1));
  EXPECT_EQ(reply_of(for_ever).error, Error::kNone);
}

TEST_F(ExecutorAnswersTest, TheTimeOutRunsWhileTheCallWaitsItsTurn) {
  const SemaphoreSet set(2);
  const auto begin = std::chrono::steady_clock::now();
  const CallKey first = start(operating(set, {op(0, -1)}));
  const CallKey second = start(operating(set, {op(1, -1)}, 30'000'000));
  EXPECT_EQ(reply_of(second).error, Error::kAgain);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(30));
  executor_->cancel(first);
  reply_of(first);
}

TEST_F(ExecutorAnswersTest, SomeOperationsThatDoNotWaitAndSomeThatDo) {
  const SemaphoreSet set(2);
  for (const bool undo : {false, true}) {
    set.set(0, 0);
    set.set(1, 1);
    // The one that can't go on doesn't wait: the answer is known.
    EXPECT_EQ(call(operating(set, {op(0, -1, undo, true), op(1, -1, undo, false)})).error, Error::kAgain);
    // The one that can't go on waits, the other has no reason to.
    const CallKey wait = start(operating(set, {op(0, -1, undo, false), op(1, -1, undo, true)}));
    settle(set.ref());
    EXPECT_FALSE(answered(wait));
    EXPECT_EQ(set.waiting(0), 1);
    ASSERT_TRUE(set.add(1));
    EXPECT_EQ(reply_of(wait).error, Error::kNone);
    EXPECT_EQ(set.value(1), 0);
    EXPECT_EQ(call(operating(set, {op(0, -1, undo, true), op(1, -1, undo, true)})).error, Error::kAgain);
  }
}

TEST_F(ExecutorAnswersTest, ObjectsAreMadeAsTheLogin) {
  GetCall get;
  get.name = {Kind::kSemaphoreSet, 0x1d1bc01};
  get.size = 5;
  EXPECT_EQ(executor_->get_object(kAlice, get).error(), Error::kNoEntry);
  get.create = true;
  get.exclusive = true;
  get.mode = 0600;
  const auto made = executor_->get_object(kAlice, get);
  ASSERT_TRUE(made);
  EXPECT_EQ(made->size, 5);
  EXPECT_EQ(executor_->get_object(kAlice, get).error(), Error::kExists);
  get.exclusive = false;
  get.size = 0;
  EXPECT_EQ(executor_->get_object(kAlice, get)->id, made->id);
  EXPECT_EQ(executor_->get_object(kAlice, get)->size, 5) << "what the set has, not what was asked for";
  EXPECT_EQ(executor_->get_object(kBob, get).error(), Error::kAccess);
  get.size = 6;
  EXPECT_EQ(executor_->get_object(kAlice, get).error(), Error::kInvalid);
  semid_ds status{};
  ASSERT_EQ(semctl(made->id, 0, IPC_STAT, &status), 0);
  EXPECT_EQ(status.sem_perm.cuid, kAlice.uid);
  EXPECT_EQ(status.sem_perm.cgid, kAlice.gid);
  EXPECT_EQ(status.sem_perm.mode & 0777u, 0600u);
  semctl(made->id, 0, IPC_RMID);
  get.name.kind = Kind::kSegment;
  EXPECT_EQ(executor_->get_object(kAlice, get).error(), Error::kNotImplemented);
}

TEST_F(ExecutorAnswersTest, WithoutRootOnlyTheOwnLoginIsServed) {
  executor_.reset();
  std::filesystem::permissions(directory_.path(), std::filesystem::perms::all);
  const pid_t child = fork();
  if (child == 0) {
    // A process with all three ids changed, as a daemon that an ordinary user started.
    if (setresgid(kAlice.gid, kAlice.gid, kAlice.gid) != 0 || setresuid(kAlice.uid, kAlice.uid, kAlice.uid) != 0) {
      _exit(1);
    }
    Executor::Options theirs = options();
    theirs.slot_dir = directory_.path() / "alice" / "slots";
    theirs.dead_letter_dir = directory_.path() / "alice" / "letters";
    auto opened = Executor::open(std::move(theirs), users_);
    if (!opened) _exit(2);
    executor_ = std::move(*opened);
    const SemaphoreSet set;
    if (call(operating(set, {op(0, 1)}), "vax", 1, kBob).error != Error::kAccess) _exit(3);
    if (call(operating(set, {op(0, 1)}), "vax", 1, kRoot).error != Error::kAccess) _exit(4);
    if (call(operating(set, {op(0, 1)}), "vax", 1, kAlice).error != Error::kNone) _exit(5);
    const CallKey wait = start(operating(set, {op(0, -2, true)}), "vax", 1, kAlice);
    settle(set.ref());
    call(controlling(set.ref(), ControlCommand::kGetWaitingForIncrease), "vax", 1, kAlice);
    executor_->cancel(wait);
    if (reply_of(wait).error != Error::kInterrupted) _exit(6);
    executor_.reset();
    semctl(set.id(), 0, IPC_RMID);
    _exit(testing::Test::HasFailure() ? 7 : 0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace dipc::test
