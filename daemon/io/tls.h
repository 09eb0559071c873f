#pragma once

// Mutual TLS 1.3 without sockets: bytes of the network in and out on one side, plain text on the other. Both ends show
// a certificate of the cluster's authority; which names and addresses may come is not judged here (hosts.allow is).
// Source: RFC 8446; openssl SSL_read(3), BIO_meth_new(3).

#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/io/certificates.h"
#include "wire/messages.h"
#include "wire/result.h"

struct ssl_ctx_st;  // SSL_CTX
struct ssl_st;      // SSL

namespace dipc {

struct TlsFiles {
  std::filesystem::path ca;           // ca.pem
  std::filesystem::path certificate;  // host.pem
  std::filesystem::path key;          // host.key, readable by its owner alone
};

// In the folder tls beside dipc.toml.
TlsFiles tls_files_beside(const std::filesystem::path& configuration_file);

// The host's own identity and whom it believes. Errors of load and reload name the file and what to do: missing, not a
// certificate, key readable by others, key that does not fit the certificate, certificate not signed by the authority,
// expired.
class TlsContext {
 public:
  static Result<std::unique_ptr<TlsContext>> load(TlsFiles files);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  // Reads the files again. Streams made from now on use them, older ones keep what they began with. On trouble
  // everything stays as it was.
  Result<void> reload();

  // Our own certificate, for status and the warning about its expiry.
  const CertificateInfo& own() const { return own_; }
  // Our own certificate and those of the authority, a line each, for the log: "ca.pem lab sha256:9f86...".
  const std::vector<std::string>& lines() const { return lines_; }
  ssl_ctx_st* native() const { return context_.get(); }

 private:
  struct Free {
    void operator()(ssl_ctx_st* context) const;
  };
  using Handle = std::unique_ptr<ssl_ctx_st, Free>;
  struct Loaded {
    Handle context;
    CertificateInfo own;
    std::vector<std::string> lines;
  };
  TlsContext(TlsFiles files, Loaded loaded);
  static Result<Loaded> read(const TlsFiles& files);

  TlsFiles files_;
  Handle context_;
  CertificateInfo own_;
  std::vector<std::string> lines_;
};

// One end of one TLS connection.
// In: receive(), write(), close()   Out: output(), what receive() stores.
// After every call take what output() shows: also after trouble, since the alert that tells the peer why is in it.
class TlsStream {
 public:
  enum class Role { kDialler, kAcceptor };
  enum class State {
    kHandshake,
    kReady,  // peer() is known. A dialler is ready before the acceptor has judged it (TLS 1.3): its refusal comes as
             // trouble of a later receive()
    kPeerClosed,  // orderly end: nothing more will be received
    kFailed,
  };

  // Takes its own reference to what `context` holds now. A dialler's first bytes are in output() at once.
  TlsStream(const TlsContext& context, Role role);
  ~TlsStream();
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;

  // Bytes from the network; borrowed until read() has given 0, which must be before the next receive(). Trouble: state
  // is kFailed and stays so.
  Result<void> receive(std::span<const std::byte> ciphertext);
  // Plain text that has been received: fills `into`, or as much of it as one TLS record has. Call until it gives 0
  // after each receive(). `into` should have room for kRecordPlainBytesMax.
  Result<std::size_t> read(std::span<std::byte> into);
  // Encrypts all of `plaintext`. DIPC_CHECK: state is kReady or kPeerClosed.
  Result<void> write(std::span<const std::byte> plaintext);
  // Tells the peer that no more will come (close_notify).
  void close();

  // Bytes for the network, oldest first, valid until the next call; then drop what was sent. take_output() gives
  // everything away instead.
  std::span<const std::byte> output() const;
  void drop_output(std::size_t bytes);
  Bytes take_output();

  State state() const { return state_; }
  // The peer's certificate, from kReady on.
  const CertificateInfo& peer() const;
  // "TLS_AES_256_GCM_SHA384", from kReady on.
  std::string_view cipher() const;

  static constexpr std::size_t kRecordPlainBytesMax = 16 * 1024;  // RFC 8446 5.1

  struct Engine;  // tls.cpp: what the BIO callbacks see

 private:
  Result<void> shake_hands();
  tl::unexpected<Trouble> fail();

  std::unique_ptr<Engine> engine_;
  State state_ = State::kHandshake;
  std::optional<CertificateInfo> peer_;
};

// Does this machine have instructions for AES? Where it has none CHACHA20 is preferred.
bool has_aes_instructions();

}  // namespace dipc
