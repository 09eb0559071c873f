// What the daemon and its tools read back of their own: state file, registry, dead letters, commands and reports of
// dipcctl. All read the same input; what is understood is written and understood again.

#include <cstdint>
#include <string>
#include <string_view>

#include "daemon/core/admin_command.h"
#include "daemon/core/registry_file.h"
#include "daemon/core/state_file.h"
#include "daemon/core/status_report.h"
#include "daemon/kernel/dead_letters.h"
#include "wire/check.h"

namespace dipc {
namespace {

// True: there is a value. A trouble says something.
template <typename T>
bool is_read(const Result<T>& result) {
  if (!result) DIPC_CHECK(!result.error().what.empty());
  return result.has_value();
}

template <typename T>
void check_again(const Result<T>& first, const Result<T>& again) {
  DIPC_CHECK(again.has_value());
  DIPC_CHECK(*again == *first);
}

template <typename Read>
void check_report(std::string_view text, Read read) {
  const auto report = read(text);
  if (is_read(report)) check_again(report, read(to_json(*report)));
}

void run(std::string_view text) {
  if (const auto state = parse_state(text, "state"); is_read(state)) {
    check_again(state, parse_state(render_state(*state), "state"));
  }
  if (const auto registry = parse_registry("registry", text); is_read(registry)) {
    check_again(registry,
                parse_registry("registry", render_registry(registry->table, registry->complete, registry->numbers)));
  }
  if (const auto letter = decode_dead_letter(text); is_read(letter)) {
    // Names are cleaned when they are written.
    const auto once = decode_dead_letter(encode_dead_letter(*letter));
    DIPC_CHECK(once.has_value() && once->message == letter->message);
    check_again(once, decode_dead_letter(encode_dead_letter(*once)));
  }
  if (const auto command = parse_admin_command(text); is_read(command)) {
    check_again(command, parse_admin_command(to_string(*command)));
  }
  check_report(text, status_from_json);
  check_report(text, objects_from_json);
  check_report(text, dead_letters_from_json);
  check_report(text, dead_letter_text_from_json);
  check_report(text, done_from_json);
  is_read(failure_from_json(text));
}

}  // namespace
}  // namespace dipc

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  dipc::run({reinterpret_cast<const char*>(data), bytes});
  return 0;
}
