#include "daemon/io/random.h"

#include <openssl/rand.h>

#include "wire/check.h"

namespace dipc {

std::uint64_t random_number() {
  std::uint64_t number = 0;
  DIPC_CHECK(RAND_bytes(reinterpret_cast<unsigned char*>(&number), sizeof(number)) == 1);
  return number;
}

}  // namespace dipc
