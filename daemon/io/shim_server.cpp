#include "daemon/io/shim_server.h"

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
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

// A program of this machine: of our byte order, and with a C long that can be read as one.
bool is_understood(const Abi& abi) {
  const std::uint8_t long_bytes = abi[CType::kLong].size_bytes;
  const std::uint8_t size_bytes = abi[CType::kSize].size_bytes;
  return abi.byte_order == measured_abi().byte_order && (long_bytes == 4 || long_bytes == 8) &&
         (size_bytes == 4 || size_bytes == 8);
}

}  // namespace

struct ShimServer::Client {
  ClientId id{};
  Descriptor socket;
  bool greeted = false;
  bool answered = false;  // at least once
  bool administers = false;
  Abi abi;
  uid_t uid = 0;                   // of who connected
  bool counted = false;            // among the connections of its login
  uid_t bytes_uid = 0;             // whose `bytes` are
  std::uint64_t bytes = 0;         // of the outstanding request or of the unread reply
  pid_t pid = 0;                   // of the hello; watched
  std::uint64_t outstanding = 0;   // call not yet answered, 0 = none
  std::uint64_t untaken = 0;       // tracked reply in the socket, 0 = none
  std::unique_ptr<ReadPoll> poll;  // of the socket, which is closed after it
};

Result<std::unique_ptr<ShimServer>> ShimServer::listen(uv_loop_t* loop, Options options, Handler& handler) {
  auto socket = listen_at(options.path);
  if (!socket) return tl::unexpected(socket.error());
  return std::unique_ptr<ShimServer>(new ShimServer(loop, std::move(options), handler, std::move(*socket)));
}

ShimServer::ShimServer(uv_loop_t* loop, Options options, Handler& handler, Descriptor socket)
    : loop_(loop),
      options_(std::move(options)),
      handler_(handler),
      socket_(std::move(socket)),
      ipc_namespace_(ipc_namespace_of("/proc/self/ns/ipc")),
      packet_(kPacketBytesMax + 1),
      processes_(loop, [this](pid_t pid) { on_process_ended(pid); }),
      accept_poll_(std::make_unique<ReadPoll>(loop, socket_.get(), [this] { on_connection(); })),
      accept_timer_(std::make_unique<Timer>(
          loop,
          [this] { accept_poll_ = std::make_unique<ReadPoll>(loop_, socket_.get(), [this] { on_connection(); }); })),
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
}

void ShimServer::on_connection() {
  for (int accepted = 0; accepted < kAcceptedInTurn; ++accepted) {
    Descriptor socket(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) pause_accepting();
      return;
    }
    add_client(std::move(socket));
  }
}

void ShimServer::add_client(Descriptor socket) {
  want_credentials(socket.get());
  ucred from{};
  socklen_t bytes = sizeof(from);
  ::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &from, &bytes);
  auto client = std::make_unique<Client>();
  client->id = ClientId{next_client_++};
  client->socket = std::move(socket);
  client->uid = from.uid;
  Client& added = *client;
  clients_.emplace(added.id, std::move(client));
  added.poll = std::make_unique<ReadPoll>(loop_, added.socket.get(), [this, &added] { on_readable(added); });
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
  auto packet = receive_packet(client.socket.get(), packet_);
  if (!packet && packet.error() == NoPacket::kYet) return;
  const ClientId id = client.id;
  if (!packet) return close_client(id, packet.error() == NoPacket::kReset);
  if (!on_packet(client, std::move(*packet))) close_client(id, false);
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
  const ssize_t sent = ::send(client.socket.get(), &reply, sizeof(reply), MSG_NOSIGNAL | MSG_DONTWAIT);
  return client.greeted && sent == static_cast<ssize_t>(sizeof(reply));
}

bool ShimServer::on_packet(Client& client, LocalPacket packet) {
  if (!client.greeted) {
    local::HelloRequest hello;
    if (packet.bytes.size() != sizeof(hello)) return false;
    std::memcpy(&hello, packet.bytes.data(), sizeof(hello));
    if (hello.magic != local::kMagic || hello.op != static_cast<std::uint32_t>(local::Op::kHello)) return false;
    return on_hello(client, hello, packet.credentials);
  }
  LocalRequest request;
  if (packet.bytes.size() < sizeof(request.header)) return false;
  std::memcpy(&request.header, packet.bytes.data(), sizeof(request.header));
  if (request.header.magic != local::kMagic || request.header.call == 0) return false;
  if (request.header.op == local::Op::kCancel) {
    // The reply may have crossed it: then there is nothing to cancel.
    if (client.outstanding == request.header.call) turn_cancels_.emplace_back(client.id, request.header.call);
    return true;
  }
  if (client.outstanding != 0) return false;
  // Replies that nobody reads would pile up in the socket, each with what it carries. (The welcome is no such thing.)
  if (client.answered && has_unread(client.socket.get())) {
    close_client(client.id, true);
    return false;
  }
  let_go(client);
  confirm_taken(client);
  const bool in_memfd = (request.header.marks & local::kPayloadInMemfd) != 0;
  const std::size_t bytes = !in_memfd ? packet.bytes.size() - sizeof(request.header)
                            : request.header.payload_bytes <= kPayloadBytesMax ? request.header.payload_bytes
                                                                               : 0;
  const ClientId id = client.id;
  if (!admit(client, request.header, bytes, packet.credentials.uid)) return clients_.contains(id);
  if (in_memfd) {
    if (!packet.passed || !is_memfd(packet.passed.get())) return false;
    if (request.header.payload_bytes <= kPayloadBytesMax) {
      request.payload = read_memfd(packet.passed.get(), request.header.payload_bytes);
    }
  } else {
    const auto payload = packet.bytes.subspan(sizeof(request.header));
    request.payload.assign(payload.begin(), payload.end());
    if (packet.passed) request.passed = std::make_shared<Descriptor>(std::move(packet.passed));
  }
  if (request.payload.size() > request.header.payload_bytes) return false;
  request.unreadable = request.payload.size() < request.header.payload_bytes;
  request.client = client.id;
  request.credentials = packet.credentials;
  request.abi = client.abi;
  client.outstanding = request.header.call;
  hold_bytes(client, packet.credentials.uid, request.payload.size());
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
  if (!send_reply(client.socket.get(), header, payload, descriptors)) {
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
    if (has_unread(client->socket.get())) {
      more = true;
    } else {
      confirm_taken(*client);
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
    close_client(id, client.untaken != 0 && has_unread(client.socket.get()));
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
