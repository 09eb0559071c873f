#include "daemon/kernel/dead_letters.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <sstream>

#include "daemon/core/number_text.h"
#include "daemon/kernel/identity.h"
#include "wire/descriptor.h"
#include "wire/framing.h"

namespace dipc {
namespace {

constexpr std::string_view kFirstWords = "dipc dead letter ";
constexpr std::uint64_t kVersion = 1;
constexpr std::string_view kSuffix = ".letter";
constexpr std::string_view kUnfinished = ".unfinished";
constexpr std::size_t kDigits = 12;
constexpr std::uint64_t kNumberMax = 999'999'999'999;
constexpr std::size_t kValueBytesMax = 1024;  // of a reason or a name: all of a head fits kDeadLetterHeadBytesMax
constexpr std::uint64_t kFileBytesMax = kTextBytesMax + kDeadLetterHeadBytesMax;

// Names and reasons come from peers: one line each, whatever they hold.
std::string one_line(std::string_view text) {
  std::string line(text.substr(0, kValueBytesMax));
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return line;
}

template <typename T>
bool take(const std::optional<T>& number, T& into) {
  if (number) into = *number;
  return number.has_value();
}

bool write_all(int fd, const std::string& text) {
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t wrote = write(fd, text.data() + done, text.size() - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return false;
    done += static_cast<std::size_t>(wrote);
  }
  return true;
}

Result<void> check_first_line(std::string_view line) {
  const std::string what = "it is no dead letter";
  const std::string remedy = "take the file out of the folder dead-letters, or drop it";
  if (!line.starts_with(kFirstWords)) return trouble(what, remedy);
  const auto version = parse_number<std::uint64_t>(line.substr(kFirstWords.size()));
  if (!version || *version == 0) return trouble(what, remedy);
  if (*version > kVersion) {
    return trouble("it is a dead letter of version " + std::to_string(*version) + ", this dipcd knows version " +
                       std::to_string(kVersion),
                   "use the dipcd that wrote it, or a later one");
  }
  return {};
}

struct Known {
  bool type = false;
  std::optional<std::uint64_t> bytes;
};

// False: the value is none of its kind.
bool take_line(std::string_view name, std::string_view value, DeadLetter& letter, Known& known) {
  if (name == "reason") letter.reason = value;
  if (name == "host") letter.host = value;
  if (name == "login") letter.login = value;
  if (name == "owner") letter.owner = value;
  if (name == "length") {
    letter.length_exact = value == "exact";
    return letter.length_exact || value == "at least";
  }
  if (name == "time") return take(parse_number<std::int64_t>(value), letter.time_s);
  if (name == "queue-id") return take(parse_number<std::int32_t>(value), letter.queue);
  if (name == "generation") return take(parse_number<std::uint64_t>(value, 16), letter.generation);
  if (name == "kind-key") {
    std::uint32_t key = 0;
    if (!value.starts_with("0x") || !take(parse_number<std::uint32_t>(value.substr(2), 16), key)) return false;
    letter.key = static_cast<std::int32_t>(key);
  }
  if (name == "type") return known.type = take(parse_number<std::int64_t>(value), letter.message.type);
  if (name == "bytes") {
    known.bytes = parse_number<std::uint64_t>(value);
    return known.bytes.has_value();
  }
  return true;
}

// At most `bytes_max` bytes of the file from `at` on, and how large it is.
Result<std::pair<std::string, std::uint64_t>> read_part(const std::filesystem::path& path, std::uint64_t at,
                                                        std::uint64_t bytes_max) {
  // What somebody put there may be anything: a pipe must not hold up the daemon.
  const Descriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
  struct stat status {};
  if (fd.get() < 0 || fstat(fd.get(), &status) != 0) return trouble(path.string() + ": " + std::strerror(errno));
  if (!S_ISREG(status.st_mode)) return trouble(path.string() + " is no regular file", "take it away");
  const auto file_bytes = static_cast<std::uint64_t>(status.st_size);
  std::string text(static_cast<std::size_t>(std::min(bytes_max, file_bytes - std::min(at, file_bytes))), '\0');
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t bytes = pread(fd.get(), text.data() + done, text.size() - done, static_cast<off_t>(at + done));
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes < 0) return trouble(path.string() + ": " + std::strerror(errno));
    if (bytes == 0) return trouble(path.string() + " became shorter while it was read", "try again");
    done += static_cast<std::size_t>(bytes);
  }
  return std::pair(std::move(text), file_bytes);
}

Trouble no_such_name(const std::string& name) { return {name + " is not the name of a dead letter", {}}; }

}  // namespace

std::string encode_dead_letter(const DeadLetter& letter) {
  std::array<char, 16> key{};
  std::snprintf(key.data(), key.size(), "0x%08" PRIx32, static_cast<std::uint32_t>(letter.key));
  std::ostringstream out;
  out << kFirstWords << kVersion << "\ntime: " << letter.time_s << "\nreason: " << one_line(letter.reason)
      << "\nhost: " << one_line(letter.host);
  if (!letter.login.empty()) out << "\nlogin: " << one_line(letter.login);
  out << "\nkind-key: " << key.data() << "\nqueue-id: " << letter.queue;
  if (letter.generation != 0) out << "\ngeneration: " << std::hex << letter.generation << std::dec;
  out << "\nowner: " << one_line(letter.owner) << "\ntype: " << letter.message.type
      << "\nbytes: " << letter.message.text.size() << "\nlength: " << (letter.length_exact ? "exact" : "at least")
      << "\n\n";
  std::string file = out.str();
  file.append(reinterpret_cast<const char*>(letter.message.text.data()), letter.message.text.size());
  return file;
}

Result<DeadLetterHead> decode_dead_letter_head(std::string_view beginning, std::uint64_t file_bytes) {
  DeadLetterHead head;
  Known known;
  const std::string_view lines = beginning.substr(0, kDeadLetterHeadBytesMax);
  for (int line_number = 1;; ++line_number) {
    const std::size_t end = lines.find('\n', head.text_at);
    const std::string_view line = lines.substr(head.text_at, end - head.text_at);
    if (line_number == 1) {
      if (auto good = check_first_line(line); !good) return tl::unexpected(good.error());
    }
    if (end == std::string_view::npos) return trouble("the dead letter is cut short", "drop it");
    head.text_at = end + 1;
    if (line.empty()) break;
    if (line_number == 1) continue;
    const std::size_t colon = line.find(": ");
    if (colon == std::string_view::npos ||
        !take_line(line.substr(0, colon), line.substr(colon + 2), head.letter, known)) {
      return trouble("line " + std::to_string(line_number) + " of the dead letter is damaged: " + one_line(line),
                     "drop it");
    }
  }
  if (!known.type || !known.bytes || *known.bytes != file_bytes - head.text_at) {
    return trouble("the dead letter does not hold the message that it announces", "drop it");
  }
  if (*known.bytes > kTextBytesMax) {
    return trouble("the dead letter holds " + std::to_string(*known.bytes) + " bytes, more than a message has",
                   "drop it");
  }
  head.text_bytes = *known.bytes;
  return head;
}

Result<DeadLetter> decode_dead_letter(std::string_view file) {
  auto head = decode_dead_letter_head(file, file.size());
  if (!head) return tl::unexpected(head.error());
  const auto* const text = reinterpret_cast<const std::byte*>(file.data() + head->text_at);
  head->letter.message.text.assign(text, text + head->text_bytes);
  return std::move(head->letter);
}

std::string dead_letter_name(std::uint64_t number) {
  std::array<char, 24> digits{};
  std::snprintf(digits.data(), digits.size(), "%012" PRIu64, number);
  return std::string(digits.data()).append(kSuffix);
}

std::optional<std::uint64_t> dead_letter_number(std::string_view name) {
  if (name.size() != kDigits + kSuffix.size() || !name.ends_with(kSuffix)) return std::nullopt;
  const auto number = parse_number<std::uint64_t>(name.substr(0, kDigits));
  return number && *number != 0 ? number : std::nullopt;
}

Result<DeadLetters> DeadLetters::open(const std::filesystem::path& directory, std::size_t letters_max,
                                      std::function<void(const std::string&)> log) {
  DeadLetters letters;
  letters.directory_ = directory;
  letters.letters_max_ = letters_max;
  letters.log_ = std::move(log);
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  // Messages of all users lie here.
  if (error || chmod(directory.c_str(), 0700) != 0) {
    return trouble(directory.string() + ": " + (error ? error.message() : std::strerror(errno)));
  }
  std::filesystem::directory_iterator entries(directory, error);
  if (error) return trouble(directory.string() + ": " + error.message());
  for (const auto& entry : entries) {
    const std::string name = entry.path().filename();
    if (name.ends_with(kUnfinished) && dead_letter_number(name.substr(0, name.size() - kUnfinished.size()))) {
      std::filesystem::remove(entry.path(), error);
    }
    const auto number = dead_letter_number(name);
    if (!number) continue;
    letters.names_.push_back(name);
    letters.next_number_ = std::max(letters.next_number_, *number + 1);
  }
  std::sort(letters.names_.begin(), letters.names_.end());
  return letters;
}

void DeadLetters::make_room() {
  while (!names_.empty() && names_.size() >= letters_max_) {
    const std::string oldest = names_.front();
    const Result<DeadLetterHead> gone = head(oldest);
    const std::string there_are = ", there are " + std::to_string(names_.size()) + ": " + oldest;
    if (!gone) {
      // Not ours to throw away; the next start counts it again.
      log_("dead letters: the oldest stays" + there_are + ": " + gone.error().what);
      names_.erase(names_.begin());
      continue;
    }
    const DeadLetter& letter = gone->letter;
    log_("dead letters: the oldest is removed" + there_are + " (for " + letter.host + ", from queue " +
         std::to_string(letter.queue) + ", type " + std::to_string(letter.message.type) + ", " +
         std::to_string(gone->text_bytes) + " bytes)");
    if (const Result<void> removed = remove(oldest); !removed) {
      log_("dead letters: " + removed.error().what);
      names_.erase(names_.begin());
    }
  }
}

Result<std::string> DeadLetters::add(const DeadLetter& letter) {
  make_room();
  restore_own_groups();
  // Whatever lies there under the next name is not written over.
  const auto is_there = [&](std::uint64_t number) {
    struct stat status {};
    return lstat((directory_ / dead_letter_name(number)).c_str(), &status) == 0;
  };
  while (next_number_ > kNumberMax || is_there(next_number_)) {
    next_number_ = next_number_ >= kNumberMax ? 1 : next_number_ + 1;
  }
  const std::string name = dead_letter_name(next_number_);
  const std::filesystem::path path = directory_ / name;
  const std::filesystem::path unfinished = path.string().append(kUnfinished);
  const int fd = ::open(unfinished.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  const bool written = fd >= 0 && write_all(fd, encode_dead_letter(letter)) && fsync(fd) == 0;
  const int saved = errno;
  if (fd >= 0) close(fd);
  if (!written || rename(unfinished.c_str(), path.c_str()) != 0) {
    const int why = written ? errno : saved;
    unlink(unfinished.c_str());
    return trouble(path.string() + ": " + std::strerror(why), "make room there");
  }
  ++next_number_;
  names_.insert(std::upper_bound(names_.begin(), names_.end(), name), name);
  return name;
}

bool DeadLetters::has(const std::string& name) const { return std::binary_search(names_.begin(), names_.end(), name); }

Result<DeadLetterHead> DeadLetters::head(const std::string& name) const {
  if (!dead_letter_number(name)) return tl::unexpected(no_such_name(name));
  const auto file = read_part(directory_ / name, 0, kDeadLetterHeadBytesMax);
  if (!file) return tl::unexpected(file.error());
  return decode_dead_letter_head(file->first, file->second);
}

Result<std::string> DeadLetters::text(const std::string& name, const DeadLetterHead& head, std::uint64_t offset,
                                      std::size_t bytes_max) const {
  if (!dead_letter_number(name)) return tl::unexpected(no_such_name(name));
  const std::uint64_t bytes = head.text_bytes - std::min(offset, head.text_bytes);
  auto part = read_part(directory_ / name, head.text_at + offset, std::min<std::uint64_t>(bytes, bytes_max));
  if (!part) return tl::unexpected(part.error());
  return std::move(part->first);
}

Result<DeadLetter> DeadLetters::read(const std::string& name) const {
  if (!dead_letter_number(name)) return tl::unexpected(no_such_name(name));
  const auto file = read_part(directory_ / name, 0, kFileBytesMax);
  if (!file) return tl::unexpected(file.error());
  if (file->second != file->first.size()) {
    return trouble((directory_ / name).string() + " is too large for a dead letter", "drop it");
  }
  return decode_dead_letter(file->first);
}

Result<void> DeadLetters::remove(const std::string& name) {
  if (!dead_letter_number(name)) return tl::unexpected(no_such_name(name));
  if (unlink((directory_ / name).c_str()) != 0 && errno != ENOENT) {
    return trouble((directory_ / name).string() + ": " + std::strerror(errno));
  }
  std::erase(names_, name);
  return {};
}

}  // namespace dipc
