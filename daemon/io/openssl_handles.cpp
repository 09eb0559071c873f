#include "daemon/io/openssl_handles.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <array>
#include <cstdio>
#include <system_error>

#include "daemon/io/atomic_file.h"
#include "wire/check.h"

namespace dipc::openssl {
namespace {

constexpr std::size_t kPemBytesMax = 1u << 20;

Result<std::string> load(const std::filesystem::path& path, const std::string& purpose) {
  auto text = read_file(path, kPemBytesMax);
  if (!text) return tl::unexpected(text.error());
  if (!*text) {
    return trouble(path.string() + ": no such file (" + purpose + ")", "see `dipcctl ca` for how to make it");
  }
  return std::move(**text);
}

std::string common_name(const X509_NAME* name) {
  const int index = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
  if (index < 0) return {};
  const ASN1_STRING* value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, index));
  unsigned char* utf8 = nullptr;
  const int bytes = ASN1_STRING_to_UTF8(&utf8, value);
  if (bytes < 0) return {};
  std::string text(reinterpret_cast<const char*>(utf8), static_cast<std::size_t>(bytes));
  OPENSSL_free(utf8);
  return text;
}

// Not through time_t, which ends in 2038 on 32-bit machines.
std::chrono::sys_seconds seconds(const ASN1_TIME* time) {
  std::tm fields{};
  if (ASN1_TIME_to_tm(time, &fields) != 1) return {};
  using namespace std::chrono;
  const sys_days day = year(fields.tm_year + 1900) / month(static_cast<unsigned>(fields.tm_mon + 1)) /
                       std::chrono::day(static_cast<unsigned>(fields.tm_mday));
  return day + hours(fields.tm_hour) + minutes(fields.tm_min) + std::chrono::seconds(fields.tm_sec);
}

constexpr char kHexDigits[] = "0123456789abcdef";

std::string serial(const X509* certificate) {
  const BigNumber number(ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr));
  if (!number) return {};
  std::vector<unsigned char> bytes(static_cast<std::size_t>(BN_num_bytes(number.get())));
  BN_bn2bin(number.get(), bytes.data());
  std::string text;
  for (const unsigned char byte : bytes) {
    text += kHexDigits[byte >> 4];
    text += kHexDigits[byte & 15];
  }
  return text;
}

std::string fingerprint(const X509* certificate) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned bytes = 0;
  DIPC_CHECK(X509_digest(certificate, EVP_sha256(), digest.data(), &bytes) == 1 && bytes == 32);
  std::string text = "sha256:";
  for (unsigned i = 0; i < bytes; ++i) {
    text += kHexDigits[digest[i] >> 4];
    text += kHexDigits[digest[i] & 15];
  }
  return text;
}

std::vector<std::string> dns_names(const X509* certificate) {
  std::vector<std::string> names;
  auto* list = static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(list); ++i) {
    const GENERAL_NAME* entry = sk_GENERAL_NAME_value(list, i);
    if (entry->type != GEN_DNS) continue;
    const auto* begin = reinterpret_cast<const char*>(ASN1_STRING_get0_data(entry->d.dNSName));
    names.emplace_back(begin, static_cast<std::size_t>(ASN1_STRING_length(entry->d.dNSName)));
  }
  GENERAL_NAMES_free(list);
  return names;
}

}  // namespace

std::string take_error() {
  std::string text = "unknown error";
  if (const unsigned long code = ERR_get_error(); code != 0) {
    const char* reason = ERR_reason_error_string(code);
    text = reason != nullptr ? std::string(reason) : "error " + std::to_string(code);
  }
  ERR_clear_error();
  return text;
}

Bio reader(const std::string& text) {
  Bio bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  DIPC_CHECK(bio != nullptr);
  return bio;
}

Result<std::vector<Certificate>> load_certificates(const std::filesystem::path& path, const std::string& purpose) {
  const auto text = load(path, purpose);
  if (!text) return tl::unexpected(text.error());
  std::vector<Certificate> certificates;
  const Bio bio = reader(*text);
  while (X509* next = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) certificates.emplace_back(next);
  ERR_clear_error();  // the end of the file is one
  if (certificates.empty()) {
    return trouble(path.string() + ": no certificate in PEM form (" + purpose + ")",
                   "it begins with -----BEGIN CERTIFICATE-----");
  }
  return certificates;
}

Result<Key> load_private_key(const std::filesystem::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && (status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    std::array<char, 8> mode{};
    std::snprintf(mode.data(), mode.size(), "%04o", status.st_mode & 07777u);
    return trouble(path.string() + ": a private key that others can read (mode " + mode.data() + ")",
                   "chmod 600 " + path.string() + "; if somebody may have read it, make a new key");
  }
  const auto text = load(path, "private key");
  if (!text) return tl::unexpected(text.error());
  const Bio bio = reader(*text);
  // Without a callback OpenSSL would ask the terminal for the password of an encrypted key.
  const auto no_password = [](char*, int, int, void*) { return -1; };
  Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr));
  if (!key) {
    return trouble(path.string() + ": not a private key in PEM form without a password: " + take_error(),
                   "it begins with -----BEGIN PRIVATE KEY-----");
  }
  return key;
}

CertificateInfo describe(const X509* certificate) {
  CertificateInfo info;
  info.subject = common_name(X509_get_subject_name(certificate));
  info.issuer = common_name(X509_get_issuer_name(certificate));
  info.names = dns_names(certificate);
  info.serial = serial(certificate);
  info.fingerprint = fingerprint(certificate);
  info.not_before = seconds(X509_get0_notBefore(certificate));
  info.not_after = seconds(X509_get0_notAfter(certificate));
  info.is_ca = X509_check_ca(const_cast<X509*>(certificate)) > 0;  // only fills the certificate's own cache
  return info;
}

std::string date(std::chrono::sys_seconds when) {
  const auto day = std::chrono::floor<std::chrono::days>(when);
  const std::chrono::year_month_day calendar(day);
  const std::chrono::hh_mm_ss clock(when - day);
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02u-%02u %02d:%02d UTC", static_cast<int>(calendar.year()),
                static_cast<unsigned>(calendar.month()), static_cast<unsigned>(calendar.day()),
                static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()));
  return text.data();
}

}  // namespace dipc::openssl
