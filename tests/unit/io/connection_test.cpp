#include "daemon/io/connection.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>

#include <optional>
#include <thread>
#include <vector>

#include "tests/unit/io/connection_fixture.h"
#include "wire/codec.h"

namespace dipc {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing_tls::Certificates;
using namespace std::chrono_literals;

Record frame(std::uint64_t sequence, Bytes text = {}) {
  return Frame{sequence, 0, Call{CallId{sequence}, {"alice", {1, 2}}, MessageSend{{}, 1, std::move(text), 0}}};
}

std::uint64_t sequence(const Record& record) { return std::get<Frame>(record).sequence; }

const Bytes& text(const Record& record) {
  return std::get<MessageSend>(std::get<Call>(*std::get<Frame>(record).message).body).text;
}

// Between the two: passes bytes on, and cuts or stops when told to. Lives on the test's loop.
class Wire {
 public:
  Wire(uv_loop_t* loop, const Endpoint& to) : loop_(loop), to_(to) {
    uv_tcp_init(loop, &server_);
    server_.data = this;
    sockaddr_in address{};
    uv_ip4_addr("127.0.0.1", 0, &address);
    EXPECT_EQ(uv_tcp_bind(&server_, reinterpret_cast<sockaddr*>(&address), 0), 0);
    EXPECT_EQ(uv_listen(reinterpret_cast<uv_stream_t*>(&server_), 1,
                        [](uv_stream_t* server, int) { static_cast<Wire*>(server->data)->accept(); }),
              0);
  }

  Endpoint endpoint() {
    sockaddr_in address{};
    int bytes = sizeof(address);
    uv_tcp_getsockname(&server_, reinterpret_cast<sockaddr*>(&address), &bytes);
    return loopback(ntohs(address.sin_port));
  }

  // With a reset, as a router or a crashed kernel does it.
  void cut() {
    if (cut_) return;
    cut_ = true;
    for (uv_tcp_t* side : {&near_, &far_}) {
      if (uv_is_closing(reinterpret_cast<uv_handle_t*>(side)) == 0) uv_tcp_close_reset(side, nullptr);
    }
  }
  void close() {
    cut();
    uv_close(reinterpret_cast<uv_handle_t*>(&server_), nullptr);
  }

  // Writes bytes of its own to the acceptor.
  void inject(std::string_view bytes) { pass(&far_, bytes.data(), bytes.size()); }
  std::size_t passed_to_acceptor() const { return passed_; }
  std::optional<std::size_t> cut_after;  // bytes to the acceptor

 private:
  void accept() {
    uv_tcp_init(loop_, &near_);
    uv_tcp_init(loop_, &far_);
    near_.data = far_.data = this;
    EXPECT_EQ(uv_accept(reinterpret_cast<uv_stream_t*>(&server_), reinterpret_cast<uv_stream_t*>(&near_)), 0);
    sockaddr_in address{};
    uv_ip4_addr("127.0.0.1", to_.port, &address);
    connect_.data = this;
    uv_tcp_connect(&connect_, &far_, reinterpret_cast<sockaddr*>(&address), [](uv_connect_t* request, int status) {
      EXPECT_EQ(status, 0);
      auto* wire = static_cast<Wire*>(request->data);
      wire->read(&wire->near_);
      wire->read(&wire->far_);
    });
  }

  void read(uv_tcp_t* side) {
    uv_read_start(
        reinterpret_cast<uv_stream_t*>(side),
        [](uv_handle_t* handle, std::size_t, uv_buf_t* buffer) {
          auto* wire = static_cast<Wire*>(handle->data);
          *buffer = uv_buf_init(wire->buffer_, sizeof(wire->buffer_));
        },
        [](uv_stream_t* stream, ssize_t count, const uv_buf_t* buffer) {
          auto* wire = static_cast<Wire*>(stream->data);
          const bool from_dialler = stream == reinterpret_cast<uv_stream_t*>(&wire->near_);
          if (count < 0) return wire->cut();
          auto bytes = static_cast<std::size_t>(count);
          const bool ends = from_dialler && wire->cut_after && wire->passed_ + bytes >= *wire->cut_after;
          if (ends) bytes = *wire->cut_after - wire->passed_;
          if (from_dialler) wire->passed_ += bytes;
          wire->pass(from_dialler ? &wire->far_ : &wire->near_, buffer->base, bytes);
          if (ends) wire->cut();
        });
  }

  void pass(uv_tcp_t* to, const char* bytes, std::size_t count) {
    struct Write {
      uv_write_t request;
      std::string bytes;
    };
    auto* write = new Write{{}, std::string(bytes, count)};
    write->request.data = write;
    const uv_buf_t buffer = uv_buf_init(write->bytes.data(), static_cast<unsigned>(count));
    uv_write(&write->request, reinterpret_cast<uv_stream_t*>(to), &buffer, 1,
             [](uv_write_t* request, int) { delete static_cast<Write*>(request->data); });
  }

  uv_loop_t* loop_;
  Endpoint to_;
  uv_tcp_t server_{}, near_{}, far_{};
  uv_connect_t connect_{};
  char buffer_[65536];
  std::size_t passed_ = 0;
  bool cut_ = false;
};

TEST_F(ConnectionTest, BothSidesLearnNameAndAddressOfThePeer) {
  connect();
  EXPECT_THAT(there_.connection->peer().names, ElementsAre("vax"));
  EXPECT_THAT(here_.connection->peer().names, ElementsAre("sun"));
  EXPECT_EQ(here_.connection->peer().fingerprint, sun_->own().fingerprint);
  EXPECT_EQ(here_.connection->remote().address.to_string(), "127.0.0.1");
  EXPECT_EQ(there_.connection->remote(), listener_->local());
  EXPECT_TRUE(there_.connection->is_dialler());
  EXPECT_FALSE(here_.connection->is_dialler());
}

TEST_F(ConnectionTest, RecordsArriveInOrderInBothDirections) {
  connect();
  for (std::uint64_t i = 1; i <= 500; ++i) {
    there_.connection->send(frame(i));
    here_.connection->send(frame(1000 + i));
  }
  run_until([this] { return here_.records.size() == 500 && there_.records.size() == 500; });
  for (std::size_t i = 0; i < 500; ++i) {
    EXPECT_EQ(sequence(here_.records[i]), i + 1);
    EXPECT_EQ(sequence(there_.records[i]), i + 1001);
  }
  EXPECT_EQ(there_.connection->queued_bytes(), 0u);
}

TEST_F(ConnectionTest, RecordsOfOneTurnGoOutInOneWrite) {
  connect();
  for (std::uint64_t i = 1; i <= 10; ++i) there_.connection->send(frame(i));
  EXPECT_EQ(here_.records.size(), 0u);
  const std::size_t queued = there_.connection->queued_bytes();
  EXPECT_EQ(queued, 10 * encode(frame(1)).size());
  // They are less than a TLS record holds, so one write is one record, and it is received as one.
  run_until([this] { return !here_.records.empty(); });
  EXPECT_EQ(here_.records.size(), 10u);
}

TEST_F(ConnectionTest, MessagesOfAMebibyteArriveWhole) {
  connect();
  Bytes big((std::size_t{1} << 20) + 7);
  for (std::size_t i = 0; i < big.size(); ++i) big[i] = static_cast<std::byte>(i * 31 >> 3);
  for (std::uint64_t i = 1; i <= 5; ++i) {
    there_.connection->send(frame(i, big));
    here_.connection->send(frame(i, big));
  }
  EXPECT_GT(there_.connection->queued_bytes(), 5 * big.size());
  run_until([this] { return here_.records.size() == 5 && there_.records.size() == 5; });
  for (const auto* seen : {&here_, &there_}) {
    for (const Record& record : seen->records) EXPECT_EQ(text(record), big);
  }
}

TEST_F(ConnectionTest, PingPongOfAThousandRecordsEndsWithoutATimer) {
  connect();
  Connection::Callbacks echo = here_.callbacks();
  echo.on_record = [](Connection& connection, Record record) { connection.send(record); };
  here_.connection->set_callbacks(echo);
  Connection::Callbacks next = there_.callbacks();
  next.on_record = [this](Connection& connection, Record record) {
    there_.records.push_back(record);
    if (there_.records.size() < 1000) connection.send(frame(there_.records.size() + 1));
  };
  there_.connection->set_callbacks(next);
  there_.connection->send(frame(1));
  run_until([this] { return there_.records.size() == 1000; });
  EXPECT_EQ(sequence(there_.records.back()), 1000u);
}

TEST_F(ConnectionTest, CloseSendsWhatIsQueuedAndThePeerSeesAnOrderlyEnd) {
  connect();
  there_.connection->send(Refusal{Refusal::Reason::kCluster, "another cluster"});
  there_.connection->close();
  there_.connection.reset();
  run_until([this] { return here_.closed.has_value(); });
  ASSERT_EQ(here_.records.size(), 1u);
  EXPECT_EQ(std::get<Refusal>(here_.records[0]).text, "another cluster");
  EXPECT_EQ(here_.closed->what, "the peer closed the connection");
  EXPECT_FALSE(there_.closed.has_value());
}

TEST_F(ConnectionTest, LongFarewellArrivesWhole) {
  connect();
  const Bytes big(std::size_t{8} << 20, std::byte{5});
  there_.connection->send(frame(1, big));
  there_.connection->close();
  run_until([this] { return here_.closed.has_value(); });
  ASSERT_EQ(here_.records.size(), 1u);
  EXPECT_EQ(text(here_.records[0]), big);
}

TEST_F(ConnectionTest, DroppingTheLastReferenceInACallbackEndsItSilently) {
  connect();
  Connection::Callbacks dropping = here_.callbacks();
  dropping.on_record = [this](Connection&, Record record) {
    here_.records.push_back(std::move(record));
    here_.connection.reset();
  };
  here_.connection->set_callbacks(dropping);
  for (std::uint64_t i = 1; i <= 3; ++i) there_.connection->send(frame(i));
  run_until([this] { return there_.closed.has_value(); });
  EXPECT_EQ(here_.records.size(), 1u);
  EXPECT_FALSE(here_.closed.has_value());
}

TEST_F(ConnectionTest, ClosingInACallbackStopsFurtherRecords) {
  connect();
  Connection::Callbacks closing = here_.callbacks();
  closing.on_record = [this](Connection& connection, Record record) {
    here_.records.push_back(std::move(record));
    connection.close();
  };
  here_.connection->set_callbacks(closing);
  for (std::uint64_t i = 1; i <= 3; ++i) there_.connection->send(frame(i));
  run_until([this] { return there_.closed.has_value(); });
  EXPECT_EQ(here_.records.size(), 1u);
}

TEST_F(ConnectionTest, WrongAuthorityIsToldToBothSides) {
  sun_ = certificates_.context(certificates_.standard("sun"));
  auto files = certificates_.host("mars", "elsewhere");
  testing_tls::write(files.ca, testing_tls::contents(certificates_.authority("lab") / "ca.pem") +
                                   testing_tls::contents(certificates_.authority("elsewhere") / "ca.pem"));
  const auto mars = certificates_.context(files);
  listen(*sun_);
  dial(*mars);
  run_until([this] { return here_.closed && there_.closed; });
  EXPECT_THAT(here_.closed->what,
              HasSubstr("('mars', signed by 'elsewhere') is not signed by this cluster's authority"));
  EXPECT_THAT(there_.closed->what, HasSubstr("the peer refuses our certificate"));
  EXPECT_FALSE(here_.ready);
}

TEST_F(ConnectionTest, ExpiredCertificateIsToldToBothSidesAlthoughTheDiallerHasSentAlready) {
  sun_ = certificates_.context(certificates_.standard("sun"));
  vax_ = certificates_.context(certificates_.host("vax", "lab", std::chrono::system_clock::now() - 24h * 31));
  listen(*sun_);
  dial(*vax_);
  Connection::Callbacks eager = there_.callbacks();
  eager.on_ready = [](Connection& connection) {
    for (std::uint64_t i = 1; i <= 100; ++i) connection.send(frame(i, Bytes(10'000)));
  };
  there_.connection->set_callbacks(eager);
  run_until([this] { return here_.closed && there_.closed; });
  EXPECT_THAT(here_.closed->what, HasSubstr("expired on"));
  EXPECT_EQ(there_.closed->what, "the peer refuses our certificate: expired");
  EXPECT_TRUE(here_.records.empty());
}

TEST_F(ConnectionTest, PlainTextOnThePortIsNamed) {
  sun_ = certificates_.context(certificates_.standard("sun"));
  listen(*sun_);
  Client client(listener_->local());
  client.send("GET / HTTP/1.0\r\n\r\n");
  run_until([this] { return here_.closed.has_value(); });
  EXPECT_EQ(here_.closed->what, "the peer does not speak TLS");
}

TEST_F(ConnectionTest, SilentPeerIsGivenUpAfterTheHandshakeLimit) {
  sun_ = certificates_.context(certificates_.standard("sun"));
  ConnectionLimits limits = patient();
  limits.handshake = 50ms;
  listen(*sun_, loopback(), limits);
  Client client(listener_->local());
  run_until([this] { return here_.closed.has_value(); });
  EXPECT_EQ(here_.closed->what, "the peer did not finish the TLS handshake in 50 ms");
}

TEST_F(ConnectionTest, PeerThatLeavesInTheHandshakeIsNamed) {
  sun_ = certificates_.context(certificates_.standard("sun"));
  listen(*sun_);
  { Client client(listener_->local()); }
  run_until([this] { return here_.closed.has_value(); });
  EXPECT_EQ(here_.closed->what, "the peer closed the connection in the TLS handshake");
}

TEST_F(ConnectionTest, NobodyListeningIsTroubleOfTheDialler) {
  sun_ = certificates_.context(certificates_.standard("sun"));
  listen(*sun_);
  const Endpoint was = listener_->local();
  listener_.reset();
  run_until([this] { return uv_loop_alive(&loop_) == 0; });
  there_.connection = Connection::dial(&loop_, was, *sun_, there_.callbacks(), patient());
  EXPECT_FALSE(there_.closed.has_value());  // never inside the call
  run_until([this] { return there_.closed.has_value(); });
  EXPECT_THAT(there_.closed->what, HasSubstr("cannot connect to " + was.to_string() + ": connection refused"));
}

TEST_F(ConnectionTest, AddressThatCannotBeReachedIsTroubleOfTheDialler) {
  sun_ = certificates_.context(certificates_.standard("sun"));
  const Endpoint nowhere{*IpAddress::parse("255.255.255.255"), 7310};  // connect(2) fails at once
  there_.connection = Connection::dial(&loop_, nowhere, *sun_, there_.callbacks(), patient());
  EXPECT_FALSE(there_.closed.has_value());
  run_until([this] { return there_.closed.has_value(); });
  EXPECT_THAT(there_.closed->what, HasSubstr("cannot connect to 255.255.255.255:7310"));
}

TEST_F(ConnectionTest, GarbageAfterTheHandshakeEndsTheConnection) {
  sun_ = certificates_.context(certificates_.standard("sun"));
  vax_ = certificates_.context(certificates_.standard("vax"));
  listen(*vax_);
  Wire wire(&loop_, listener_->local());
  there_.connection = Connection::dial(&loop_, wire.endpoint(), *sun_, there_.callbacks(), patient());
  run_until([this] { return there_.ready && here_.ready; });
  wire.inject("this is no TLS record, and long enough to look at");
  run_until([this] { return here_.closed.has_value(); });
  EXPECT_THAT(here_.closed->what, HasSubstr("damaged data on the connection"));
  wire.close();
}

// What a broken or hostile member of the cluster could send: good TLS around bad records.
class BadRecordTest : public ConnectionTest {
 protected:
  // Connects a TlsStream that is not a Connection and sends `plaintext` through it; gives what the acceptor said.
  Trouble send_plaintext(const Bytes& plaintext) {
    sun_ = certificates_.context(certificates_.standard("sun"));
    vax_ = certificates_.context(certificates_.standard("vax"));
    listen(*vax_);
    Client client(listener_->local());
    TlsStream tls(*sun_, TlsStream::Role::kDialler);
    std::thread peer([&] {
      Bytes room(65536);
      const auto flush = [&] {
        const Bytes out = tls.take_output();
        EXPECT_EQ(::send(client.fd(), out.data(), out.size(), MSG_NOSIGNAL), static_cast<ssize_t>(out.size()));
      };
      flush();
      while (tls.state() == TlsStream::State::kHandshake) {
        const ssize_t count = ::recv(client.fd(), room.data(), room.size(), 0);
        if (count <= 0 || !tls.receive({room.data(), static_cast<std::size_t>(count)})) return;
        flush();
      }
      EXPECT_TRUE(tls.write(plaintext));
      flush();
    });
    run_until([this] { return here_.closed.has_value(); });
    peer.join();
    return here_.closed.value_or(Trouble{});
  }
};

TEST_F(BadRecordTest, OversizedRecordEndsTheConnection) {
  Bytes prefix(8);
  store_length_prefix(std::span(prefix).first<4>(), kRecordBytesMax + 1);
  EXPECT_THAT(send_plaintext(prefix).what, HasSubstr("a record of 33554433 bytes"));
}

TEST_F(BadRecordTest, RecordThatIsNoCapnpMessageEndsTheConnection) {
  Bytes record(4 + 16, std::byte{0x5a});
  store_length_prefix(std::span(record).first<4>(), 16);
  const Trouble why = send_plaintext(record);
  EXPECT_THAT(why.what, HasSubstr("bad record"));
  EXPECT_TRUE(here_.records.empty());
}

TEST_F(BadRecordTest, RecordsBeforeTheBadOneAreDelivered) {
  Bytes stream = encode(frame(1));
  Bytes bad = encode(frame(2));
  bad[4] = std::byte{0xff};  // the number of segments
  stream.insert(stream.end(), bad.begin(), bad.end());
  EXPECT_THAT(send_plaintext(stream).what, HasSubstr("bad record"));
  ASSERT_EQ(here_.records.size(), 1u);
  EXPECT_EQ(sequence(here_.records[0]), 1u);
}

TEST_F(ConnectionTest, ConnectionThatIsCutAnywhereIsReportedByBothSidesOnce) {
  sun_ = certificates_.context(certificates_.standard("sun"));
  vax_ = certificates_.context(certificates_.standard("vax"));
  listen(*vax_);
  for (const std::size_t after : {0u, 1u, 100u, 600u, 1500u, 5'000u, 50'000u}) {
    SCOPED_TRACE(after);
    Wire wire(&loop_, listener_->local());
    wire.cut_after = after;
    Seen dialler;
    here_ = Seen{};
    there_ = Seen{};
    there_.connection = Connection::dial(&loop_, wire.endpoint(), *sun_, there_.callbacks(), patient());
    Connection::Callbacks eager = there_.callbacks();
    eager.on_ready = [](Connection& connection) {
      for (std::uint64_t i = 1; i <= 100; ++i) connection.send(frame(i, Bytes(1000)));
    };
    there_.connection->set_callbacks(eager);
    run_until([this] { return here_.closed && there_.closed; });
    EXPECT_LT(here_.records.size(), 100u);
    for (std::size_t i = 0; i < here_.records.size(); ++i) EXPECT_EQ(sequence(here_.records[i]), i + 1);
    there_.connection.reset();
    here_.connection.reset();
    wire.close();
    run_until([] { return true; });
  }
}

TEST_F(ConnectionTest, PeerThatTakesNothingIsGivenUpAtTheQueueLimit) {
  ConnectionLimits limits = patient();
  limits.queued_bytes_max = std::size_t{16} << 20;
  sun_ = certificates_.context(certificates_.standard("sun"));
  vax_ = certificates_.context(certificates_.standard("vax"));
  listen(*vax_, loopback(), limits);
  Client client(listener_->local());
  TlsStream tls(*sun_, TlsStream::Role::kDialler);
  Bytes room(65536);
  while (!here_.ready) {  // a handshake by hand; after it nobody reads
    const Bytes out = tls.take_output();
    if (!out.empty()) {
      ASSERT_EQ(::send(client.fd(), out.data(), out.size(), MSG_NOSIGNAL), static_cast<ssize_t>(out.size()));
    }
    uv_run(&loop_, UV_RUN_NOWAIT);
    const ssize_t count = ::recv(client.fd(), room.data(), room.size(), MSG_DONTWAIT);
    if (count > 0) {
      ASSERT_TRUE(tls.receive({room.data(), static_cast<std::size_t>(count)}));
    }
  }
  for (std::uint64_t i = 1; i <= 40; ++i) here_.connection->send(frame(i, Bytes(std::size_t{1} << 20)));
  run_until([this] { return here_.closed.has_value(); });
  EXPECT_THAT(here_.closed->what, HasSubstr("does not take what is sent"));
}

// ---- Listener

}  // namespace
}  // namespace dipc
