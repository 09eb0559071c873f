#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "shim/calls.h"
#include "shim/exchange.h"

namespace dipc::shim {
namespace {

// `path` as the kernel shows it, without links: its length, or 0 where that can't be told (no descriptor is left, no
// /proc).
size_t resolve(const char* path, char (&into)[PATH_MAX]) {
  const long file = raw(SYS_openat, AT_FDCWD, path, O_PATH | O_CLOEXEC);
  if (file < 0) return 0;
  char link[32] = "/proc/self/fd/";
  char* end = link + strlen(link);
  long digits = 1;
  while (file / digits >= 10) digits *= 10;
  for (; digits > 0; digits /= 10) *end++ = static_cast<char>('0' + file / digits % 10);
  const long bytes = raw(SYS_readlinkat, AT_FDCWD, link, into, sizeof into);
  close_descriptor(static_cast<int>(file));
  return bytes > 0 ? static_cast<size_t>(bytes) : 0;
}

}  // namespace

key_t cluster_key(const char* path, int id, key_t libcs) {
  if (libcs == -1) return -1;
  char resolved[PATH_MAX];
  const size_t bytes = resolve(path, resolved);
  if (bytes == 0) return libcs;
  Exchange ask(local::Op::kFtok, Kind::kMessageQueue, 0);
  ask.request.value = id;
  ask.body = resolved;
  ask.body_bytes = bytes;
  ask.repeatable = true;
  switch (ask.run()) {
    case Exchange::Result::kReply:
      if (ask.reply.error != 0) return fail_with(ask.reply.error);
      return ask.reply.extra != 0 ? static_cast<key_t>(ask.reply.value) : libcs;
    case Exchange::Result::kFailed:
      return fail_with(ask.error);
    case Exchange::Result::kNoDaemon:
    case Exchange::Result::kCannot:
      break;
  }
  return libcs;
}

}  // namespace dipc::shim
