#include "daemon/io/tls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <sys/stat.h>

#include "tests/sim/random.h"
#include "tests/unit/io/tls_fixture.h"

namespace dipc {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing_tls::Certificates;
using Role = TlsStream::Role;
using State = TlsStream::State;

// Made once for all tests; those that spoil a file ask for a host() of their own.
Certificates certificates;

Bytes bytes(std::string_view text) {
  Bytes made;
  for (const char c : text) made.push_back(static_cast<std::byte>(c));
  return made;
}

// One end and what it has received.
struct End {
  End(const TlsContext& context, Role role) : tls(context, role) {}

  // Takes what the network brings and all plain text in it.
  Result<void> receive(std::span<const std::byte> ciphertext) {
    if (auto good = tls.receive(ciphertext); !good) return good;
    Bytes room(TlsStream::kRecordPlainBytesMax);
    for (;;) {
      const auto count = tls.read(room);
      if (!count) return tl::unexpected(count.error());
      if (*count == 0) return {};
      received.insert(received.end(), room.begin(), room.begin() + static_cast<std::ptrdiff_t>(*count));
    }
  }

  TlsStream tls;
  Bytes received;
};

struct Outcome {
  Result<void> dialler;
  Result<void> acceptor;
};

// Carries bytes between both ends until both are silent, in parts of at most `part` bytes.
Outcome run(End& dialler, End& acceptor, std::size_t part = 100'000) {
  Outcome outcome;
  for (bool moved = true; moved;) {
    moved = false;
    for (const bool to_acceptor : {true, false}) {
      End& from = to_acceptor ? dialler : acceptor;
      End& to = to_acceptor ? acceptor : dialler;
      auto& result = to_acceptor ? outcome.acceptor : outcome.dialler;
      const Bytes out = from.tls.take_output();
      for (std::size_t at = 0; at < out.size() && result; at += part) {
        result = to.receive(std::span(out).subspan(at, std::min(part, out.size() - at)));
      }
      moved = moved || !out.empty();
    }
  }
  return outcome;
}

TEST(TlsStream, TwoHostsOfOneAuthorityKnowEachOtherAfterTheHandshake) {
  const auto sun = certificates.context(certificates.standard("sun"));
  const auto vax = certificates.context(certificates.standard("vax"));
  End dialler(*sun, Role::kDialler), acceptor(*vax, Role::kAcceptor);
  EXPECT_EQ(dialler.tls.state(), State::kHandshake);
  const Outcome outcome = run(dialler, acceptor);
  ASSERT_TRUE(outcome.dialler && outcome.acceptor);
  EXPECT_EQ(dialler.tls.state(), State::kReady);
  EXPECT_EQ(acceptor.tls.state(), State::kReady);
  EXPECT_THAT(dialler.tls.peer().names, ElementsAre("vax"));
  EXPECT_THAT(acceptor.tls.peer().names, ElementsAre("sun"));
  EXPECT_EQ(dialler.tls.peer().fingerprint, vax->own().fingerprint);
  EXPECT_EQ(acceptor.tls.cipher(), has_aes_instructions() ? "TLS_AES_256_GCM_SHA384" : "TLS_CHACHA20_POLY1305_SHA256");
}

TEST(TlsStream, TextArrivesInBothDirectionsHoweverTheNetworkCutsIt) {
  const auto sun = certificates.context(certificates.standard("sun"));
  const auto vax = certificates.context(certificates.standard("vax"));
  for (const std::size_t part : {std::size_t{1}, std::size_t{5}, std::size_t{1000}, std::size_t{1} << 20}) {
    End dialler(*sun, Role::kDialler), acceptor(*vax, Role::kAcceptor);
    ASSERT_TRUE(run(dialler, acceptor, part).acceptor);
    const Bytes there(50'000, std::byte{1}), back(70'000, std::byte{2});
    ASSERT_TRUE(dialler.tls.write(there));
    ASSERT_TRUE(acceptor.tls.write(back));
    const Outcome outcome = run(dialler, acceptor, part);
    ASSERT_TRUE(outcome.dialler && outcome.acceptor);
    EXPECT_EQ(acceptor.received, there);
    EXPECT_EQ(dialler.received, back);
  }
}

TEST(TlsStream, OutputIsKeptUntilItIsDropped) {
  const auto sun = certificates.context(certificates.standard("sun"));
  TlsStream tls(*sun, Role::kDialler);
  const Bytes all(tls.output().begin(), tls.output().end());
  ASSERT_GT(all.size(), 100u);
  tls.drop_output(10);
  EXPECT_EQ(tls.take_output(), Bytes(all.begin() + 10, all.end()));
  EXPECT_TRUE(tls.output().empty());
}

TEST(TlsStream, OrderlyEndIsSeen) {
  const auto sun = certificates.context(certificates.standard("sun"));
  const auto vax = certificates.context(certificates.standard("vax"));
  End dialler(*sun, Role::kDialler), acceptor(*vax, Role::kAcceptor);
  run(dialler, acceptor);
  ASSERT_TRUE(dialler.tls.write(bytes("last words")));
  dialler.tls.close();
  ASSERT_TRUE(run(dialler, acceptor).acceptor);
  EXPECT_EQ(acceptor.received, bytes("last words"));
  EXPECT_EQ(acceptor.tls.state(), State::kPeerClosed);
}

TEST(TlsStream, CertificateOfAnotherAuthorityIsRefusedByName) {
  // The stranger trusts our authority, so that the refusal is ours.
  const auto sun = certificates.context(certificates.standard("sun"));
  const TlsFiles files = certificates.host("mars", "elsewhere");
  std::filesystem::copy_file(certificates.authority("lab") / "ca.pem", files.ca,
                             std::filesystem::copy_options::overwrite_existing);
  // Both authorities, since a host must trust its own.
  testing_tls::write(files.ca, testing_tls::contents(certificates.authority("lab") / "ca.pem") +
                                   testing_tls::contents(certificates.authority("elsewhere") / "ca.pem"));
  const auto mars = certificates.context(files);
  End dialler(*mars, Role::kDialler), acceptor(*sun, Role::kAcceptor);
  const Outcome outcome = run(dialler, acceptor);
  ASSERT_FALSE(outcome.acceptor);
  EXPECT_THAT(outcome.acceptor.error().what,
              HasSubstr("('mars', signed by 'elsewhere') is not signed by this cluster's"));
  EXPECT_THAT(outcome.acceptor.error().remedy, HasSubstr("ca.pem"));
  ASSERT_FALSE(outcome.dialler);  // the alert reached it
  EXPECT_THAT(outcome.dialler.error().what, HasSubstr("refuses our certificate"));
}

TEST(TlsStream, DiallerRefusesAnAcceptorOfAnotherAuthority) {
  const auto sun = certificates.context(certificates.standard("sun"));
  const auto mars = certificates.context(certificates.host("mars", "elsewhere"));
  End dialler(*sun, Role::kDialler), acceptor(*mars, Role::kAcceptor);
  const Outcome outcome = run(dialler, acceptor);
  ASSERT_FALSE(outcome.dialler);
  EXPECT_THAT(outcome.dialler.error().what, HasSubstr("not signed by this cluster's authority"));
  ASSERT_FALSE(outcome.acceptor);
  EXPECT_THAT(outcome.acceptor.error().what, HasSubstr("the authority that the peer knows"));
}

TEST(TlsStream, ExpiredCertificateIsRefusedWithItsDate) {
  const auto sun = certificates.context(certificates.standard("sun"));
  const auto old = std::chrono::system_clock::now() - std::chrono::hours(24 * 31);
  const auto vax = certificates.context(certificates.host("vax", "lab", old));
  EXPECT_LT(vax->own().days_left(std::chrono::system_clock::now()), 0);
  End dialler(*vax, Role::kDialler), acceptor(*sun, Role::kAcceptor);
  const Outcome outcome = run(dialler, acceptor);
  ASSERT_FALSE(outcome.acceptor);
  EXPECT_THAT(outcome.acceptor.error().what, HasSubstr("('vax', signed by 'lab') expired on 20"));
  EXPECT_THAT(outcome.acceptor.error().remedy, HasSubstr("ca issue"));
  ASSERT_FALSE(outcome.dialler);
  EXPECT_THAT(outcome.dialler.error().what, HasSubstr("refuses our certificate: expired"));
}

TEST(TlsStream, CertificateOfTheFutureNamesTheClocks) {
  const auto sun = certificates.context(certificates.standard("sun"));
  const auto future = std::chrono::system_clock::now() + std::chrono::hours(24 * 3);
  const auto vax = certificates.context(certificates.host("vax", "lab", future));
  End dialler(*vax, Role::kDialler), acceptor(*sun, Role::kAcceptor);
  const Outcome outcome = run(dialler, acceptor);
  ASSERT_FALSE(outcome.acceptor);
  EXPECT_THAT(outcome.acceptor.error().what, HasSubstr("is not valid before"));
  EXPECT_THAT(outcome.acceptor.error().remedy, HasSubstr("clocks"));
}

TEST(TlsStream, PlainTextIsNamed) {
  const auto sun = certificates.context(certificates.standard("sun"));
  for (const char* text : {"GET / HTTP/1.1\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n", "\n", "\x16\x7f plain"}) {
    for (const Role role : {Role::kAcceptor, Role::kDialler}) {
      End end(*sun, role);
      const auto result = end.receive(bytes(text));
      ASSERT_FALSE(result) << text;
      EXPECT_EQ(result.error().what, "the peer does not speak TLS");
      EXPECT_EQ(end.tls.state(), State::kFailed);
      EXPECT_FALSE(end.receive(bytes("more")));
    }
  }
}

// A client as other programs have it: any TLS version, no certificate.
struct Stranger {
  explicit Stranger(int version) : context(SSL_CTX_new(TLS_client_method())) {
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_max_proto_version(context, version);
    ssl = SSL_new(context);
    in = BIO_new(BIO_s_mem());
    out = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl, in, out);
    SSL_set_connect_state(ssl);
  }
  ~Stranger() {
    SSL_free(ssl);
    SSL_CTX_free(context);
  }
  Stranger(const Stranger&) = delete;
  Stranger& operator=(const Stranger&) = delete;

  Bytes turn(std::span<const std::byte> received) {
    BIO_write(in, received.data(), static_cast<int>(received.size()));
    SSL_do_handshake(ssl);
    Bytes sent(static_cast<std::size_t>(BIO_pending(out)));
    BIO_read(out, sent.data(), static_cast<int>(sent.size()));
    return sent;
  }

  SSL_CTX* context;
  SSL* ssl = nullptr;
  BIO *in = nullptr, *out = nullptr;
};

TEST(TlsStream, OlderTlsIsRefused) {
  const auto sun = certificates.context(certificates.standard("sun"));
  Stranger stranger(TLS1_2_VERSION);
  End acceptor(*sun, Role::kAcceptor);
  const auto result = acceptor.receive(stranger.turn({}));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().what, "the peer does not speak TLS 1.3");
}

TEST(TlsStream, PeerWithoutACertificateIsRefused) {
  const auto sun = certificates.context(certificates.standard("sun"));
  Stranger stranger(TLS1_3_VERSION);
  End acceptor(*sun, Role::kAcceptor);
  ASSERT_TRUE(acceptor.receive(stranger.turn({})));
  const auto result = acceptor.receive(stranger.turn(acceptor.tls.take_output()));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().what, "the peer shows no certificate");
}

TEST(TlsStream, DamageAfterTheHandshakeIsTrouble) {
  const auto sun = certificates.context(certificates.standard("sun"));
  const auto vax = certificates.context(certificates.standard("vax"));
  End dialler(*sun, Role::kDialler), acceptor(*vax, Role::kAcceptor);
  run(dialler, acceptor);
  ASSERT_TRUE(dialler.tls.write(bytes("hello")));
  Bytes record = dialler.tls.take_output();
  record.back() ^= std::byte{1};
  const auto result = acceptor.receive(record);
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().what, HasSubstr("damaged data on the connection"));
  EXPECT_TRUE(acceptor.received.empty());
}

TEST(TlsStream, RandomBytesInsteadOfAHandshakeNeverCrashIt) {
  const auto sun = certificates.context(certificates.standard("sun"));
  constexpr std::uint64_t kSeed = 1996;
  sim::Random random(kSeed);
  for (int round = 0; round < 100; ++round) {
    SCOPED_TRACE(testing::Message() << "seed " << kSeed << ", round " << round);
    End dialler(*sun, Role::kDialler), acceptor(*sun, Role::kAcceptor);
    Bytes noise = dialler.tls.take_output();
    const std::uint64_t changes = random.between(1, 20);
    for (std::uint64_t i = 0; i < changes; ++i) {
      const auto at = static_cast<std::size_t>(random.below(noise.size()));
      noise[at] = static_cast<std::byte>(random.below(256));
    }
    static_cast<void>(acceptor.receive(noise));
    EXPECT_NE(acceptor.tls.state(), State::kReady);
  }
}

// ---- TlsContext

TEST(TlsContext, KeyThatOthersCanReadIsRefused) {
  const TlsFiles files = certificates.host("sun");
  for (const mode_t mode : {mode_t{0640}, mode_t{0604}, mode_t{0666}}) {
    ASSERT_EQ(::chmod(files.key.c_str(), mode), 0);
    const auto loaded = TlsContext::load(files);
    ASSERT_FALSE(loaded.has_value());
    EXPECT_THAT(loaded.error().what, HasSubstr(files.key.string()));
    EXPECT_THAT(loaded.error().what, HasSubstr("others can read"));
    EXPECT_THAT(loaded.error().remedy, HasSubstr("chmod 600 " + files.key.string()));
  }
  ASSERT_EQ(::chmod(files.key.c_str(), 0400), 0);
  EXPECT_TRUE(TlsContext::load(files).has_value());
}

TEST(TlsContext, MissingFilesAreNamed) {
  for (auto which : {&TlsFiles::ca, &TlsFiles::certificate, &TlsFiles::key}) {
    const TlsFiles files = certificates.host("sun");
    std::filesystem::remove(files.*which);
    const auto loaded = TlsContext::load(files);
    ASSERT_FALSE(loaded.has_value());
    EXPECT_THAT(loaded.error().what, HasSubstr((files.*which).string() + ": no such file"));
  }
}

TEST(TlsContext, FilesThatAreSomethingElseAreNamed) {
  for (auto which : {&TlsFiles::ca, &TlsFiles::certificate, &TlsFiles::key}) {
    const TlsFiles files = certificates.host("sun");
    testing_tls::write(files.*which, "-----BEGIN NONSENSE-----\n");
    const auto loaded = TlsContext::load(files);
    ASSERT_FALSE(loaded.has_value());
    EXPECT_THAT(loaded.error().what, HasSubstr((files.*which).string()));
    EXPECT_THAT(loaded.error().remedy, HasSubstr("BEGIN"));
  }
}

TEST(TlsContext, KeyOfAnotherCertificateIsRefused) {
  TlsFiles files = certificates.host("sun");
  files.key = certificates.host("vax").key;
  const auto loaded = TlsContext::load(files);
  ASSERT_FALSE(loaded.has_value());
  EXPECT_THAT(loaded.error().what, HasSubstr("is not the key of"));
}

TEST(TlsContext, OwnCertificateOfAnotherAuthorityIsRefused) {
  TlsFiles files = certificates.host("sun");
  files.ca = certificates.authority("elsewhere") / "ca.pem";
  const auto loaded = TlsContext::load(files);
  ASSERT_FALSE(loaded.has_value());
  EXPECT_THAT(loaded.error().what, HasSubstr("is not signed by the authority in"));
}

TEST(TlsContext, ReloadTakesARenewedCertificateAndKeepsTheOldOneOnTrouble) {
  const TlsFiles files = certificates.host("sun");
  const auto context = certificates.context(files);
  const std::string before = context->own().fingerprint;
  const std::string old_pem = testing_tls::contents(files.certificate);
  testing_tls::write(files.certificate, "nonsense");
  EXPECT_FALSE(context->reload());
  EXPECT_EQ(context->own().fingerprint, before);

  const auto request = testing_tls::contents(files.key.parent_path() / "host.csr");
  const auto renewed = sign_request(certificates.authority("lab"), request, "sun", 60);
  ASSERT_TRUE(renewed);
  testing_tls::write(files.certificate, *renewed);
  const auto vax = certificates.context(certificates.standard("vax"));
  End dialler(*vax, Role::kDialler), acceptor(*context, Role::kAcceptor);  // began before the reload
  ASSERT_TRUE(context->reload());
  EXPECT_NE(context->own().fingerprint, before);
  ASSERT_TRUE(run(dialler, acceptor).dialler);
  EXPECT_EQ(dialler.tls.peer().fingerprint, before);
}

}  // namespace
}  // namespace dipc
