#include "daemon/io/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/auxv.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "daemon/core/text_lines.h"
#include "daemon/io/openssl_handles.h"
#include "wire/check.h"

namespace dipc {
namespace {

using openssl::take_error;

constexpr std::size_t kKeptBytesMax = 4u << 20;
constexpr char kAesFirst[] = "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
constexpr char kChaChaFirst[] = "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384";

constexpr char kRemedyCa[] = "both hosts need the same ca.pem, and certificates that this authority signed";
constexpr char kRemedyRenew[] = "make a new request on that host and sign it: `dipcctl ca issue`";

// SSL_get_error(3ssl): what an earlier call left would be taken for this one's. Clearing costs more than looking.
void forget_old_errors() {
  if (ERR_peek_error() != 0) ERR_clear_error();
}

bool looks_like_tls(std::span<const std::byte> first) {
  const auto type = std::to_integer<unsigned>(first[0]);
  if (type < 20 || type > 22) return false;  // RFC 8446 5.1: change_cipher_spec, alert, handshake
  return first.size() < 2 || std::to_integer<unsigned>(first[1]) == 3;
}

}  // namespace

// ---- TlsContext

void TlsContext::Free::operator()(ssl_ctx_st* context) const { SSL_CTX_free(context); }

TlsContext::TlsContext(TlsFiles files, Loaded loaded)
    : files_(std::move(files)),
      context_(std::move(loaded.context)),
      own_(std::move(loaded.own)),
      lines_(std::move(loaded.lines)) {}

TlsContext::~TlsContext() = default;

TlsFiles tls_files_beside(const std::filesystem::path& configuration_file) {
  const auto folder = configuration_file.parent_path() / "tls";
  return {.ca = folder / "ca.pem", .certificate = folder / "host.pem", .key = folder / "host.key"};
}

Result<std::unique_ptr<TlsContext>> TlsContext::load(TlsFiles files) {
  auto loaded = read(files);
  if (!loaded) return tl::unexpected(loaded.error());
  return std::unique_ptr<TlsContext>(new TlsContext(std::move(files), std::move(*loaded)));
}

Result<void> TlsContext::reload() {
  auto loaded = read(files_);
  if (!loaded) return tl::unexpected(loaded.error());
  context_ = std::move(loaded->context);
  own_ = std::move(loaded->own);
  lines_ = std::move(loaded->lines);
  return {};
}

Result<TlsContext::Loaded> TlsContext::read(const TlsFiles& files) {
  const auto key = openssl::load_private_key(files.key);
  if (!key) return tl::unexpected(key.error());
  const auto chain = openssl::load_certificates(files.certificate, "certificate of this host");
  if (!chain) return tl::unexpected(chain.error());
  const auto authority = openssl::load_certificates(files.ca, "certificate of the cluster's authority");
  if (!authority) return tl::unexpected(authority.error());

  Loaded loaded;
  loaded.context.reset(SSL_CTX_new(TLS_method()));
  SSL_CTX* context = loaded.context.get();
  DIPC_CHECK(context != nullptr);
  DIPC_CHECK(SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1);
  DIPC_CHECK(SSL_CTX_set_ciphersuites(context, has_aes_instructions() ? kAesFirst : kChaChaFirst) == 1);
  // Whichever end has no AES instructions gets CHACHA20: the acceptor's order counts, except that a dialler that puts
  // CHACHA20 first has it.
  SSL_CTX_set_options(
      context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA | SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_mode(context, SSL_MODE_NO_AUTO_CHAIN);  // the peer has the authority's certificate; send ours alone
  SSL_CTX_set_num_tickets(context, 0);                // a connection lives for days; resuming one saves nothing
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);

  X509_STORE* store = SSL_CTX_get_cert_store(context);
  for (const auto& certificate : *authority) DIPC_CHECK(X509_STORE_add_cert(store, certificate.get()) == 1);
  X509* own = chain->front().get();
  if (SSL_CTX_use_certificate(context, own) != 1) {
    return trouble(files.certificate.string() + ": " + take_error(), kRemedyRenew);
  }
  for (std::size_t i = 1; i < chain->size(); ++i) SSL_CTX_add1_chain_cert(context, (*chain)[i].get());
  if (SSL_CTX_use_PrivateKey(context, key->get()) != 1 || SSL_CTX_check_private_key(context) != 1) {
    ERR_clear_error();
    return trouble(files.key.string() + " is not the key of " + files.certificate.string(),
                   "sign a request that was made with this key");
  }
  // Every peer would refuse us: say it here, where it can be mended. An expired one may still be needed for status.
  const openssl::StoreContext judge(X509_STORE_CTX_new());
  DIPC_CHECK(judge != nullptr && X509_STORE_CTX_init(judge.get(), store, own, nullptr) == 1);
  X509_STORE_CTX_set_flags(judge.get(), X509_V_FLAG_NO_CHECK_TIME);
  if (X509_verify_cert(judge.get()) != 1) {
    const char* why = X509_verify_cert_error_string(X509_STORE_CTX_get_error(judge.get()));
    ERR_clear_error();
    return trouble(files.certificate.string() + " is not signed by the authority in " + files.ca.string() + ": " + why,
                   kRemedyCa);
  }
  loaded.own = openssl::describe(own);
  const auto add_line = [&](const std::filesystem::path& file, const CertificateInfo& info) {
    loaded.lines.push_back(file.filename().string() + " " + info.subject + " " + info.fingerprint);
  };
  add_line(files.certificate, loaded.own);
  for (const auto& certificate : *authority) add_line(files.ca, openssl::describe(certificate.get()));
  return loaded;
}

// ---- TlsStream

struct TlsStream::Engine {
  explicit Engine(Role of) : role(of) {}
  ~Engine() { SSL_free(ssl); }
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  static BIO_METHOD* method();
  static int on_read(BIO* bio, char* into, std::size_t bytes, std::size_t* taken);
  static int on_write(BIO* bio, const char* from, std::size_t bytes, std::size_t* written);
  static long on_control(BIO* bio, int command, long number, void* pointer);
  static int on_verify(int good, X509_STORE_CTX* context);
  Trouble describe_failure(bool in_handshake);

  Role role;
  SSL* ssl = nullptr;  // owns the BIO
  std::span<const std::byte> input;
  bool seen_input = false;
  Bytes output;
  std::size_t output_begin = 0;
  // Why the peer's certificate did not pass; if because of its authority's, that too.
  int verify_error = X509_V_OK;
  CertificateInfo judged;
  std::optional<CertificateInfo> judged_authority;
  Trouble failure;
};

BIO_METHOD* TlsStream::Engine::method() {
  static BIO_METHOD* const kMethod = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "dipc stream");
    DIPC_CHECK(made != nullptr);
    BIO_meth_set_read_ex(made, on_read);
    BIO_meth_set_write_ex(made, on_write);
    BIO_meth_set_ctrl(made, on_control);
    return made;
  }();
  return kMethod;
}

int TlsStream::Engine::on_read(BIO* bio, char* into, std::size_t bytes, std::size_t* taken) {
  auto& engine = *static_cast<Engine*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  *taken = std::min(bytes, engine.input.size());
  if (*taken == 0) {
    BIO_set_retry_read(bio);
    return 0;
  }
  std::memcpy(into, engine.input.data(), *taken);
  engine.input = engine.input.subspan(*taken);
  return 1;
}

int TlsStream::Engine::on_write(BIO* bio, const char* from, std::size_t bytes, std::size_t* written) {
  auto& engine = *static_cast<Engine*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  const auto* begin = reinterpret_cast<const std::byte*>(from);
  engine.output.insert(engine.output.end(), begin, begin + bytes);
  *written = bytes;
  return 1;
}

long TlsStream::Engine::on_control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

int TlsStream::Engine::on_verify(int good, X509_STORE_CTX* context) {
  if (good == 1) return 1;
  const auto* ssl = static_cast<const SSL*>(X509_STORE_CTX_get_ex_data(context, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto& engine = *static_cast<Engine*>(SSL_get_app_data(ssl));
  if (engine.verify_error == X509_V_OK) {
    engine.verify_error = X509_STORE_CTX_get_error(context);
    if (const X509* leaf = X509_STORE_CTX_get0_cert(context)) engine.judged = openssl::describe(leaf);
    const X509* current = X509_STORE_CTX_get_current_cert(context);
    if (X509_STORE_CTX_get_error_depth(context) > 0 && current != nullptr) {
      engine.judged_authority = openssl::describe(current);
    }
  }
  return 0;
}

Trouble TlsStream::Engine::describe_failure(bool in_handshake) {
  const unsigned long code = ERR_peek_error();
  const int reason = ERR_GET_REASON(code);
  const std::string text = take_error();
  // Nobody has vouched for these names: quoted, they can't write lines of their own into a log.
  const std::string name = in_quotes(judged.names.empty() ? judged.subject : judged.names.front());
  const std::string theirs = "the peer's certificate (" + name + ", signed by " + in_quotes(judged.issuer) + ")";
  switch (verify_error) {
    case X509_V_OK:
      break;
    case X509_V_ERR_CERT_HAS_EXPIRED:
      if (judged_authority) {
        return {"the authority " + in_quotes(judged_authority->subject) + " of " + theirs + " expired on " +
                    openssl::date(judged_authority->not_after),
                "make a new authority and new certificates: `dipcctl ca init`"};
      }
      return {theirs + " expired on " + openssl::date(judged.not_after), kRemedyRenew};
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return {
          theirs + " is not valid before " + openssl::date((judged_authority ? *judged_authority : judged).not_before),
          "compare the clocks of both hosts"};
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return {theirs + " is not signed by this cluster's authority", kRemedyCa};
    default:
      return {theirs + " is not good: " + X509_verify_cert_error_string(verify_error), kRemedyRenew};
  }
  if (ERR_GET_LIB(code) == ERR_LIB_SSL) {
    switch (reason) {
      case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return {"the peer shows no certificate", "only hosts of the cluster may connect here"};
      case SSL_R_UNSUPPORTED_PROTOCOL:
      case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
        return {"the peer does not speak TLS 1.3", "is it a dipcd that listens there?"};
      case SSL_R_NO_SHARED_CIPHER:
        return {"the peer speaks TLS but none of our ciphers", "is it a dipcd that listens there?"};
      case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
        return {"the peer refuses our certificate: it was not signed by the authority that the peer knows", kRemedyCa};
      case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
        return {"the peer refuses our certificate: expired", "renew this host's certificate: `dipcctl ca issue`"};
      case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
      case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
      case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
      case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
      case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
        return {"the peer refuses our certificate: " + text, "its log says why"};
      default:
        break;
    }
  }
  return {(in_handshake ? "TLS handshake failed: " : "damaged data on the connection: ") + text,
          in_handshake ? "" : "something between the hosts changes data, or does not speak TLS"};
}

TlsStream::TlsStream(const TlsContext& context, Role role) : engine_(std::make_unique<Engine>(role)) {
  Engine& engine = *engine_;
  engine.ssl = SSL_new(context.native());
  BIO* bio = BIO_new(Engine::method());
  DIPC_CHECK(engine.ssl != nullptr && bio != nullptr);
  BIO_set_data(bio, &engine);
  BIO_set_init(bio, 1);
  SSL_set_bio(engine.ssl, bio, bio);
  DIPC_CHECK(SSL_set_app_data(engine.ssl, &engine) == 1);
  SSL_set_verify(engine.ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, Engine::on_verify);
  if (role == Role::kDialler) {
    SSL_set_connect_state(engine.ssl);
    DIPC_CHECK(shake_hands().has_value());  // writes the ClientHello
  } else {
    SSL_set_accept_state(engine.ssl);
  }
}

TlsStream::~TlsStream() = default;

tl::unexpected<Trouble> TlsStream::fail() {
  engine_->failure = engine_->describe_failure(state_ == State::kHandshake);
  engine_->input = {};
  state_ = State::kFailed;
  return tl::unexpected(engine_->failure);
}

Result<void> TlsStream::shake_hands() {
  forget_old_errors();
  const int result = SSL_do_handshake(engine_->ssl);
  if (result != 1) {
    if (SSL_get_error(engine_->ssl, result) == SSL_ERROR_WANT_READ) return {};
    return fail();
  }
  const X509* certificate = SSL_get0_peer_certificate(engine_->ssl);
  DIPC_CHECK(certificate != nullptr && SSL_get_verify_result(engine_->ssl) == X509_V_OK);
  peer_ = openssl::describe(certificate);
  state_ = State::kReady;
  return {};
}

Result<void> TlsStream::receive(std::span<const std::byte> ciphertext) {
  if (state_ == State::kFailed) return tl::unexpected(engine_->failure);
  if (ciphertext.empty() || state_ == State::kPeerClosed) return {};
  DIPC_CHECK(engine_->input.empty());
  if (!std::exchange(engine_->seen_input, true) && !looks_like_tls(ciphertext)) {
    state_ = State::kFailed;
    engine_->failure = {"the peer does not speak TLS", engine_->role == Role::kDialler
                                                           ? "is it a dipcd that listens there?"
                                                           : "only dipcd may connect to this port"};
    return tl::unexpected(engine_->failure);
  }
  engine_->input = ciphertext;
  if (state_ == State::kHandshake) return shake_hands();
  return {};
}

Result<std::size_t> TlsStream::read(std::span<std::byte> into) {
  if (state_ == State::kFailed) return tl::unexpected(engine_->failure);
  if (state_ != State::kReady) return 0;
  if (engine_->input.empty() && SSL_pending(engine_->ssl) == 0) return 0;  // saves a turn through OpenSSL
  forget_old_errors();
  std::size_t bytes = 0;
  const int result = SSL_read_ex(engine_->ssl, into.data(), into.size(), &bytes);
  if (result == 1) return bytes;
  switch (SSL_get_error(engine_->ssl, result)) {
    case SSL_ERROR_WANT_READ:
      return 0;
    case SSL_ERROR_ZERO_RETURN:
      state_ = State::kPeerClosed;
      engine_->input = {};
      return 0;
    default:
      return fail();
  }
}

Result<void> TlsStream::write(std::span<const std::byte> plaintext) {
  if (state_ == State::kFailed) return tl::unexpected(engine_->failure);
  DIPC_CHECK(state_ != State::kHandshake);
  if (plaintext.empty()) return {};
  forget_old_errors();
  std::size_t written = 0;
  const int result = SSL_write_ex(engine_->ssl, plaintext.data(), plaintext.size(), &written);
  if (result != 1) return fail();
  DIPC_CHECK(written == plaintext.size());
  return {};
}

void TlsStream::close() {
  if (state_ != State::kReady && state_ != State::kPeerClosed) return;
  ERR_clear_error();
  SSL_shutdown(engine_->ssl);
  ERR_clear_error();
}

std::span<const std::byte> TlsStream::output() const {
  return std::span<const std::byte>(engine_->output).subspan(engine_->output_begin);
}

void TlsStream::drop_output(std::size_t bytes) {
  Engine& engine = *engine_;
  DIPC_CHECK(bytes <= engine.output.size() - engine.output_begin);
  engine.output_begin += bytes;
  if (engine.output_begin < engine.output.size()) return;
  engine.output_begin = 0;
  engine.output.clear();
  if (engine.output.capacity() > kKeptBytesMax) Bytes().swap(engine.output);
}

Bytes TlsStream::take_output() {
  Engine& engine = *engine_;
  Bytes taken = std::move(engine.output);
  taken.erase(taken.begin(), taken.begin() + static_cast<std::ptrdiff_t>(engine.output_begin));
  engine.output = {};
  engine.output_begin = 0;
  return taken;
}

const CertificateInfo& TlsStream::peer() const {
  DIPC_CHECK(peer_.has_value());
  return *peer_;
}

std::string_view TlsStream::cipher() const {
  DIPC_CHECK(peer_.has_value());
  return SSL_get_cipher_name(engine_->ssl);
}

bool has_aes_instructions() {
#if defined(__x86_64__) || defined(__i386__)
  return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
#elif defined(__aarch64__)
  return (getauxval(AT_HWCAP) & (1ul << 3)) != 0;  // HWCAP_AES, asm/hwcap.h
#elif defined(__arm__)
  return (getauxval(AT_HWCAP2) & (1ul << 0)) != 0;  // HWCAP2_AES
#elif defined(__s390x__)
  return (getauxval(AT_HWCAP) & (1ul << 3)) != 0;  // HWCAP_S390_MSA
#elif defined(__powerpc64__)
  return (getauxval(AT_HWCAP2) & 0x02000000ul) != 0;  // PPC_FEATURE2_VEC_CRYPTO
#else
  return false;
#endif
}

}  // namespace dipc
