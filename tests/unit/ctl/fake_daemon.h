#pragma once

// A daemon that answers clients of its local socket with what a test gives it: for the asking side.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "wire/local.h"

namespace dipc {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "dipc-ctl-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) ADD_FAILURE() << "no temporary folder";
    path_ = name;
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

// What the client sent, as the daemon sees it.
struct Heard {
  std::vector<std::string> packets;
  std::vector<ucred> credentials;
};

class FakeDaemon {
 public:
  // `serve` gets the connected socket and what was heard so far; it runs on the daemon's thread, for so many clients.
  using Serve = std::function<void(int fd, Heard& heard)>;

  FakeDaemon(const std::filesystem::path& path, Serve serve, int clients = 1) {
    listener_ = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    if (::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener_, 1) != 0) {
      ADD_FAILURE() << "no socket at " << path;
      return;
    }
    thread_ = std::thread([this, clients, serve = std::move(serve)] {
      for (int client = 0; client < clients; ++client) {
        pollfd entry{listener_, POLLIN, 0};
        if (::poll(&entry, 1, 20000) != 1) return;
        const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
        const int on = 1;
        ::setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
        serve(fd, heard_);
        ::close(fd);
      }
    });
  }
  FakeDaemon(const FakeDaemon&) = delete;
  FakeDaemon& operator=(const FakeDaemon&) = delete;
  ~FakeDaemon() {
    join();
    ::close(listener_);
  }
  const Heard& join() {
    if (thread_.joinable()) thread_.join();
    return heard_;
  }

  // The next packet of the client; waits for it at most 20 s, then it is empty.
  static std::string hear(int fd, Heard& heard) {
    pollfd entry{fd, POLLIN, 0};
    if (::poll(&entry, 1, 20000) != 1) return {};
    std::string packet(100000, '\0');
    iovec part{packet.data(), packet.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred))] = {};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const ssize_t bytes = ::recvmsg(fd, &message, 0);
    if (bytes <= 0) return {};
    packet.resize(static_cast<std::size_t>(bytes));
    ucred credentials{};
    if (const cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr && header->cmsg_type == SCM_CREDENTIALS) {
      std::memcpy(&credentials, CMSG_DATA(header), sizeof credentials);
    }
    heard.packets.push_back(packet);
    heard.credentials.push_back(credentials);
    return packet;
  }

  static void greet(int fd, Heard& heard) {
    hear(fd, heard);
    const local::HelloReply welcome;
    EXPECT_EQ(::send(fd, &welcome, sizeof welcome, MSG_NOSIGNAL), static_cast<ssize_t>(sizeof welcome));
  }

  static void answer(int fd, int error, const std::string& json, bool in_memfd = false) {
    local::Reply reply;
    reply.call = 1;
    reply.error = error;
    reply.payload_bytes = static_cast<std::uint32_t>(json.size());
    if (in_memfd) reply.marks = local::kPayloadInMemfd;
    std::string packet(reinterpret_cast<const char*>(&reply), sizeof reply);
    if (!in_memfd) packet += json;
    iovec part{packet.data(), packet.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    int memfd = -1;
    if (in_memfd) {
      memfd = ::memfd_create("answer", MFD_CLOEXEC);
      EXPECT_EQ(::pwrite(memfd, json.data(), json.size(), 0), static_cast<ssize_t>(json.size()));
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      cmsghdr* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(header), &memfd, sizeof memfd);
    }
    EXPECT_EQ(::sendmsg(fd, &message, MSG_NOSIGNAL), static_cast<ssize_t>(packet.size()));
    if (memfd >= 0) ::close(memfd);
  }

  // Greets, hears one request, answers it.
  static Serve answering(int error, std::string json, bool in_memfd = false) {
    return [=](int fd, Heard& heard) {
      greet(fd, heard);
      hear(fd, heard);
      answer(fd, error, json, in_memfd);
    };
  }

 private:
  int listener_ = -1;
  Heard heard_;
  std::thread thread_;
};

}  // namespace dipc
