#pragma once

// dipcctl ca ...: the cluster's certificate authority and the hosts' certificates, on top of daemon/io/certificates.h.
// Each command gives what to print: what was made, and what to do next on which machine. A host's key is made on the
// host and stays there: what travels is a request to the authority, and a certificate back.

#include <filesystem>
#include <optional>
#include <string>

#include "wire/result.h"

namespace dipc {

inline constexpr const char* kCaFolder = "/etc/dipc/ca";
inline constexpr const char* kTlsFolder = "/etc/dipc/tls";

// Makes the authority of a cluster in `ca_dir`.
Result<std::string> make_authority(const std::filesystem::path& ca_dir, const std::string& cluster, int days);

// On the host: its key and its request in `tls_dir`.
Result<std::string> make_request(const std::filesystem::path& tls_dir, const std::string& host);

struct IssueOptions {
  std::filesystem::path ca_dir;
  std::string host;
  int days = 0;
  std::filesystem::path out;  // where the certificate goes; empty: HOST.pem in the current folder
};
// On the authority's machine: signs the request in `request_file` ("-": standard input).
Result<std::string> issue_for_request(const IssueOptions& options, const std::filesystem::path& request_file);
// Key, request and certificate at once in `tls_dir`, with the authority's certificate: for the host that is the
// authority's machine itself, and for hosts that are set up from here (a lab, an image). `options.out` is not used.
Result<std::string> issue_into(const IssueOptions& options, const std::filesystem::path& tls_dir);

// On the host: puts the signed certificate ("-": standard input) and, if given, the authority's into `tls_dir`, and
// drops the request that it answers.
Result<std::string> install(const std::filesystem::path& tls_dir, const std::filesystem::path& certificate,
                            const std::optional<std::filesystem::path>& ca_certificate, bool replace);

// What a certificate says: names, issuer, expiry, fingerprint.
Result<std::string> describe_certificate(const std::filesystem::path& certificate);

}  // namespace dipc
