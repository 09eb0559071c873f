#include "tests/unit/pager/segment_daemon.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <sstream>

namespace dipc::test {

SegmentDaemon::SegmentDaemon(Options options) : PagedHost(options) {
  std::string folder = (std::filesystem::temp_directory_path() / "dipc_segment_XXXXXX").string();
  if (!mkdtemp(folder.data())) throw std::runtime_error("mkdtemp");
  folder_ = folder;
  path_ = folder + "/dipcd.sock";
  listener_ = Descriptor(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path_.c_str(), path_.size());
  EXPECT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(listen(listener_.get(), 100), 0);
  serve(listener_.get(), [this] { on_connection(); });
}

SegmentDaemon::~SegmentDaemon() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void SegmentDaemon::on_connection() {
  clients_.emplace_back(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  const int client = clients_.back().get();
  const int on = 1;
  EXPECT_EQ(setsockopt(client, SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
  ++connections;
  serve(client, [this, client] { on_request(client); });
}

void SegmentDaemon::on_request(int client) {
  local::Request request;
  iovec part{&request, sizeof request};
  alignas(cmsghdr) std::array<char, 256> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t bytes = recvmsg(client, &message, MSG_CMSG_CLOEXEC);
  if (bytes <= 0) return;
  pid_t pid = 0;
  Descriptor passed;
  for (cmsghdr* it = CMSG_FIRSTHDR(&message); it; it = CMSG_NXTHDR(&message, it)) {
    if (it->cmsg_type == SCM_CREDENTIALS) {
      ucred who;
      std::memcpy(&who, CMSG_DATA(it), sizeof who);
      pid = who.pid;
    } else if (it->cmsg_type == SCM_RIGHTS) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(it), sizeof fd);
      passed = Descriptor(fd);
    }
  }
  if (bytes == sizeof(local::HelloRequest)) {
    local::HelloReply hello;
    hello.same_namespace = 1;
    hello.op_timeout_ms = 5000;
    EXPECT_EQ(send(client, &hello, sizeof hello, MSG_NOSIGNAL), sizeof hello);
    return;
  }
  local::Reply reply;
  reply.call = request.call;
  const bool is_ours = request.kind == 2 && request.id == kSegmentId;
  switch (request.op) {
    case local::Op::kLookup:
      reply.where = is_ours ? local::Where::kRemote : local::Where::kLocal;
      return answer(client, reply);
    case local::Op::kAttach: {
      reply.error = is_ours ? attach_error : EINVAL;
      const bool writable = (request.flags & SHM_RDONLY) == 0;
      auto offer = pager().offer(writable);
      if (!offer) reply.error = ENOMEM;
      if (reply.error != 0) return answer(client, reply);
      reply.value = static_cast<std::int64_t>(offer->ticket);
      reply.extra = static_cast<std::int64_t>(offer->map_bytes);
      local::AttachOffer record;
      record.paging = offer->kind == PagerKind::kSignal ? local::Paging::kSignal : local::Paging::kUserfault;
      record.writable = writable ? 1 : 0;
      return answer(client, reply, &record, &*offer);
    }
    case local::Op::kAttached: {
      const auto ticket = static_cast<AttachTicket>(request.value);
      if (request.command != 0) {
        pager().withdraw(ticket);
        return answer(client, reply);
      }
      attaching_[ticket] = {client, request.call};
      return pager().attached(ticket, pid, static_cast<std::uint64_t>(request.type), std::move(passed));
    }
    case local::Op::kDetached:
      detaching_[next_token_] = {client, request.call};
      return pager().settle(next_token_++);
    default:
      return answer(client, reply);
  }
}

void SegmentDaemon::answer(int client, local::Reply reply, const local::AttachOffer* offer,
                           const AttachOffer* descriptors) {
  iovec parts[2] = {{&reply, sizeof reply}, {const_cast<local::AttachOffer*>(offer), sizeof *offer}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = offer ? 2 : 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(2 * sizeof(int))> control{};
  if (offer) {
    reply.payload_bytes = sizeof *offer;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(2 * sizeof(int));
    const int fds[2] = {descriptors->memory.get(), descriptors->pager.get()};
    std::memcpy(CMSG_DATA(header), fds, sizeof fds);
  }
  sendmsg(client, &message, MSG_NOSIGNAL);
}

void SegmentDaemon::on_attached(AttachTicket ticket, int error) {
  const auto found = attaching_.find(ticket);
  if (found != attaching_.end()) {
    local::Reply reply;
    reply.call = found->second.call;
    reply.error = error;
    answer(found->second.client, reply);
    attaching_.erase(found);
  }
  PagedHost::on_attached(ticket, error);
}

void SegmentDaemon::on_settled(std::uint64_t token) {
  const auto found = detaching_.find(token);
  if (found == detaching_.end()) return PagedHost::on_settled(token);
  local::Reply reply;
  reply.call = found->second.call;
  answer(found->second.client, reply);
  detaching_.erase(found);
}

bool is_emulated() { return *DIPC_TEST_EMULATOR != '\0'; }

std::unique_ptr<Process> run_under_shim(SegmentDaemon& daemon, const std::string& name) {
  const std::string socket = daemon.socket_path();
  return std::make_unique<Process>(daemon, [socket, name](Program& it) {
    setenv("LD_PRELOAD", DIPC_TEST_SHIM, 1);
    setenv("DIPC_SOCKET", socket.c_str(), 1);
    fcntl(it.socket(), F_SETFD, 0);
    // Crossed, the program needs the emulator that runs us, too.
    std::istringstream emulator(DIPC_TEST_EMULATOR);
    std::vector<std::string> words{std::istream_iterator<std::string>(emulator), {}};
    for (const std::string& word : {std::string(DIPC_TEST_SUBJECT), std::to_string(it.socket()), name}) {
      words.push_back(word);
    }
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    execvp(arguments[0], arguments.data());
    return 127;
  });
}

}  // namespace dipc::test
