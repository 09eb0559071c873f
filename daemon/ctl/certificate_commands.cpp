#include "daemon/ctl/certificate_commands.h"

#include <chrono>
#include <cstdio>
#include <iostream>
#include <iterator>

#include "daemon/core/configuration.h"
#include "daemon/core/text_lines.h"
#include "daemon/ctl/tables.h"
#include "daemon/io/atomic_file.h"
#include "daemon/io/certificates.h"

namespace dipc {
namespace {

constexpr std::size_t kPemBytesMax = 1u << 20;
constexpr mode_t kPublicMode = 0644;

tl::unexpected<Trouble> passed_on(Trouble trouble) { return tl::unexpected<Trouble>(std::move(trouble)); }

Result<std::string> read_text(const std::filesystem::path& path) {
  if (path == "-") {
    std::string text{std::istreambuf_iterator<char>(std::cin), {}};
    if (text.empty()) return trouble("nothing came from standard input");
    return text;
  }
  auto read = read_file(path, kPemBytesMax);
  if (!read) return passed_on(std::move(read.error()));
  if (!*read) return trouble(path.string() + ": there is no such file");
  return std::move(**read);
}

Result<std::string> checked_host(const std::string& written) {
  std::string host = to_lower(written);
  if (is_host_name(host)) return host;
  return trouble(in_quotes(written) + " is not a host name",
                 "letters, digits, '-', '_' and '.', at most 64 characters");
}

std::string expiry(const CertificateInfo& info) {
  // Beyond 2038 a 32-bit time_t would lie: the calendar is computed.
  const auto day = std::chrono::floor<std::chrono::days>(info.not_after);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss time(info.not_after - day);
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02u-%02u %02d:%02d:%02d UTC", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<int>(time.hours().count()), static_cast<int>(time.minutes().count()),
                static_cast<int>(time.seconds().count()));
  return text;
}

// A request that has been answered is in the way of the next one (a renewal), and good for nothing else.
void drop_request(const std::filesystem::path& tls_dir) {
  std::error_code not_there;
  std::filesystem::remove(tls_dir / "host.csr", not_there);
}

std::string allow_line(const std::string& host, const CertificateInfo& info) {
  return "hosts.allow on the others, with the fingerprint if this very certificate is to be asked for:\n  " + host +
         "  ADDRESS  " + info.fingerprint + "\n";
}

}  // namespace

Result<std::string> make_authority(const std::filesystem::path& ca_dir, const std::string& cluster, int days) {
  if (auto made = create_ca(ca_dir, cluster, days); !made) return passed_on(std::move(made.error()));
  return "made " + (ca_dir / "ca.pem").string() + " and " + (ca_dir / "ca.key").string() +
         "\nca.key lets its owner make hosts of this cluster: keep it here and back it up\n"
         "next, on each host: dipcctl ca request HOST\n";
}

Result<std::string> make_request(const std::filesystem::path& tls_dir, const std::string& written_host) {
  const auto host = checked_host(written_host);
  if (!host) return host;
  if (auto made = create_host_key_and_request(tls_dir, *host); !made) return passed_on(std::move(made.error()));
  return "made " + (tls_dir / "host.key").string() + " (stays here) and " + (tls_dir / "host.csr").string() +
         "\nnext: take host.csr to the authority's machine as " + *host + ".csr, and there\n  dipcctl ca issue " +
         *host + " --request " + *host + ".csr\nthen bring " + *host +
         ".pem and ca.pem back, and here\n  dipcctl ca install " + *host + ".pem --ca ca.pem\n";
}

Result<std::string> issue_for_request(const IssueOptions& options, const std::filesystem::path& request_file) {
  const auto host = checked_host(options.host);
  if (!host) return host;
  const auto request = read_text(request_file);
  if (!request) return request;
  const auto signed_pem = sign_request(options.ca_dir, *request, *host, options.days);
  if (!signed_pem) return signed_pem;
  const auto info = parse_certificate(*signed_pem);
  if (!info) return passed_on(info.error());
  const std::filesystem::path out = options.out.empty() ? std::filesystem::path(*host + ".pem") : options.out;
  if (out == "-") return *signed_pem;
  if (auto written = write_file_atomically(out, *signed_pem, kPublicMode); !written) {
    return passed_on(std::move(written.error()));
  }
  return "made " + out.string() + ", good until " + expiry(*info) + "\nnext: take it and " +
         (options.ca_dir / "ca.pem").string() + " to " + *host + ", and there\n  dipcctl ca install " +
         out.filename().string() + " --ca ca.pem\n" + allow_line(*host, *info);
}

Result<std::string> issue_into(const IssueOptions& options, const std::filesystem::path& tls_dir) {
  const auto host = checked_host(options.host);
  if (!host) return host;
  const auto ca = read_text(options.ca_dir / "ca.pem");
  if (!ca) {
    return trouble(ca.error().what,
                   "make the cluster's authority first: dipcctl ca init --dir " + options.ca_dir.string());
  }
  // Only what is whole is made: a certificate that is there already belongs to a host that works.
  std::error_code ignored;
  if (std::filesystem::exists(tls_dir / "host.pem", ignored)) {
    return trouble((tls_dir / "host.pem").string() + ": exists already",
                   "for a renewal: dipcctl ca request " + *host + ", ca issue --request, ca install --replace");
  }
  if (auto made = create_host_key_and_request(tls_dir, *host); !made) return passed_on(std::move(made.error()));
  const auto request = read_text(tls_dir / "host.csr");
  if (!request) return request;
  const auto signed_pem = sign_request(options.ca_dir, *request, *host, options.days);
  if (!signed_pem) return signed_pem;
  const auto info = parse_certificate(*signed_pem);
  if (!info) return passed_on(info.error());
  if (auto done = install_certificate(tls_dir, *signed_pem); !done) return passed_on(std::move(done.error()));
  drop_request(tls_dir);
  if (auto written = write_file_atomically(tls_dir / "ca.pem", *ca, kPublicMode); !written) {
    return passed_on(std::move(written.error()));
  }
  return "made host.key, host.pem and ca.pem in " + tls_dir.string() + ", good until " + expiry(*info) + "\n" +
         allow_line(*host, *info);
}

Result<std::string> install(const std::filesystem::path& tls_dir, const std::filesystem::path& certificate,
                            const std::optional<std::filesystem::path>& ca_certificate, bool replace) {
  const auto pem = read_text(certificate);
  if (!pem) return pem;
  std::string ca;
  if (ca_certificate) {
    const auto read = read_text(*ca_certificate);
    if (!read) return read;
    if (const auto info = parse_certificate(*read); !info) {
      return passed_on(info.error());
    } else if (!info->is_ca) {
      return trouble(ca_certificate->string() + ": is not the certificate of an authority",
                     "take the authority's ca.pem");
    }
    ca = *read;
  }
  if (auto done = install_certificate(tls_dir, *pem, replace); !done) return passed_on(std::move(done.error()));
  drop_request(tls_dir);
  if (!ca.empty()) {
    if (auto written = write_file_atomically(tls_dir / "ca.pem", ca, kPublicMode); !written) {
      return passed_on(std::move(written.error()));
    }
  }
  return "installed in " + tls_dir.string() + "\nnext, if dipcd runs already: dipcctl reload\n";
}

Result<std::string> describe_certificate(const std::filesystem::path& certificate) {
  const auto pem = read_text(certificate);
  if (!pem) return pem;
  const auto info = parse_certificate(*pem);
  if (!info) return passed_on(info.error());
  std::string names;
  for (const std::string& name : info->names) names.append(names.empty() ? "" : ", ").append(name);
  const int days = info->days_left(std::chrono::system_clock::now());
  return format_table(
      {{"of", info->is_ca ? "the authority of " + info->subject : info->subject},
       {"hosts", names.empty() ? "-" : names},
       {"issued by", info->issuer},
       {"serial", info->serial},
       {"expires", expiry(*info) + (days < 0 ? " (expired)" : " (" + std::to_string(days) + " days left)")},
       {"fingerprint", info->fingerprint}});
}

}  // namespace dipc
