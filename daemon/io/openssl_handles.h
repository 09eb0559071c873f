#pragma once

// OpenSSL's objects as unique_ptrs, and what tls.cpp and certificates.cpp both do with them. Not for others.

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "daemon/io/certificates.h"
#include "wire/result.h"

namespace dipc::openssl {

template <auto kFree>
struct Free {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};

using Bio = std::unique_ptr<BIO, Free<BIO_free_all>>;
using BigNumber = std::unique_ptr<BIGNUM, Free<BN_free>>;
using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using Request = std::unique_ptr<X509_REQ, Free<X509_REQ_free>>;
using Store = std::unique_ptr<X509_STORE, Free<X509_STORE_free>>;
using StoreContext = std::unique_ptr<X509_STORE_CTX, Free<X509_STORE_CTX_free>>;

// The oldest error of this thread's queue as text; the queue is empty afterwards.
std::string take_error();

// A BIO that reads `text` in place.
Bio reader(const std::string& text);

// Every certificate of a PEM file; trouble if there is none. `purpose` says what the file is: "certificate of the CA".
Result<std::vector<Certificate>> load_certificates(const std::filesystem::path& path, const std::string& purpose);

// A private key; trouble if others than the file's owner may read it.
Result<Key> load_private_key(const std::filesystem::path& path);

CertificateInfo describe(const X509* certificate);

// "2027-03-01 12:00 UTC"
std::string date(std::chrono::sys_seconds when);

}  // namespace dipc::openssl
