#include "daemon/io/shim_server.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "daemon/io/log.h"
#include "wire/check.h"
#include "wire/framing.h"
#include "wire/local_abi.h"

namespace dipc {

namespace {

constexpr auto kTakenLookEvery = std::chrono::milliseconds(5);  // a program reads its reply within tens of microseconds
constexpr std::size_t kPacketBytesMax = sizeof(local::Request) + local::kInlineBytesMax;
constexpr std::size_t kDescriptorsMax = 2;  // of a reply
constexpr std::size_t kPassedMax = 253;     // SCM_MAX_FD of include/net/scm.h
// Of the largest message, with its mtype. What is longer is never read: the owner's kernel says what it thinks of the
// size.
constexpr std::uint64_t kPayloadBytesMax = kTextBytesMax + sizeof(std::int64_t);
// Taken in one turn; so many may wait to ask something of administration, though their login has no room.
constexpr int kAcceptedInTurn = 64;
constexpr std::size_t kSurplusMax = 64;
constexpr std::ptrdiff_t kSurplusOfLoginMax = 16;
constexpr auto kAcceptPause = std::chrono::milliseconds(100);  // when no descriptor is left

std::uint64_t ipc_namespace_of(const char* path) {
  struct stat status {};
  return ::stat(path, &status) == 0 ? status.st_ino : 0;
}

Trouble system_trouble(const std::string& what, const std::string& remedy = {}) {
  return Trouble{what + ": " + std::strerror(errno), remedy};
}

// A program of this machine: of our byte order, and with a C long that can be read as one.
bool is_understood(const Abi& abi) {
  const std::uint8_t long_bytes = abi[CType::kLong].size_bytes;
  const std::uint8_t size_bytes = abi[CType::kSize].size_bytes;
  return abi.byte_order == measured_abi().byte_order && (long_bytes == 4 || long_bytes == 8) &&
         (size_bytes == 4 || size_bytes == 8);
}

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  return address;
}

bool somebody_answers(const sockaddr_un& address) {
  const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return false;
  const bool answered =
      ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 || errno == EAGAIN;
  ::close(fd);
  return answered;
}

// A file in memory, and not one that may never answer a read, as in FUSE, or that shows us what it hides from the
// program, as in /proc: only shmem has seals (fcntl(2)).
bool is_memfd(int fd) { return ::fcntl(fd, F_GET_SEALS) >= 0; }

// Reads what the sender put into `memfd`: pread, never mmap, so that truncating it meanwhile can't hurt us.
Bytes read_memfd(int memfd, std::size_t bytes) {
  Bytes data(bytes);
  std::size_t have = 0;
  while (have < bytes) {
    const ssize_t n = ::pread(memfd, data.data() + have, bytes - have, static_cast<off_t>(have));
    if (n <= 0) break;
    have += static_cast<std::size_t>(n);
  }
  data.resize(have);
  return data;
}

int memfd_with(std::span<const std::byte> payload) {
  const int fd = ::memfd_create("dipc-reply", MFD_CLOEXEC);
  if (fd < 0) return -1;
  std::size_t written = 0;
  while (written < payload.size()) {
    const ssize_t n = ::write(fd, payload.data() + written, payload.size() - written);
    if (n <= 0) {
      ::close(fd);
      return -1;
    }
    written += static_cast<std::size_t>(n);
  }
  return fd;
}

}  // namespace

struct ShimServer::Client {
  ClientId id{};
  int fd = -1;
  bool greeted = false;
  bool answered = false;  // at least once
  bool administers = false;
  Abi abi;
  uid_t uid = 0;                  // of who connected
  bool counted = false;           // among the connections of its login
  uid_t bytes_uid = 0;            // whose `bytes` are
  std::uint64_t bytes = 0;        // of the outstanding request or of the unread reply
  pid_t pid = 0;                  // of the hello; watched
  std::uint64_t outstanding = 0;  // call not yet answered, 0 = none
  std::uint64_t untaken = 0;      // tracked reply in the socket, 0 = none
  std::unique_ptr<ReadPoll> poll;
  ~Client() {
    poll.reset();
    if (fd >= 0) ::close(fd);
  }
};

Result<std::unique_ptr<ShimServer>> ShimServer::listen(uv_loop_t* loop, Options options, Handler& handler) {
  // A killed daemon's file stays until ours takes its place in one step: without a file programs would take it that no
  // daemon runs here, and go to the kernel.
  const std::string beside = options.path + ".new";
  if (beside.size() >= sizeof(sockaddr_un::sun_path)) {
    return trouble(options.path + ": too long for a unix socket", "choose a [paths] run of fewer than 92 characters");
  }
  const sockaddr_un address = address_of(beside);
  if (somebody_answers(address_of(options.path))) {
    return trouble(options.path + ": another dipcd answers there", "stop it, or give this one its own [paths] run");
  }
  ::unlink(beside.c_str());
  const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return tl::unexpected(system_trouble("socket"));
  const int on = 1;
  // Before listen(): a program that connects and sends before accept() has its credentials attached all the same.
  ::setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      ::chmod(beside.c_str(), 0666) != 0 ||  // everybody may ask; the kernel says who it is
      ::listen(fd, SOMAXCONN) != 0 || ::rename(beside.c_str(), options.path.c_str()) != 0) {
    const Trouble what = system_trouble(options.path, "see that the folder exists and can be written");
    ::close(fd);
    return tl::unexpected(what);
  }
  return std::unique_ptr<ShimServer>(new ShimServer(loop, std::move(options), handler, fd));
}

ShimServer::ShimServer(uv_loop_t* loop, Options options, Handler& handler, int fd)
    : loop_(loop),
      options_(std::move(options)),
      handler_(handler),
      fd_(fd),
      ipc_namespace_(ipc_namespace_of("/proc/self/ns/ipc")),
      packet_(kPacketBytesMax + 1),
      processes_(loop, [this](pid_t pid) { on_process_ended(pid); }),
      accept_poll_(std::make_unique<ReadPoll>(loop, fd, [this] { on_connection(); })),
      accept_timer_(std::make_unique<Timer>(
          loop, [this] { accept_poll_ = std::make_unique<ReadPoll>(loop_, fd_, [this] { on_connection(); }); })),
      after_poll_(std::make_unique<AfterPoll>(loop, [this] { hand_over(); })),
      taken_timer_(std::make_unique<Timer>(loop, [this] { look_for_taken(); })),
      hello_timer_(std::make_unique<Timer>(loop, [this] { end_silent(); })) {
  rlimit files{};
  if (options_.descriptors_max == 0 && ::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    options_.descriptors_max = static_cast<std::size_t>(files.rlim_cur / 2);
  }
}

ShimServer::~ShimServer() {
  ::unlink(options_.path.c_str());
  accept_poll_.reset();
  clients_.clear();
  ::close(fd_);
}

void ShimServer::on_connection() {
  for (int accepted = 0; accepted < kAcceptedInTurn; ++accepted) {
    const int fd = ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) pause_accepting();
      return;
    }
    add_client(fd);
  }
}

void ShimServer::add_client(int fd) {
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
  ucred from{};
  socklen_t bytes = sizeof(from);
  ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &from, &bytes);
  auto client = std::make_unique<Client>();
  client->id = ClientId{next_client_++};
  client->fd = fd;
  client->uid = from.uid;
  Client& added = *client;
  clients_.emplace(added.id, std::move(client));
  added.poll = std::make_unique<ReadPoll>(loop_, fd, [this, &added] { on_readable(added); });
  if (silent_.empty()) hello_timer_->start_at(loop_now() + options_.hello_timeout);
  silent_.emplace_back(loop_now() + options_.hello_timeout, added.id);
  if (has_room(added.uid)) {
    settle_in(added);
  } else {
    add_surplus(added);
  }
}

// ---- limits

std::string ShimServer::name_of(uid_t uid) const {
  const std::string login = options_.login_of ? options_.login_of(uid) : std::string();
  return (login.empty() ? "nameless" : login) + " (uid " + std::to_string(uid) + ")";
}

bool ShimServer::has_room(uid_t uid) const {
  const auto login = logins_.find(uid);
  if (login != logins_.end() && login->second.connections >= options_.connections_per_login) return false;
  const bool leaves_the_rest = uid != 0 && uid != ::geteuid();
  return !leaves_the_rest || clients_.size() + processes_.count() <= options_.descriptors_max;
}

void ShimServer::settle_in(Client& client) {
  client.counted = true;
  ++logins_[client.uid].connections;
}

void ShimServer::add_surplus(const Client& client) {
  surplus_.push_back(client.id);
  const auto is_same = [&](ClientId id) { return clients_.at(id)->uid == client.uid; };
  if (std::count_if(surplus_.begin(), surplus_.end(), is_same) > kSurplusOfLoginMax) {
    close_client(*std::find_if(surplus_.begin(), surplus_.end(), is_same), false);
  } else if (surplus_.size() > kSurplusMax) {
    close_client(surplus_.front(), false);
  }
}

void ShimServer::end_silent() {
  const TimePoint now = loop_now();
  while (!silent_.empty() && silent_.front().first <= now) {
    const ClientId id = silent_.front().second;
    silent_.pop_front();
    const auto found = clients_.find(id);
    if (found != clients_.end() && !found->second->greeted) close_client(id, false);
  }
  if (!silent_.empty()) hello_timer_->start_at(silent_.front().first);
}

// False: the client has gone meanwhile.
bool ShimServer::refuse(Client& client, std::uint64_t call, const std::string& why) {
  const std::string name = name_of(client.uid);
  log_warning("limit of " + name, name + " has " + why + "; more of its calls get ENOMEM");
  client.outstanding = call;
  local::Reply header;
  header.call = call;
  header.error = ENOMEM;
  header.value = -1;
  return reply(client.id, header, {});
}

// False: the request is refused, and the client may be gone.
bool ShimServer::admit(Client& client, const local::Request& header, std::size_t bytes, uid_t uid) {
  if (header.op == local::Op::kAdmin && bytes <= local::kInlineBytesMax) return true;
  if (!client.counted) {
    if (!has_room(client.uid)) {
      const auto login = logins_.find(client.uid);
      const std::size_t count = login == logins_.end() ? 0 : login->second.connections;
      const ClientId id = client.id;
      const bool is_full = count >= options_.connections_per_login;
      refuse(client, header.call,
             std::to_string(count) + " connections (" +
                 (is_full ? "limits.connections_per_login" : "programs have half of dipcd's RLIMIT_NOFILE") + ")");
      close_client(id, false);
      return false;
    }
    std::erase(surplus_, client.id);
    settle_in(client);
  }
  const auto login = logins_.find(uid);
  const std::uint64_t held = login == logins_.end() ? 0 : login->second.bytes;
  const bool brings_more = bytes > 0 || header.op == local::Op::kReceive;
  if (brings_more && held + bytes > options_.bytes_per_login) {
    refuse(client, header.call, std::to_string(held) + " bytes in calls under way (limits.bytes_per_login)");
    return false;
  }
  return true;
}

void ShimServer::hold_bytes(Client& client, uid_t uid, std::uint64_t bytes) {
  let_go(client);
  if (bytes == 0) return;
  client.bytes = bytes;
  client.bytes_uid = uid;
  logins_[uid].bytes += bytes;
}

void ShimServer::let_go(Client& client) {
  if (client.bytes == 0) return;
  logins_.at(client.bytes_uid).bytes -= std::exchange(client.bytes, 0);
  forget_login(client.bytes_uid);
}

void ShimServer::forget_login(uid_t uid) {
  const auto login = logins_.find(uid);
  if (login != logins_.end() && login->second.connections == 0 && login->second.bytes == 0) logins_.erase(login);
}

// ---- requests

// Those who wait stay readable: without a pause the loop would turn for nothing but them.
void ShimServer::pause_accepting() {
  log_warning("programs", "no descriptor left for another program's connection (RLIMIT_NOFILE of dipcd)");
  accept_poll_.reset();
  accept_timer_->start_at(loop_now() + kAcceptPause);
}

// One packet a turn: a client has one call outstanding, and what more there is comes with the next turn.
void ShimServer::on_readable(Client& client) {
  // Room for all that can be passed, though one is right: what does not fit, qemu-user 7.2 leaves open and unnamed.
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(kPassedMax * sizeof(int))];
  iovec vector{packet_.data(), packet_.size()};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  const ssize_t n = ::recvmsg(client.fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) {
    close_client(client.id, n < 0 && errno == ECONNRESET);
    return;
  }
  LocalCredentials credentials;
  std::vector<int> passed;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET) continue;
    if (header->cmsg_type == SCM_CREDENTIALS) {
      ucred from{};
      std::memcpy(&from, CMSG_DATA(header), sizeof(from));
      credentials = {from.pid, from.uid, from.gid};
    } else if (header->cmsg_type == SCM_RIGHTS) {
      passed.resize((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
      std::memcpy(passed.data(), CMSG_DATA(header), passed.size() * sizeof(int));
    }
  }
  const std::span<const std::byte> packet(packet_.data(), static_cast<std::size_t>(n));
  const ClientId id = client.id;
  const bool fits = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0 && passed.size() <= 1;
  Descriptor first(fits && !passed.empty() ? std::exchange(passed.front(), -1) : -1);
  const bool understood = fits && on_packet(client, packet, std::move(first), credentials);
  for (const int fd : passed) {
    if (fd >= 0) ::close(fd);
  }
  if (!understood) close_client(id, false);
}

bool ShimServer::on_hello(Client& client, const local::HelloRequest& hello, const LocalCredentials& credentials) {
  local::HelloReply reply;
  reply.daemon_pid = ::getpid();
  if (options_.keeper_pid) reply.keeper_pid = options_.keeper_pid();
  reply.op_timeout_ms = options_.op_timeout_ms;
  reply.same_namespace = hello.ipc_namespace == ipc_namespace_ ? 1 : 0;
  const auto abi = local::decode_abi(hello.abi);
  if (hello.version != local::kVersion || !abi || !is_understood(*abi)) reply.error = EPROTO;
  if (abi) client.abi = *abi;
  client.pid = credentials.pid;
  client.greeted = reply.error == 0;
  // A process that has ended already is seen by its closed socket.
  if (client.greeted) processes_.watch(client.pid);
  const ssize_t sent = ::send(client.fd, &reply, sizeof(reply), MSG_NOSIGNAL | MSG_DONTWAIT);
  return client.greeted && sent == static_cast<ssize_t>(sizeof(reply));
}

bool ShimServer::on_packet(Client& client, std::span<const std::byte> packet, Descriptor passed,
                           const LocalCredentials& credentials) {
  if (!client.greeted) {
    local::HelloRequest hello;
    if (packet.size() != sizeof(hello)) return false;
    std::memcpy(&hello, packet.data(), sizeof(hello));
    if (hello.magic != local::kMagic || hello.op != static_cast<std::uint32_t>(local::Op::kHello)) return false;
    return on_hello(client, hello, credentials);
  }
  LocalRequest request;
  if (packet.size() < sizeof(request.header)) return false;
  std::memcpy(&request.header, packet.data(), sizeof(request.header));
  if (request.header.magic != local::kMagic || request.header.call == 0) return false;
  if (request.header.op == local::Op::kCancel) {
    // The reply may have crossed it: then there is nothing to cancel.
    if (client.outstanding == request.header.call) turn_cancels_.emplace_back(client.id, request.header.call);
    return true;
  }
  if (client.outstanding != 0) return false;
  // Replies that nobody reads would pile up in the socket, each with what it carries. (The welcome is no such thing.)
  int unread_bytes = 0;
  if (client.answered && ::ioctl(client.fd, TIOCOUTQ, &unread_bytes) == 0 && unread_bytes > 0) {
    close_client(client.id, true);
    return false;
  }
  let_go(client);
  confirm_taken(client);
  const bool in_memfd = (request.header.marks & local::kPayloadInMemfd) != 0;
  const std::size_t bytes = !in_memfd                                          ? packet.size() - sizeof(request.header)
                            : request.header.payload_bytes <= kPayloadBytesMax ? request.header.payload_bytes
                                                                               : 0;
  const ClientId id = client.id;
  if (!admit(client, request.header, bytes, credentials.uid)) return clients_.contains(id);
  if (in_memfd) {
    if (!passed || !is_memfd(passed.get())) return false;
    if (request.header.payload_bytes <= kPayloadBytesMax) {
      request.payload = read_memfd(passed.get(), request.header.payload_bytes);
    }
  } else {
    const auto payload = packet.subspan(sizeof(request.header));
    request.payload.assign(payload.begin(), payload.end());
    if (passed) request.passed = std::make_shared<Descriptor>(std::move(passed));
  }
  if (request.payload.size() > request.header.payload_bytes) return false;
  request.unreadable = request.payload.size() < request.header.payload_bytes;
  request.client = client.id;
  request.credentials = credentials;
  request.abi = client.abi;
  client.outstanding = request.header.call;
  hold_bytes(client, credentials.uid, request.payload.size());
  client.administers = client.administers || request.header.op == local::Op::kAdmin;
  turn_.push_back(std::move(request));
  return true;
}

void ShimServer::hand_over() {
  std::vector<LocalRequest> requests;
  requests.swap(turn_);
  std::stable_sort(requests.begin(), requests.end(), [](const LocalRequest& a, const LocalRequest& b) {
    return a.header.issued_ns < b.header.issued_ns;
  });
  for (LocalRequest& request : requests) {
    if (clients_.contains(request.client)) handler_.on_request(std::move(request));
  }
  std::vector<std::pair<ClientId, std::uint64_t>> cancels;
  cancels.swap(turn_cancels_);
  for (const auto& [client, call] : cancels) {
    const auto found = clients_.find(client);
    if (found != clients_.end() && found->second->outstanding == call) handler_.on_cancel(client, call);
  }
}

std::size_t ShimServer::program_count() const {
  return static_cast<std::size_t>(
      std::count_if(clients_.begin(), clients_.end(), [](const auto& entry) { return !entry.second->administers; }));
}

bool ShimServer::reply(ClientId id, local::Reply header, std::span<const std::byte> payload, bool track,
                       std::span<const int> descriptors) {
  const auto found = clients_.find(id);
  if (found == clients_.end()) return false;
  Client& client = *found->second;
  DIPC_CHECK(client.outstanding == header.call);
  client.outstanding = 0;
  client.answered = true;
  const uid_t uid = client.bytes == 0 ? client.uid : client.bytes_uid;
  hold_bytes(client, uid, payload.size() > local::kInlineBytesMax ? payload.size() : 0);
  header.payload_bytes = static_cast<std::uint32_t>(payload.size());
  DIPC_CHECK(descriptors.size() <= kDescriptorsMax);
  DIPC_CHECK(descriptors.empty() || payload.size() <= local::kInlineBytesMax);
  int memfd = -1;
  if (payload.size() > local::kInlineBytesMax) {
    memfd = memfd_with(payload);
    header.marks |= local::kPayloadInMemfd;
    payload = {};
    if (memfd >= 0) descriptors = {&memfd, 1};
  }
  iovec vectors[2] = {{&header, sizeof(header)},
                      {const_cast<std::byte*>(payload.data()), payload.size()}};  // sendmsg does not write to it
  msghdr message{};
  message.msg_iov = vectors;
  message.msg_iovlen = 2;
  alignas(cmsghdr) char control[CMSG_SPACE(kDescriptorsMax * sizeof(int))] = {};
  if (!descriptors.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size_bytes());
  }
  const bool without_memfd = (header.marks & local::kPayloadInMemfd) != 0 && memfd < 0;
  const bool sent = !without_memfd && ::sendmsg(client.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
  if (memfd >= 0) ::close(memfd);
  if (!sent) {
    // Its end is closed, or it asks without reading: with one call outstanding a reply always fits.
    close_client(id, false);
    return false;
  }
  if (track) {
    client.untaken = header.call;
    taken_timer_->start_at(loop_now() + kTakenLookEvery);
  }
  return true;
}

void ShimServer::confirm_taken(Client& client) {
  if (client.untaken == 0) return;
  let_go(client);
  const std::uint64_t call = std::exchange(client.untaken, 0);
  handler_.on_reply_taken(client.id, call);
}

void ShimServer::look_for_taken() {
  bool more = false;
  for (auto& [id, client] : clients_) {
    if (client->untaken == 0) continue;
    int unread_bytes = 0;
    if (::ioctl(client->fd, TIOCOUTQ, &unread_bytes) == 0 && unread_bytes == 0) {
      confirm_taken(*client);
    } else {
      more = true;
    }
  }
  if (more) taken_timer_->start_at(loop_now() + kTakenLookEvery);
}

void ShimServer::on_process_ended(pid_t pid) {
  std::vector<ClientId> ended;
  for (const auto& [id, client] : clients_) {
    if (client->pid == pid) ended.push_back(id);
  }
  for (const ClientId id : ended) {
    // A copy of the socket in a forked child hides the ECONNRESET: ask whether the reply was read.
    const auto found = clients_.find(id);
    if (found == clients_.end()) continue;  // closed by what another one's end led to
    const Client& client = *found->second;
    int unread_bytes = 0;
    close_client(id, client.untaken != 0 && ::ioctl(client.fd, TIOCOUTQ, &unread_bytes) == 0 && unread_bytes > 0);
  }
}

void ShimServer::close_client(ClientId id, bool unread) {
  const auto found = clients_.find(id);
  if (found == clients_.end()) return;
  const std::unique_ptr<Client> client = std::move(found->second);
  clients_.erase(found);
  let_go(*client);
  if (client->counted) {
    --logins_.at(client->uid).connections;
    forget_login(client->uid);
  } else {
    std::erase(surplus_, id);
  }
  if (client->untaken != 0) {
    const std::uint64_t call = std::exchange(client->untaken, 0);
    if (unread) {
      handler_.on_reply_unread(id, call);
    } else {
      handler_.on_reply_taken(id, call);
    }
  }
  handler_.on_client_gone(id);
}

}  // namespace dipc
