#include "daemon/referee_service.h"

#include <gmock/gmock.h>

#include "daemon/io/atomic_file.h"
#include "tests/unit/daemon/naming_fixture.h"

namespace dipc::test {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

constexpr ObjectName kQueue{Kind::kMessageQueue, 0x10};
constexpr ObjectName kOther{Kind::kMessageQueue, 0x20};

class RefereeServiceTest : public LoopTest {
 protected:
  ~RefereeServiceTest() override { service_.reset(); }

  void open(bool ran_before = false) {
    std::filesystem::create_directories(folder());
    auto opened = RefereeService::open(&loop_,
                                       {.host = "vax",
                                        .boot = "boot",
                                        .incarnation = Incarnation{1},
                                        .state_dir = folder(),
                                        .ran_before = ran_before,
                                        .claim_timeout = 60s,
                                        .grace = 20ms},
                                       peers_);
    ASSERT_TRUE(opened) << opened.error().what;
    service_ = std::move(*opened);
  }
  std::string folder() const { return (directory_.path() / "state").string(); }
  std::string hidden_folder() const { return (directory_.path() / "away").string(); }

  RegistryFile on_disk() const {
    const auto text = read_file(folder() + "/registry");
    if (!text || !*text) return {{}, false};
    return parse_registry("registry", **text).value_or(RegistryFile{{}, false});
  }
  std::optional<ClaimId> claim(const std::string& host, const ObjectName& name) {
    service_->on_message(host, Resolve{RequestId{1}, name, true, false});
    const auto resolved = peers_.next<Resolved>(host);
    if (!resolved || resolved->outcome != Resolved::Outcome::kCreate) return std::nullopt;
    return resolved->claim;
  }

  std::unique_ptr<RefereeService> service_;
};

TEST_F(RefereeServiceTest, WhenTheGraceTimeIsOverTheRegistryIsWrittenAsComplete) {
  open(true);
  EXPECT_FALSE(on_disk().complete);
  run_until([this] { return on_disk().complete; });
}

TEST_F(RefereeServiceTest, AQuestionMayComeBeforeTheAnnouncementOfItsSession) {
  open();
  service_->on_session_began("sun", "boot of sun");
  EXPECT_TRUE(claim("sun", kQueue));
  service_->on_message("sun", Announce{});
  EXPECT_TRUE(peers_.next<Announced>("sun"));
}

TEST_F(RefereeServiceTest, AHostsNumberIsOnDiskBeforeItHearsIt) {
  open();
  service_->on_session_began("sun", "boot of sun");
  service_->on_message("sun", AskNumber{});
  const auto first = peers_.next<HostNumber>("sun");
  ASSERT_TRUE(first);
  EXPECT_GT(first->number, 0);
  EXPECT_EQ(on_disk().numbers.at("sun"), first->number);
  service_.reset();
  open();
  service_->on_session_began("sun", "another boot");
  service_->on_message("sun", AskNumber{});
  EXPECT_EQ(peers_.next<HostNumber>("sun")->number, first->number) << "kept for ever";
}

TEST_F(RefereeServiceTest, AfterTheRegistryWasLostNewHostsGetNumbersWhenTheOthersHaveSaidTheirs) {
  open(true);
  service_->on_session_began("sun", "boot of sun");
  service_->on_session_began("moon", "boot of moon");
  service_->on_message("moon", AskNumber{});
  EXPECT_FALSE(peers_.next<HostNumber>("moon"));
  service_->on_message("sun", AskNumber{1});
  EXPECT_EQ(peers_.next<HostNumber>("sun")->number, 1);
  std::optional<HostNumber> late;
  run_until([&] { return late || (late = peers_.next<HostNumber>("moon")); });
  EXPECT_GT(late->number, 1);
}

TEST_F(RefereeServiceTest, WhatCanNotBeWrittenIsNotPromised) {
  open();
  service_->on_session_began("sun", "boot of sun");
  const auto number = claim("sun", kQueue);
  ASSERT_TRUE(number);
  std::filesystem::rename(folder(), hidden_folder());
  testing::internal::CaptureStderr();
  service_->on_message("sun", Register{RequestId{2}, *number, kQueue, 7});
  EXPECT_FALSE(peers_.next<Registered>("sun"));
  ASSERT_TRUE(service_->trouble());
  // Nor are there claims that could not be registered.
  EXPECT_FALSE(claim("sun", kOther));
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, HasSubstr(folder() + "/registry"));
  EXPECT_THAT(log, HasSubstr("make the folder"));

  std::filesystem::rename(hidden_folder(), folder());
  std::optional<Registered> registered;
  run_until([&] { return registered || (registered = peers_.next<Registered>("sun")); });
  EXPECT_TRUE(registered->accepted);
  EXPECT_EQ(on_disk().table.at(kQueue).generation, 7u);
  EXPECT_FALSE(service_->trouble());
  EXPECT_TRUE(claim("sun", kOther));
}

TEST_F(RefereeServiceTest, AFloodIsNotKeptWhileTheRegistryCanNotBeWritten) {
  open();
  service_->on_session_began("sun", "boot of sun");
  service_->on_session_began("mars", "boot of mars");
  const auto number = claim("mars", kQueue);
  ASSERT_TRUE(number);
  std::filesystem::rename(folder(), hidden_folder());
  const NamedObject object{kOther, 1};
  testing::internal::CaptureStderr();
  for (int i = 0; i < 50000; ++i) service_->on_message("sun", Announce{.owned = {object}});
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("too much of sun"));
  service_->on_message("mars", Register{RequestId{2}, *number, kQueue, 7});
  std::filesystem::rename(hidden_folder(), folder());
  run_until([&] { return !service_->trouble(); });
  int answered = 0;
  while (peers_.next<Announced>("sun")) ++answered;
  EXPECT_GT(answered, 1024);
  EXPECT_LT(answered, 50000);
  const auto registered = peers_.next<Registered>("mars");
  ASSERT_TRUE(registered) << "others are heard";
  EXPECT_TRUE(registered->accepted);
}

TEST_F(RefereeServiceTest, AnAnswerHeldBackIsNotForTheNextSession) {
  open();
  service_->on_session_began("sun", "boot of sun");
  const auto number = claim("sun", kQueue);
  ASSERT_TRUE(number);
  std::filesystem::rename(folder(), hidden_folder());
  service_->on_message("sun", Register{RequestId{2}, *number, kQueue, 7});
  service_->on_session_ended("sun");
  service_->on_session_began("sun", "boot of sun");
  std::filesystem::rename(hidden_folder(), folder());
  run_until([&] { return !service_->trouble(); });
  EXPECT_FALSE(peers_.next<Registered>("sun"));
}

}  // namespace
}  // namespace dipc::test
