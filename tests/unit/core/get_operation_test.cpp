#include "daemon/core/get_operation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace dipc {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr ObjectName kQueue{Kind::kMessageQueue, 0x10};
constexpr ObjectName kPrivate{Kind::kMessageQueue, 0};

class GetOperationTest : public testing::Test {
 protected:
  void begin(GetRequest request) {
    request.mode = 0640;
    request.size = 3;
    if (request.home.empty()) request.home = "here";
    get_.emplace(std::move(request), 5s);
    get_->start(now_);
  }

  std::vector<std::string> out() {
    std::vector<std::string> lines;
    for (const GetOperation::Action& action : get_->take_actions()) {
      lines.push_back(std::visit([this](const auto& value) { return line(value); }, action));
    }
    return lines;
  }
  std::string line(const GetOperation::SendResolve& send) {
    return std::string("resolve") + (send.resolve.create ? " create" : "") +
           (send.resolve.exclusive ? " exclusive" : "") +
           (send.resolve.home.empty() || send.resolve.home == "here" ? "" : " at " + send.resolve.home);
  }
  std::string line(const GetOperation::SendGet& send) {
    EXPECT_EQ(send.call.mode, 0640u);
    EXPECT_EQ(send.call.size, 3);
    return "get " + send.owner + (send.call.create ? " create" : "") + (send.call.exclusive ? " exclusive" : "") +
           (send.call.claim ? " claim " + std::to_string(static_cast<std::uint64_t>(*send.call.claim)) : "");
  }
  std::string line(const GetOperation::SendAbandon& send) {
    return "abandon " + std::to_string(static_cast<std::uint64_t>(send.abandon.claim));
  }
  std::string line(const GetOperation::Finish& finish) {
    if (finish.error != Error::kNone) return "error " + std::to_string(static_cast<int>(finish.error));
    return "done " + finish.owner + ":" + std::to_string(finish.reply.object.id) + (finish.made ? " made" : "");
  }
  static std::string error(Error error) { return "error " + std::to_string(static_cast<int>(error)); }

  void present(const std::string& owner) {
    get_->on_resolved(now_, Resolved{RequestId{}, Resolved::Outcome::kPresent, owner, 7, ClaimId{}});
  }
  void absent() { get_->on_resolved(now_, Resolved{RequestId{}, Resolved::Outcome::kAbsent, "", 0, ClaimId{}}); }
  void claim(std::uint64_t number) {
    get_->on_resolved(now_, Resolved{RequestId{}, Resolved::Outcome::kCreate, "", 0, ClaimId{number}});
  }
  void reply(Error error, std::int32_t id = 0, bool obstructed = false) {
    get_->on_get_reply(now_, error, GetReply{ObjectRef{Kind::kMessageQueue, id, 7}, 3}, obstructed);
  }

  TimePoint now_{};
  std::optional<GetOperation> get_;
};

TEST_F(GetOperationTest, AbsentIsENOENT) {
  begin({.name = kQueue});
  EXPECT_THAT(out(), ElementsAre("resolve"));
  absent();
  EXPECT_THAT(out(), ElementsAre(error(Error::kNoEntry)));
  EXPECT_TRUE(get_->done());
  EXPECT_EQ(get_->deadline(), kNever);
}

TEST_F(GetOperationTest, PresentObjectIsAskedForAtItsOwner) {
  begin({.name = kQueue, .create = true});
  EXPECT_THAT(out(), ElementsAre("resolve create"));
  present("sun");
  EXPECT_THAT(out(), ElementsAre("get sun create"));
  reply(Error::kNone, 42);
  EXPECT_THAT(out(), ElementsAre("done sun:42"));
}

TEST_F(GetOperationTest, KernelOfTheOwnerJudges) {
  begin({.name = kQueue});
  present("sun");
  out();
  reply(Error::kAccess);
  EXPECT_THAT(out(), ElementsAre(error(Error::kAccess)));
}

TEST_F(GetOperationTest, CreatesHereWithTheClaim) {
  begin({.name = kQueue, .create = true, .exclusive = true});
  EXPECT_THAT(out(), ElementsAre("resolve create exclusive"));
  claim(9);
  EXPECT_THAT(out(), ElementsAre("get here create exclusive claim 9"));
  reply(Error::kNone, 42);
  EXPECT_THAT(out(), ElementsAre("done here:42 made"));
}

TEST_F(GetOperationTest, CreatesAtHomeIfPolicySaysSo) {
  begin({.name = kQueue, .create = true, .home = "vax"});
  claim(9);
  EXPECT_THAT(out(), ElementsAre("resolve create at vax", "get vax create claim 9"));
}

TEST_F(GetOperationTest, ExclusiveWithoutCreateMeansNothing) {
  begin({.name = kQueue, .exclusive = true});
  present("sun");
  EXPECT_THAT(out(), ElementsAre("resolve", "get sun"));
}

TEST_F(GetOperationTest, ExclusiveOnAPresentNameIsEEXISTAlsoWhenItsOwnerIsAway) {
  begin({.name = kQueue, .create = true, .exclusive = true});
  present("sun");
  out();
  get_->on_owner_unreachable(now_, Error::kConnectionReset);
  EXPECT_THAT(out(), ElementsAre(error(Error::kExists)));
}

TEST_F(GetOperationTest, OwnerThatIsAwayIsEHOSTUNREACH) {
  begin({.name = kQueue, .create = true});
  present("sun");
  out();
  get_->on_owner_unreachable(now_, Error::kConnectionReset);
  EXPECT_THAT(out(), ElementsAre(error(Error::kHostUnreachable)));
}

TEST_F(GetOperationTest, HomeThatIsAwayGivesTheClaimBack) {
  begin({.name = kQueue, .create = true, .home = "vax"});
  claim(9);
  out();
  get_->on_owner_unreachable(now_, Error::kConnectionReset);
  EXPECT_THAT(out(), ElementsAre("abandon 9", error(Error::kConnectionReset)));
}

TEST_F(GetOperationTest, KnownOwnerNeedsNoReferee) {
  begin({.name = kQueue, .create = true, .known_owner = "sun"});
  EXPECT_THAT(out(), ElementsAre("get sun create"));
  reply(Error::kNone, 42);
  EXPECT_THAT(out(), ElementsAre("done sun:42"));
}

TEST_F(GetOperationTest, KnownOwnerThatLostItOrIsAwayIsLookedUpAgain) {
  begin({.name = kQueue, .create = true, .known_owner = "sun"});
  reply(Error::kStale);
  EXPECT_THAT(out(), ElementsAre("get sun create", "resolve create"));
  begin({.name = kQueue, .known_owner = "sun"});
  get_->on_owner_unreachable(now_, Error::kHostUnreachable);
  EXPECT_THAT(out(), ElementsAre("get sun", "resolve"));
}

TEST_F(GetOperationTest, StaleOwnerIsResolvedAgainWithGrowingPausesUntilTheTimeIsOver) {
  begin({.name = kQueue});
  const TimePoint start = now_;
  int resolves = 0;
  Duration longest{};
  for (std::vector<std::string> lines = out(); !get_->done(); lines = out()) {
    if (!lines.empty() && lines.back() == "resolve") {
      ++resolves;
      present("sun");
      EXPECT_THAT(out(), ElementsAre("get sun"));
      reply(Error::kStale);
    }
    ASSERT_GT(get_->deadline(), now_);
    longest = std::max(longest, get_->deadline() - now_);
    now_ = get_->deadline();
    get_->on_time(now_);
    if (get_->done()) {
      EXPECT_THAT(out(), ElementsAre(error(Error::kTimedOut)));
    }
  }
  EXPECT_EQ(now_, start + 5s);
  EXPECT_GT(resolves, 10);
  EXPECT_LT(resolves, 50);
  EXPECT_EQ(longest, 200ms);
}

TEST_F(GetOperationTest, RefusedRegistrationIsResolvedAgain) {
  begin({.name = kQueue, .create = true});
  claim(9);
  reply(Error::kStale);
  out();
  now_ = get_->deadline();
  get_->on_time(now_);
  present("sun");
  EXPECT_THAT(out(), ElementsAre("resolve create", "get sun create"));
}

TEST_F(GetOperationTest, ObjectThatCannotHaveItsStandInYetIsAskedForAgain) {
  begin({.name = kQueue, .known_owner = "sun"});
  reply(Error::kNone, 42, true);
  EXPECT_THAT(out(), ElementsAre("get sun"));
  now_ = get_->deadline();
  get_->on_time(now_);
  EXPECT_THAT(out(), ElementsAre("resolve"));
  present("sun");
  reply(Error::kNone, 42);
  EXPECT_THAT(out(), ElementsAre("get sun", "done sun:42"));
}

TEST_F(GetOperationTest, ExclusiveCreateThatWaitsForItsStandInIsNotKeptOutByItsOwnObject) {
  begin({.name = kQueue, .create = true, .exclusive = true, .home = "vax"});
  claim(9);
  reply(Error::kNone, 42, true);
  out();
  now_ = get_->deadline();
  get_->on_time(now_);
  present("vax");
  EXPECT_THAT(out(), ElementsAre("resolve create exclusive at vax", "get vax create"));
  reply(Error::kNone, 42);
  EXPECT_THAT(out(), ElementsAre("done vax:42 made")) << "it is the same object";
}

TEST_F(GetOperationTest, SilentRefereeIsETIMEDOUT) {
  begin({.name = kQueue, .create = true});
  out();
  EXPECT_EQ(get_->deadline(), now_ + 5s);
  now_ += 5s - 1ns;
  get_->on_time(now_);
  EXPECT_THAT(out(), IsEmpty());
  now_ += 1ns;
  get_->on_time(now_);
  EXPECT_THAT(out(), ElementsAre(error(Error::kTimedOut)));
}

TEST_F(GetOperationTest, LostRefereeIsAskedAgainWhenItIsBack) {
  begin({.name = kQueue});
  out();
  get_->on_referee_unreachable(now_);
  EXPECT_THAT(out(), IsEmpty());
  now_ = get_->deadline();
  get_->on_time(now_);
  EXPECT_THAT(out(), ElementsAre("resolve"));
}

TEST_F(GetOperationTest, SilentOwnerIsETIMEDOUTAndTheClaimIsGivenBack) {
  begin({.name = kQueue, .create = true});
  claim(9);
  out();
  now_ += 5s;
  get_->on_time(now_);
  EXPECT_THAT(out(), ElementsAre("abandon 9", error(Error::kTimedOut)));
  reply(Error::kNone, 42);
  EXPECT_THAT(out(), IsEmpty()) << "the program has had its answer";
}

TEST_F(GetOperationTest, ClaimThatComesTooLateIsGivenBack) {
  begin({.name = kQueue, .create = true});
  now_ += 5s;
  get_->on_time(now_);
  out();
  claim(9);
  EXPECT_THAT(out(), ElementsAre("abandon 9"));
  present("sun");
  EXPECT_THAT(out(), IsEmpty());
}

TEST_F(GetOperationTest, ClaimThatComesWithTheTimeOutIsGivenBackBeforeTheEnd) {
  begin({.name = kQueue, .create = true});
  out();
  now_ += 5s;
  claim(9);
  EXPECT_THAT(out(), ElementsAre("abandon 9", error(Error::kTimedOut))) << "after the end nobody takes actions";
}

TEST_F(GetOperationTest, ClaimThatHomeCouldNotUseIsGivenBack) {
  begin({.name = kQueue, .create = true, .home = "vax"});
  claim(9);
  out();
  reply(Error::kNoSpace);
  EXPECT_THAT(out(), ElementsAre("abandon 9", error(Error::kNoSpace)));
}

// Home has lost the referee, and its registration with it: the referee still waits for it.
TEST_F(GetOperationTest, ClaimWhoseRegistrationWasLostIsGivenBackBeforeTheNameIsResolvedAgain) {
  begin({.name = kQueue, .create = true, .home = "vax"});
  claim(9);
  out();
  reply(Error::kStale);
  EXPECT_THAT(out(), ElementsAre("abandon 9"));
  now_ = get_->deadline();
  get_->on_time(now_);
  EXPECT_THAT(out(), ElementsAre("resolve create at vax"));
}

TEST_F(GetOperationTest, CancelledGetGivesItsClaimBack) {
  begin({.name = kQueue, .create = true});
  claim(9);
  out();
  get_->on_cancel(now_);
  EXPECT_THAT(out(), ElementsAre("abandon 9", error(Error::kInterrupted)));
}

TEST_F(GetOperationTest, PrivateObjectGoesHomeWithoutTheReferee) {
  begin({.name = kPrivate, .home = "vax"});
  EXPECT_THAT(out(), ElementsAre("get vax"));
  reply(Error::kNone, 5);
  EXPECT_THAT(out(), ElementsAre("done vax:5 made"));
  begin({.name = kPrivate, .home = "vax"});
  get_->on_owner_unreachable(now_, Error::kConnectionReset);
  EXPECT_THAT(out(), ElementsAre("get vax", error(Error::kConnectionReset)));
}

}  // namespace
}  // namespace dipc
