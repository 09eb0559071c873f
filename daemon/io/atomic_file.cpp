#include "daemon/io/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "wire/descriptor.h"

namespace dipc {
namespace {

std::string remedy_for(int error, const std::filesystem::path& path) {
  const std::string folder = path.parent_path().empty() ? "." : path.parent_path().string();
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return "free some space on the file system of " + folder + " (df " + folder + "); the old file is unchanged";
    case EROFS:
      return "mount the file system of " + folder + " for writing, or choose another folder in [paths] of dipc.toml";
    case EACCES:
    case EPERM:
      return "let the user of this program write into " + folder;
    case ENOENT:
      return "make the folder " + folder;
    default:
      return {};
  }
}

tl::unexpected<Trouble> failed(const std::filesystem::path& path, const char* doing) {
  const int error = errno;
  return trouble(path.string() + ": " + doing + ": " + std::generic_category().message(error), remedy_for(error, path));
}

bool write_all(int fd, std::string_view contents) {
  while (!contents.empty()) {
    const ssize_t written = ::write(fd, contents.data(), contents.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    contents.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

// Takes the half-written file away unless the work was finished; errno stays what it was.
class RemoveUnlessDone {
 public:
  explicit RemoveUnlessDone(const std::filesystem::path& path) : path_(path) {}
  ~RemoveUnlessDone() {
    const int error = errno;
    if (!done_) ::unlink(path_.c_str());
    errno = error;
  }
  void done() { done_ = true; }

 private:
  const std::filesystem::path& path_;
  bool done_ = false;
};

}  // namespace

Result<void> write_file_atomically(const std::filesystem::path& path, std::string_view contents, mode_t mode) {
  const std::filesystem::path folder = path.parent_path().empty() ? "." : path.parent_path();
  const std::filesystem::path beside = folder / ("." + path.filename().string() + ".new");
  // One that a crash left may belong to somebody else or be a link: made anew, never followed.
  ::unlink(beside.c_str());
  Descriptor file(::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
  if (file.get() < 0) return failed(path, "can't be written");
  RemoveUnlessDone cleaner(beside);
  if (::fchmod(file.get(), mode) != 0) return failed(path, "its mode can't be set");  // the umask has no say
  if (!write_all(file.get(), contents)) return failed(path, "can't be written");
  if (::fsync(file.get()) != 0) return failed(path, "did not reach the disk");
  if (!file.close()) return failed(path, "did not reach the disk");
  if (::rename(beside.c_str(), path.c_str()) != 0) return failed(path, "can't be replaced");
  cleaner.done();
  Descriptor directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() < 0) return failed(path, "its folder can't be opened");
  // EINVAL: a file system whose folders can't be synchronised; then there is nothing more to do.
  if (::fsync(directory.get()) != 0 && errno != EINVAL) return failed(path, "its folder did not reach the disk");
  return {};
}

Result<std::optional<std::string>> read_file(const std::filesystem::path& path, std::size_t bytes_max) {
  // O_NONBLOCK: a FIFO in place of the file must not hold us up before it is seen to be none.
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) {
    if (errno == ENOENT) return std::optional<std::string>();
    return failed(path, "can't be read");
  }
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return failed(path, "can't be read");
  if (!S_ISREG(status.st_mode)) return trouble(path.string() + ": is no regular file", "put a file in its place");
  std::string contents;
  char buffer[16 * 1024];
  for (;;) {
    const ssize_t bytes = ::read(file.get(), buffer, sizeof buffer);
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes < 0) return failed(path, "can't be read");
    if (bytes == 0) return std::optional<std::string>(std::move(contents));
    if (contents.size() + static_cast<std::size_t>(bytes) > bytes_max) {
      return trouble(path.string() + ": is larger than " + std::to_string(bytes_max) + " bytes",
                     "is it the right file?");
    }
    contents.append(buffer, static_cast<std::size_t>(bytes));
  }
}

}  // namespace dipc
