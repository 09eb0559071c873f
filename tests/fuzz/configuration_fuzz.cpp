// dipc.toml, however damaged: a configuration that can be used, or troubles that have a place and a remedy.

#include <cstdint>
#include <string>
#include <string_view>

#include "daemon/core/configuration.h"
#include "daemon/core/key_policy.h"
#include "wire/check.h"

namespace dipc {
namespace {

void use(const Configuration& configuration) {
  DIPC_CHECK(is_host_name(configuration.host) && is_host_name(configuration.referee));
  DIPC_CHECK(configuration.timing.peer_timeout >= 2 * configuration.timing.keepalive);
  warnings_of(configuration);
  const KeyPolicy policy(configuration.keys, configuration.file);
  for (const Kind kind : {Kind::kMessageQueue, Kind::kSemaphoreSet, Kind::kSegment}) {
    for (const std::int32_t key : {0, 1, 0x1000, -1}) {
      for (const bool marked : {false, true}) {
        const auto decision = policy.decide(kind, key, marked);
        if (decision.outcome == KeyPolicy::Outcome::kRefused) DIPC_CHECK(!policy.explain(kind, key, marked).empty());
        if (!policy.serves(kind, key)) DIPC_CHECK(decision.outcome != KeyPolicy::Outcome::kDistributed);
      }
    }
  }
}

}  // namespace
}  // namespace dipc

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  const std::string_view text(reinterpret_cast<const char*>(data), bytes);
  const dipc::ConfigurationDefaults defaults{"sun", dipc::default_paths(0, nullptr, nullptr)};
  const auto configuration = dipc::parse_configuration(text, "dipc.toml", defaults);
  if (configuration) {
    dipc::use(*configuration);
    return 0;
  }
  DIPC_CHECK(!configuration.error().empty());
  for (const dipc::Trouble& one : configuration.error()) {
    DIPC_CHECK(one.what.starts_with("dipc.toml:") && !one.remedy.empty());
  }
  return 0;
}
