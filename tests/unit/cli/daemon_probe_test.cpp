#include "cli/daemon_probe.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

#include "wire/local.h"

namespace dipc {
namespace {

constexpr ByteOrder kOwn = measured_abi().byte_order;
constexpr ByteOrder kOther = kOwn == ByteOrder::kBig ? ByteOrder::kLittle : ByteOrder::kBig;
constexpr auto kLimit = std::chrono::seconds(10);

// Takes connections, and answers a hello in our byte order if it `answers`; closes others without a word, as dipcd
// does.
class FakeDaemon {
 public:
  explicit FakeDaemon(bool answers) : answers_(answers) {
    char folder[] = "/tmp/dipc-probe-XXXXXX";
    if (::mkdtemp(folder) == nullptr) return;
    folder_ = folder;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path().c_str(), sizeof address.sun_path - 1);
    socket_ = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (::bind(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return;
    if (::listen(socket_, 5) != 0) return;
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeDaemon() {
    ::shutdown(socket_, SHUT_RDWR);
    if (thread_.joinable()) thread_.join();
    ::close(socket_);
    std::filesystem::remove_all(folder_);
  }
  std::string path() const { return folder_ + "/socket"; }

 private:
  void serve() {
    for (int one; (one = ::accept(socket_, nullptr, nullptr)) >= 0; ::close(one)) {
      local::HelloRequest hello;
      const ssize_t bytes = ::recv(one, &hello, sizeof hello, 0);
      if (!answers_ || bytes != static_cast<ssize_t>(sizeof hello) || hello.magic != local::kMagic) continue;
      const local::HelloReply reply;
      (void)!::send(one, &reply, sizeof reply, MSG_NOSIGNAL);
    }
  }

  bool answers_;
  std::string folder_;
  int socket_ = -1;
  std::thread thread_;
};

TEST(DaemonProbe, ADaemonThatAnswersIsTold) {
  const FakeDaemon daemon(true);
  EXPECT_EQ(probe_daemon(daemon.path(), kOwn, kLimit), DaemonState::kAnswers);
}

TEST(DaemonProbe, ADaemonOfTheOtherByteOrderIsTold) {
  const FakeDaemon daemon(true);
  EXPECT_EQ(probe_daemon(daemon.path(), kOther, kLimit), DaemonState::kOtherOrder);
}

TEST(DaemonProbe, ADaemonThatIsKilledBeforeItAnswersIsNotTakenForAnotherMachines) {
  const FakeDaemon daemon(false);
  EXPECT_EQ(probe_daemon(daemon.path(), kOwn, kLimit), DaemonState::kSilent);
}

TEST(DaemonProbe, NoSocketIsNoDaemon) {
  EXPECT_EQ(probe_daemon("/tmp/dipc-there-is-none/socket", kOwn, kLimit), DaemonState::kAbsent);
}

}  // namespace
}  // namespace dipc
