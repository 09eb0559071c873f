// The file in which a daemon that was killed left received messages, however damaged: what is found in it fits its
// slot, and the file is out of the way of the next one.
//
// Input: the beginning of a file of the smallest slots. Those in the corpus are a 64-bit little-endian machine's: for
// others they are nonsense.

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "daemon/kernel/slots.h"
#include "wire/check.h"

namespace dipc {
namespace {

constexpr std::size_t kRoomBytes = 256;    // of the smallest slots
constexpr std::size_t kFileBytes = 65536;  // of one chunk of them

std::unique_ptr<Slots> open(const std::filesystem::path& folder,
                            const std::function<bool(const FoundMessage&)>& found) {
  auto slots = Slots::open(folder, found, [](const std::string&) {});
  DIPC_CHECK(slots.has_value());
  return std::move(*slots);
}

class Folder {
 public:
  Folder() {
    char made[] = "/tmp/dipc-fuzz-XXXXXX";
    DIPC_CHECK(::mkdtemp(made) != nullptr);
    path_ = made;
    // What a daemon calls the file here.
    const auto slots = open(path_, [](const FoundMessage&) { return true; });
    DIPC_CHECK(slots->take({}, 1) != nullptr);
    for (const auto& entry : std::filesystem::directory_iterator(path_)) file_ = entry.path();
    DIPC_CHECK(!file_.empty());
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }
  const std::filesystem::path& file() const { return file_; }

 private:
  std::filesystem::path path_;
  std::filesystem::path file_;
};

void run(std::string contents) {
  static const Folder folder;
  contents.resize(kFileBytes);
  std::ofstream(folder.file(), std::ios::binary | std::ios::trunc) << contents;
  std::size_t messages = 0;
  open(folder.path(), [&](const FoundMessage& found) {
    ++messages;
    DIPC_CHECK(found.message.type != 0 && found.message.text.size() <= kRoomBytes);
    return true;
  });
  DIPC_CHECK(messages <= kFileBytes / kRoomBytes);
  DIPC_CHECK(!std::filesystem::exists(folder.file()));
}

}  // namespace
}  // namespace dipc

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  dipc::run({reinterpret_cast<const char*>(data), bytes});
  return 0;
}
