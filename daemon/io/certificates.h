#pragma once

// The cluster's certificate authority and the hosts' certificates, as files: what dipcctl does and what a daemon reads
// of its own certificate. Keys are P-256. A host's key is made on the host and stays there; what travels is its
// request, and the authority signs that with the host's name as subject alternative name.
//
//   ca folder:   ca.pem (certificate, 0644)  ca.key (0600)
//   tls folder:  host.key (0600)  host.csr (request, 0644)  host.pem (signed certificate, written by the administrator)
//
// A file that exists is never overwritten: the Trouble names it. Writing is atomic: a half-written file never has its
// final name.
// Source: RFC 5280 (profile), openssl X509V3_EXT_conf_nid(3), X509_sign(3).

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "wire/result.h"

namespace dipc {

inline constexpr int kCaDaysDefault = 3650;
inline constexpr int kHostDaysDefault = 825;
inline constexpr int kExpiryWarningDays = 30;  // status and log warn below this

struct CertificateInfo {
  std::string subject;             // common name
  std::string issuer;              // common name of who signed it
  std::vector<std::string> names;  // subject alternative names of type DNS: the host names it stands for
  std::string serial;              // lower-case hexadecimal
  std::string fingerprint;         // "sha256:" and 64 lower-case hexadecimal digits, as in hosts.allow
  std::chrono::sys_seconds not_before;
  std::chrono::sys_seconds not_after;
  bool is_ca = false;

  // Whole days until it expires, rounded down; negative once it has.
  int days_left(std::chrono::system_clock::time_point now) const;
  // Did an administrator have to act by now? (fewer than kExpiryWarningDays)
  bool expires_soon(std::chrono::system_clock::time_point now) const { return days_left(now) < kExpiryWarningDays; }
};

// Makes `dir` (0700 if it does not exist), ca.key and ca.pem. `cluster` becomes the authority's common name.
Result<void> create_ca(const std::filesystem::path& dir, const std::string& cluster, int days = kCaDaysDefault);

// On the host: makes `tls_dir` if needed, host.key and host.csr. An existing host.key is kept and asked for again (a
// renewal); an existing host.csr is trouble.
Result<void> create_host_key_and_request(const std::filesystem::path& tls_dir, const std::string& host);

// On the authority's machine: checks the request's own signature and that it asks for `host` and nothing else; gives
// the signed certificate as PEM text. The serial number is random (128 bits), so that no file counts them.
Result<std::string> sign_request(const std::filesystem::path& ca_dir, const std::string& request_pem,
                                 const std::string& host, int days = kHostDaysDefault,
                                 std::chrono::system_clock::time_point now = std::chrono::system_clock::now());

// Writes a certificate that the authority signed as host.pem into `tls_dir`. It must fit host.key. An older host.pem is
// replaced (renewal) only if `replace` is set.
Result<void> install_certificate(const std::filesystem::path& tls_dir, const std::string& certificate_pem,
                                 bool replace = false);

// The first certificate of a PEM file.
Result<CertificateInfo> read_certificate(const std::filesystem::path& path);
Result<CertificateInfo> parse_certificate(const std::string& pem);

}  // namespace dipc
