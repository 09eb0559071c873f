#include "daemon/io/certificates.h"

#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <functional>
#include <system_error>
#include <utility>

#include "daemon/core/configuration.h"
#include "daemon/core/text_lines.h"
#include "daemon/io/atomic_file.h"
#include "daemon/io/openssl_handles.h"
#include "wire/check.h"

namespace dipc {
namespace {

using openssl::take_error;
using SystemTime = std::chrono::system_clock::time_point;

constexpr long kX509Version3 = 2;
constexpr long kRequestVersion1 = 0;
constexpr int kSerialBits = 127;       // positive, at most 20 octets: RFC 5280 4.1.2.2
constexpr int kSecurityBitsMin = 128;  // P-256
constexpr int kDaysMax = 36500;
constexpr long kBackdateSeconds = 60 * 60;  // hosts' clocks differ
constexpr std::size_t kCommonNameMax = 64;  // RFC 5280 A.1, ub-common-name

constexpr char kNoOverwrite[] = "it is not overwritten; move it away if it is not needed any more";

tl::unexpected<Trouble> failed(const std::filesystem::path& path, const char* doing, int error) {
  return trouble(path.string() + ": " + doing + ": " + std::generic_category().message(error), "");
}

bool file_exists(const std::filesystem::path& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0;
}

// The name appears with all of its contents or not at all, and never replaces another file: link(2) does not.
Result<void> write_new_file(const std::filesystem::path& path, const std::string& contents, mode_t mode) {
  std::string beside = path.string() + ".XXXXXX";
  const int fd = ::mkostemp(beside.data(), O_CLOEXEC);
  if (fd < 0) return failed(path, "cannot be written", errno);
  bool good = ::fchmod(fd, mode) == 0;
  for (std::size_t done = 0; good && done < contents.size();) {
    const ssize_t written = ::write(fd, contents.data() + done, contents.size() - done);
    if (written > 0) done += static_cast<std::size_t>(written);
    if (written < 0 && errno != EINTR) good = false;
  }
  good = good && ::fsync(fd) == 0 && ::link(beside.c_str(), path.c_str()) == 0;
  const int error = errno;
  ::close(fd);
  ::unlink(beside.c_str());
  if (good) return {};
  if (error == EEXIST) return trouble(path.string() + " exists", kNoOverwrite);
  return failed(path, "cannot be written", error);
}

Result<void> make_folder(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return {};
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), error);
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return failed(path, "cannot be made", errno);
  return {};
}

// What a writer puts into a memory BIO, as text.
std::string pem(const std::function<int(BIO*)>& write) {
  const openssl::Bio bio(BIO_new(BIO_s_mem()));
  DIPC_CHECK(bio != nullptr && write(bio.get()) == 1);
  char* begin = nullptr;
  const long bytes = BIO_get_mem_data(bio.get(), &begin);
  return {begin, static_cast<std::size_t>(bytes)};
}

std::string key_pem(EVP_PKEY* key) {
  return pem([&](BIO* bio) { return PEM_write_bio_PKCS8PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr); });
}

openssl::Key make_key() {
  openssl::Key key(EVP_EC_gen("P-256"));
  DIPC_CHECK(key != nullptr);
  return key;
}

void set_common_name(X509_NAME* name, const std::string& text) {
  DIPC_CHECK(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(text.data()),
                                        static_cast<int>(text.size()), -1, 0) == 1);
}

void add_extension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  DIPC_CHECK(extension != nullptr && X509_add_ext(certificate, extension, -1) == 1);
  X509_EXTENSION_free(extension);
}

void set_serial(X509* certificate) {
  const openssl::BigNumber number(BN_new());
  DIPC_CHECK(number != nullptr && BN_rand(number.get(), kSerialBits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1);
  DIPC_CHECK(BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr);
}

// Days are added to the calendar, not to a time_t, which ends in 2038 on 32-bit machines.
void set_validity(X509* certificate, SystemTime now, int days) {
  std::time_t from = std::chrono::system_clock::to_time_t(now);
  DIPC_CHECK(X509_time_adj_ex(X509_getm_notBefore(certificate), 0, -kBackdateSeconds, &from) != nullptr);
  DIPC_CHECK(X509_time_adj_ex(X509_getm_notAfter(certificate), days, 0, &from) != nullptr);
}

Result<void> check_days(int days) {
  if (days >= 1 && days <= kDaysMax) return {};
  return trouble("a certificate for " + std::to_string(days) + " days", "1 to " + std::to_string(kDaysMax));
}

Result<void> check_host(const std::string& host) {
  if (is_host_name(host)) return {};
  return trouble(in_quotes(host) + " is not a host name", "lower-case letters, digits, '-', '_', '.', at most 64");
}

// The DNS names that a request asks for. Anything else in its list (addresses, URIs) is shown as "?".
std::vector<std::string> names_of(X509_REQ* request) {
  std::vector<std::string> names;
  STACK_OF(X509_EXTENSION)* extensions = X509_REQ_get_extensions(request);
  auto* list = static_cast<GENERAL_NAMES*>(X509V3_get_d2i(extensions, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(list); ++i) {
    const GENERAL_NAME* entry = sk_GENERAL_NAME_value(list, i);
    if (entry->type != GEN_DNS) {
      names.emplace_back("?");
      continue;
    }
    const auto* begin = reinterpret_cast<const char*>(ASN1_STRING_get0_data(entry->d.dNSName));
    names.emplace_back(begin, static_cast<std::size_t>(ASN1_STRING_length(entry->d.dNSName)));
  }
  GENERAL_NAMES_free(list);
  sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  return names;
}

Result<openssl::Request> read_request(const std::string& request_pem, const std::string& host) {
  const openssl::Bio bio = openssl::reader(request_pem);
  openssl::Request request(PEM_read_bio_X509_REQ(bio.get(), nullptr, nullptr, nullptr));
  if (!request) {
    return trouble("not a certificate request in PEM form: " + take_error(),
                   "it begins with -----BEGIN CERTIFICATE REQUEST-----");
  }
  EVP_PKEY* key = X509_REQ_get0_pubkey(request.get());
  if (key == nullptr || X509_REQ_verify(request.get(), key) != 1) {
    ERR_clear_error();
    return trouble("the request is not signed with its own key", "make a new one on the host");
  }
  if (EVP_PKEY_get_security_bits(key) < kSecurityBitsMin) {
    return trouble("the request's key is too weak", "make a new one on the host (P-256)");
  }
  for (const std::string& name : names_of(request.get())) {
    if (name != host) {
      return trouble("the request is for " + in_quotes(name) + ", not for " + host, "give the name that the host has");
    }
  }
  return request;
}

}  // namespace

int CertificateInfo::days_left(SystemTime now) const {
  return static_cast<int>(std::chrono::floor<std::chrono::days>(not_after - now).count());
}

Result<void> create_ca(const std::filesystem::path& dir, const std::string& cluster, int days) {
  if (auto good = check_days(days); !good) return good;
  const bool printable = std::all_of(cluster.begin(), cluster.end(), [](char c) { return c >= ' ' && c <= '~'; });
  if (cluster.empty() || cluster.size() > kCommonNameMax || !printable) {
    return trouble(in_quotes(cluster) + " is no name for a cluster", "1 to 64 printable ASCII characters");
  }
  if (auto made = make_folder(dir); !made) return made;
  const std::filesystem::path key_path = dir / "ca.key";
  const std::filesystem::path certificate_path = dir / "ca.pem";
  for (const auto& path : {key_path, certificate_path}) {
    if (file_exists(path)) return trouble(path.string() + " exists", kNoOverwrite);
  }

  const openssl::Key key = make_key();
  const openssl::Certificate certificate(X509_new());
  X509* made = certificate.get();
  DIPC_CHECK(made != nullptr && X509_set_version(made, kX509Version3) == 1 && X509_set_pubkey(made, key.get()) == 1);
  set_serial(made);
  set_validity(made, std::chrono::system_clock::now(), days);
  set_common_name(X509_get_subject_name(made), cluster);
  DIPC_CHECK(X509_set_issuer_name(made, X509_get_subject_name(made)) == 1);
  add_extension(made, made, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
  add_extension(made, made, NID_key_usage, "critical,keyCertSign,cRLSign");
  add_extension(made, made, NID_subject_key_identifier, "hash");
  DIPC_CHECK(X509_sign(made, key.get(), EVP_sha256()) > 0);

  if (auto written = write_new_file(key_path, key_pem(key.get()), 0600); !written) return written;
  auto written = write_new_file(certificate_path, pem([&](BIO* bio) { return PEM_write_bio_X509(bio, made); }), 0644);
  if (!written) ::unlink(key_path.c_str());  // made a moment ago, nothing was signed with it
  return written;
}

Result<void> create_host_key_and_request(const std::filesystem::path& tls_dir, const std::string& host) {
  if (auto good = check_host(host); !good) return good;
  if (auto made = make_folder(tls_dir); !made) return made;
  const std::filesystem::path key_path = tls_dir / "host.key";
  const std::filesystem::path request_path = tls_dir / "host.csr";
  if (file_exists(request_path)) return trouble(request_path.string() + " exists", kNoOverwrite);

  openssl::Key key;
  const bool renewal = file_exists(key_path);
  if (renewal) {
    auto loaded = openssl::load_private_key(key_path);
    if (!loaded) return tl::unexpected(loaded.error());
    key = std::move(*loaded);
  } else {
    key = make_key();
  }
  const openssl::Request request(X509_REQ_new());
  X509_REQ* made = request.get();
  DIPC_CHECK(made != nullptr && X509_REQ_set_version(made, kRequestVersion1) == 1 &&
             X509_REQ_set_pubkey(made, key.get()) == 1);
  set_common_name(X509_REQ_get_subject_name(made), host);
  X509_EXTENSION* names = X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, ("DNS:" + host).c_str());
  STACK_OF(X509_EXTENSION)* extensions = sk_X509_EXTENSION_new_null();
  DIPC_CHECK(names != nullptr && extensions != nullptr && sk_X509_EXTENSION_push(extensions, names) == 1);
  DIPC_CHECK(X509_REQ_add_extensions(made, extensions) == 1);
  sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  DIPC_CHECK(X509_REQ_sign(made, key.get(), EVP_sha256()) > 0);

  if (!renewal) {
    if (auto written = write_new_file(key_path, key_pem(key.get()), 0600); !written) return written;
  }
  return write_new_file(request_path, pem([&](BIO* bio) { return PEM_write_bio_X509_REQ(bio, made); }), 0644);
}

Result<std::string> sign_request(const std::filesystem::path& ca_dir, const std::string& request_pem,
                                 const std::string& host, int days, SystemTime now) {
  if (auto good = check_host(host); !good) return tl::unexpected(good.error());
  if (auto good = check_days(days); !good) return tl::unexpected(good.error());
  const auto key = openssl::load_private_key(ca_dir / "ca.key");
  if (!key) return tl::unexpected(key.error());
  const auto authority = openssl::load_certificates(ca_dir / "ca.pem", "certificate of the cluster's authority");
  if (!authority) return tl::unexpected(authority.error());
  X509* issuer = authority->front().get();
  if (X509_check_private_key(issuer, key->get()) != 1) {
    ERR_clear_error();
    return trouble((ca_dir / "ca.key").string() + " is not the key of ca.pem", "use the two that were made together");
  }
  const CertificateInfo issuer_info = openssl::describe(issuer);
  if (issuer_info.not_after <= now) {
    return trouble((ca_dir / "ca.pem").string() + " expired on " + openssl::date(issuer_info.not_after),
                   "make a new authority in another folder: `dipcctl ca init`");
  }
  const auto request = read_request(request_pem, host);
  if (!request) return tl::unexpected(request.error());

  const openssl::Certificate certificate(X509_new());
  X509* made = certificate.get();
  DIPC_CHECK(made != nullptr && X509_set_version(made, kX509Version3) == 1);
  DIPC_CHECK(X509_set_pubkey(made, X509_REQ_get0_pubkey(request->get())) == 1);
  set_serial(made);
  set_validity(made, now, days);
  if (ASN1_TIME_compare(X509_get0_notAfter(made), X509_get0_notAfter(issuer)) > 0) {
    DIPC_CHECK(X509_set1_notAfter(made, X509_get0_notAfter(issuer)) == 1);
  }
  set_common_name(X509_get_subject_name(made), host);
  DIPC_CHECK(X509_set_issuer_name(made, X509_get_subject_name(issuer)) == 1);
  add_extension(made, issuer, NID_basic_constraints, "critical,CA:FALSE");
  add_extension(made, issuer, NID_key_usage, "critical,digitalSignature");
  add_extension(made, issuer, NID_ext_key_usage, "serverAuth,clientAuth");
  add_extension(made, issuer, NID_subject_alt_name, "DNS:" + host);
  add_extension(made, issuer, NID_subject_key_identifier, "hash");
  add_extension(made, issuer, NID_authority_key_identifier, "keyid");
  if (X509_sign(made, key->get(), EVP_sha256()) <= 0) return trouble("cannot sign: " + take_error(), "");
  return pem([&](BIO* bio) { return PEM_write_bio_X509(bio, made); });
}

Result<void> install_certificate(const std::filesystem::path& tls_dir, const std::string& certificate_pem,
                                 bool replace) {
  const std::filesystem::path path = tls_dir / "host.pem";
  const auto key = openssl::load_private_key(tls_dir / "host.key");
  if (!key) return tl::unexpected(key.error());
  const openssl::Bio bio = openssl::reader(certificate_pem);
  const openssl::Certificate certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  if (!certificate) return trouble("not a certificate in PEM form: " + take_error(), "");
  if (X509_check_private_key(certificate.get(), key->get()) != 1) {
    ERR_clear_error();
    return trouble("the certificate is not for the key " + (tls_dir / "host.key").string(),
                   "sign a request that was made with this key");
  }
  if (replace) return write_file_atomically(path, certificate_pem, 0644);
  return write_new_file(path, certificate_pem, 0644);
}

Result<CertificateInfo> read_certificate(const std::filesystem::path& path) {
  const auto certificates = openssl::load_certificates(path, "certificate");
  if (!certificates) return tl::unexpected(certificates.error());
  return openssl::describe(certificates->front().get());
}

Result<CertificateInfo> parse_certificate(const std::string& text) {
  const openssl::Bio bio = openssl::reader(text);
  const openssl::Certificate certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  if (!certificate) return trouble("not a certificate in PEM form: " + take_error(), "");
  return openssl::describe(certificate.get());
}

}  // namespace dipc
