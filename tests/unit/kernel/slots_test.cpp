#include "daemon/kernel/slots.h"

#include <sys/wait.h>

#include <chrono>
#include <random>
#include <thread>

#include "tests/unit/kernel/kernel_fixture.h"

namespace dipc::test {
namespace {

class SlotsTest : public ::testing::Test {
 protected:
  // Opens the slots, as a daemon's start does; what was found in them is in found_.
  std::unique_ptr<Slots> open() {
    auto slots = Slots::open(
        directory_.path() / "slots",
        [this](const FoundMessage& message) {
          found_.push_back(message);
          return keep_;
        },
        [this](const std::string& line) { log_.push_back(line); });
    EXPECT_TRUE(slots) << slots.error().what;
    return slots ? std::move(*slots) : nullptr;
  }
  static SlotLabel label(std::uint64_t call) {
    return {"vax", CallId{call}, 32769, 0x1234, 12001, 0xfedcba9876543210u, "alice"};
  }
  static void put(Slot* slot, long type, const std::string& text) {
    std::memcpy(static_cast<char*>(slot->msgbuf()), &type, sizeof type);
    std::memcpy(static_cast<char*>(slot->msgbuf()) + sizeof type, text.data(), text.size());
  }

  TemporaryDirectory directory_;
  std::vector<FoundMessage> found_;
  std::vector<std::string> log_;
  bool keep_ = true;
};

TEST_F(SlotsTest, ASlotHasRoomAndIsEmpty) {
  const auto slots = open();
  for (const std::size_t bytes : {0u, 1u, 256u, 257u, 8192u, 70000u, 1u << 20}) {
    std::vector<Slot*> taken;
    for (int i = 0; i < 20; ++i) {
      Slot* const slot = slots->take(label(1), bytes);
      ASSERT_NE(slot, nullptr);
      EXPECT_GE(slot->room_bytes(), bytes);
      EXPECT_EQ(slot->type(), 0);
      put(slot, 5, std::string(slot->room_bytes(), 'x'));  // up to the last byte
      slot->received(slot->room_bytes());
      taken.push_back(slot);
    }
    for (Slot* const slot : taken) {
      EXPECT_EQ(slot->message(), (Message{5, Bytes(slot->room_bytes(), std::byte{'x'})}));
      slots->give_back(slot);
    }
    Slot* const again = slots->take(label(1), bytes);
    ASSERT_NE(again, nullptr);
    EXPECT_EQ(again->type(), 0);
    for (std::size_t i = 0; i < again->room_bytes(); ++i) ASSERT_EQ(again->text()[i], std::byte{0});
    slots->give_back(again);
  }
  EXPECT_EQ(slots->taken_count(), 0u);
  EXPECT_EQ(slots->take(label(1), std::numeric_limits<std::size_t>::max()), nullptr);
}

TEST_F(SlotsTest, ManySlotsOfManySizesDoNotOverlap) {
  const auto slots = open();
  std::mt19937 random(5);
  std::vector<std::pair<Slot*, long>> taken;
  for (int i = 1; i < 5000; ++i) {
    if (random() % 3 != 0 || taken.empty()) {
      Slot* const slot = slots->take(label(static_cast<std::uint64_t>(i)), random() % 3000);
      ASSERT_NE(slot, nullptr);
      put(slot, i, std::string(slot->room_bytes(), static_cast<char>(i)));
      slot->received(slot->room_bytes());
      taken.emplace_back(slot, i);
    } else {
      const auto which = static_cast<std::ptrdiff_t>(random() % taken.size());
      const auto [slot, number] = taken[static_cast<std::size_t>(which)];
      ASSERT_EQ(slot->message(), (Message{number, Bytes(slot->room_bytes(), static_cast<std::byte>(number))}));
      ASSERT_EQ(slot->label().call, CallId{static_cast<std::uint64_t>(number)});
      slots->give_back(slot);
      taken.erase(taken.begin() + which);
    }
  }
  EXPECT_EQ(slots->taken_count(), taken.size());
}

TEST_F(SlotsTest, WhatAnEarlierDaemonLeftIsFoundOnce) {
  {
    const auto slots = open();
    Slot* const received = slots->take(label(1), 100);
    put(received, 7, std::string("with a zero\0", 12));
    received->received(12);
    Slot* const in_between = slots->take(label(2), 5000);
    put(in_between, 8, "delivered, the length not yet noted");
    slots->take(label(3), 100);  // nothing came
    Slot* const given_back = slots->take(label(4), 100);
    put(given_back, 9, "taken by its receiver");
    given_back->received(21);
    slots->give_back(given_back);
  }
  open();
  ASSERT_EQ(found_.size(), 2u);
  std::sort(found_.begin(), found_.end(),
            [](const FoundMessage& a, const FoundMessage& b) { return a.message.type < b.message.type; });
  EXPECT_EQ(found_[0].message, (Message{7, bytes_of(std::string("with a zero\0", 12))}));
  EXPECT_TRUE(found_[0].length_exact);
  EXPECT_EQ(found_[0].label.host, "vax");
  EXPECT_EQ(found_[0].label.call, CallId{1});
  EXPECT_EQ(found_[0].label.queue, 32769);
  EXPECT_EQ(found_[0].label.key, 0x1234);
  EXPECT_EQ(found_[0].label.owner_uid, 12001u);
  EXPECT_EQ(found_[0].label.generation, 0xfedcba9876543210u);
  EXPECT_EQ(found_[0].label.login, "alice");
  EXPECT_EQ(text_of(found_[1].message.text), "delivered, the length not yet noted");
  EXPECT_FALSE(found_[1].length_exact);
  found_.clear();
  open();
  EXPECT_TRUE(found_.empty());
}

TEST_F(SlotsTest, WhatCouldNotBeKeptStays) {
  {
    const auto slots = open();
    Slot* const slot = slots->take(label(1), 100);
    put(slot, 7, "x");
    slot->received(1);
  }
  keep_ = false;
  open();
  EXPECT_EQ(found_.size(), 1u);
  ASSERT_EQ(log_.size(), 1u);
  EXPECT_NE(log_[0].find(".kept-"), std::string::npos);
  const auto slots = open();
  EXPECT_NE(slots->take(label(2), 100), nullptr);
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory_.path() / "slots")) {
    files += entry.path().string().find(".kept-") != std::string::npos ? 1 : 0;
  }
  EXPECT_EQ(files, 1);
}

TEST_F(SlotsTest, OneDaemonAtATime) {
  const auto slots = open();
  const auto second = Slots::open(
      directory_.path() / "slots", [](const FoundMessage&) { return true; }, [](const std::string&) {});
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().what.find("another daemon"), std::string::npos);
}

// Of one that was killed its guard has them open for a while.
TEST_F(SlotsTest, AFolderThatTheOtherDaemonSoonLetsGoIsWaitedFor) {
  auto first = open();
  std::thread lets_go([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    first.reset();
  });
  EXPECT_TRUE(Slots::open(
      directory_.path() / "slots", [](const FoundMessage&) { return true; }, [](const std::string&) {}));
  lets_go.join();
}

// Text of a message that shows whether it is whole: it is a function of its type and length, and does not end in zeros.
std::string whole_text(long type, std::size_t bytes) {
  std::string text(bytes, ' ');
  for (std::size_t i = 0; i < bytes; ++i)
    text[i] = static_cast<char>(1 + (static_cast<std::size_t>(type) * 7 + i) % 200);
  return text;
}
std::size_t whole_bytes(long type) { return 1 + static_cast<std::size_t>(type) * 37 % 4000; }

TEST_F(SlotsTest, KillingTheDaemonLosesAndTearsNoMessage) {
#ifdef DIPC_UNDER_QEMU
  GTEST_SKIP()
      << "qemu receives into a buffer of its own and copies: a kill in between loses the message (do_msgrcv())";
#endif
  std::mt19937 random(11);
  constexpr int kKills = 100;
  const Queue queue;
  long sent = 0;
  std::vector<bool> seen(1, true);
  long torn = 0;
  const auto see = [&](long type, const std::string& text) {
    ASSERT_GT(type, 0);
    ASSERT_LE(type, sent);
    EXPECT_FALSE(seen[static_cast<std::size_t>(type)]) << "twice: " << type;
    seen[static_cast<std::size_t>(type)] = true;
    torn += text != whole_text(type, whole_bytes(type)) ? 1 : 0;
  };
  for (int kill_number = 0; kill_number < kKills; ++kill_number) {
    const pid_t child = fork();
    if (child == 0) {
      const auto slots = Slots::open(
          directory_.path() / "slots", [](const FoundMessage&) { return true; }, [](const std::string&) {});
      if (!slots) _exit(1);
      for (std::uint64_t call = 1;; ++call) {
        Slot* const slot = (*slots)->take(label(call), 4000);
        if (slot == nullptr) _exit(2);
        const ssize_t got = msgrcv(queue.id(), slot->msgbuf(), slot->room_bytes(), 0, 0);
        if (got < 0) _exit(3);
        slot->received(static_cast<std::size_t>(got));
      }
    }
    for (auto count = random() % 200; count > 0;) {
      const long type = sent + 1;
      if (queue.send(type, whole_text(type, whole_bytes(type)))) {
        ++sent;
        seen.push_back(false);
        --count;
      }
    }
    for (auto turns = random() % 20000; turns > 0; --turns) asm volatile("" : : : "memory");
    kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended by itself: " << WEXITSTATUS(status);
    open();
    for (const FoundMessage& found : found_) see(static_cast<long>(found.message.type), text_of(found.message.text));
    found_.clear();
  }
  for (;;) {
    const std::string rest = queue.receive();
    if (rest.starts_with("errno")) break;
    see(std::stol(rest), rest.substr(rest.find(':') + 1));
  }
  EXPECT_EQ(torn, 0);
  const auto lost = std::count(seen.begin(), seen.end(), false);
  if (under_emulator()) {
    // qemu-user has the kernel copy the message into memory of its own, and then copies it to where we want it.
    EXPECT_LT(lost, sent / 10);
  } else {
    EXPECT_EQ(lost, 0) << "of " << sent;
  }
  EXPECT_GT(sent, 5000);
}

}  // namespace
}  // namespace dipc::test
