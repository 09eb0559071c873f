#include "daemon/kernel/dead_letters.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>

#include "daemon/kernel/identity.h"

namespace dipc {
namespace {

constexpr const char* kFirstLine = "dipc dead letter 1";
constexpr const char* kSuffix = ".letter";
constexpr const char* kUnfinished = ".unfinished";

// Names and reasons come from peers: one line each, whatever they hold.
std::string one_line(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return text;
}

std::optional<std::int64_t> number_in(const std::string& text, int base = 10) {
  std::int64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value, base);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

bool is_name(const std::string& name) {
  return name.size() > std::strlen(kSuffix) && name.ends_with(kSuffix) && name.find('/') == std::string::npos &&
         number_in(name.substr(0, name.size() - std::strlen(kSuffix)));
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

}  // namespace

std::string encode_dead_letter(const DeadLetter& letter) {
  char key[16];
  std::snprintf(key, sizeof key, "0x%08" PRIx32, static_cast<std::uint32_t>(letter.key));
  std::ostringstream out;
  out << kFirstLine << "\ntime: " << letter.time_s << "\nreason: " << one_line(letter.reason)
      << "\nhost: " << one_line(letter.host) << "\nkind-key: " << key << "\nqueue-id: " << letter.queue
      << "\nowner: " << one_line(letter.owner) << "\ntype: " << letter.message.type
      << "\nbytes: " << letter.message.text.size() << "\nlength: " << (letter.length_exact ? "exact" : "at least")
      << "\n\n";
  std::string file = out.str();
  file.append(reinterpret_cast<const char*>(letter.message.text.data()), letter.message.text.size());
  return file;
}

Result<DeadLetter> decode_dead_letter(const std::string& file) {
  DeadLetter letter;
  std::size_t at = 0;
  std::optional<std::int64_t> bytes;
  bool typed = false;
  for (int line_number = 1;; ++line_number) {
    const std::size_t end = file.find('\n', at);
    if (end == std::string::npos) return trouble("the dead letter is cut short");
    const std::string line = file.substr(at, end - at);
    at = end + 1;
    if (line.empty()) break;
    if (line_number == 1) {
      if (line != kFirstLine) return trouble("not a dead letter of this version: " + line.substr(0, 40));
      continue;
    }
    const std::size_t colon = line.find(": ");
    if (colon == std::string::npos) return trouble("dead letter, line " + std::to_string(line_number) + ": " + line);
    const std::string name = line.substr(0, colon);
    const std::string value = line.substr(colon + 2);
    const bool is_key = name == "kind-key" && value.starts_with("0x");
    const std::optional<std::int64_t> number = is_key ? number_in(value.substr(2), 16) : number_in(value);
    if (name == "reason") letter.reason = value;
    if (name == "host") letter.host = value;
    if (name == "owner") letter.owner = value;
    if (name == "length") letter.length_exact = value == "exact";
    if (name == "bytes") bytes = number;
    if (!number) continue;
    if (name == "time") letter.time_s = *number;
    if (name == "queue-id") letter.queue = static_cast<std::int32_t>(*number);
    if (is_key) letter.key = static_cast<std::int32_t>(*number);
    if (name == "type") {
      letter.message.type = *number;
      typed = true;
    }
  }
  if (!typed || !bytes || *bytes < 0 || static_cast<std::uint64_t>(*bytes) != file.size() - at) {
    return trouble("the dead letter does not hold the message that it announces");
  }
  const auto* const text = reinterpret_cast<const std::byte*>(file.data() + at);
  letter.message.text.assign(text, text + *bytes);
  return letter;
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
    if (name.ends_with(kUnfinished)) std::filesystem::remove(entry.path(), error);
    if (!is_name(name)) continue;
    letters.names_.push_back(name);
    const auto number = number_in(name.substr(0, name.size() - std::strlen(kSuffix)));
    letters.next_number_ = std::max(letters.next_number_, static_cast<std::uint64_t>(*number) + 1);
  }
  std::sort(letters.names_.begin(), letters.names_.end());
  return letters;
}

Result<std::string> DeadLetters::add(const DeadLetter& letter) {
  while (!names_.empty() && names_.size() >= letters_max_) {
    const std::string oldest = names_.front();
    const Result<DeadLetter> gone = read(oldest);
    std::string what = oldest;
    if (gone) {
      what += " (host " + gone->host + ", queue " + std::to_string(gone->queue) + ", type " +
              std::to_string(gone->message.type) + ", " + std::to_string(gone->message.text.size()) + " bytes)";
    }
    log_("dead letters: the oldest is removed, there are " + std::to_string(names_.size()) + ": " + what);
    if (const Result<void> removed = remove(oldest); !removed) {
      log_("dead letters: " + removed.error().what);
      names_.erase(names_.begin());
    }
  }
  char name[40];
  std::snprintf(name, sizeof name, "%012" PRIu64 "%s", next_number_, kSuffix);
  const std::filesystem::path path = directory_ / name;
  const std::filesystem::path unfinished = path.string() + kUnfinished;
  restore_own_groups();
  const int fd = ::open(unfinished.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const bool written = fd >= 0 && write_all(fd, encode_dead_letter(letter)) && fsync(fd) == 0;
  const int saved = errno;
  if (fd >= 0) close(fd);
  if (!written || rename(unfinished.c_str(), path.c_str()) != 0) {
    const int why = written ? errno : saved;
    unlink(unfinished.c_str());
    return trouble(path.string() + ": " + std::strerror(why), "make room there");
  }
  ++next_number_;
  names_.emplace_back(name);
  return std::string(name);
}

Result<DeadLetter> DeadLetters::read(const std::string& name) const {
  if (!is_name(name)) return trouble(name + " is not the name of a dead letter");
  std::ifstream in(directory_ / name, std::ios::binary);
  if (!in) return trouble((directory_ / name).string() + ": can't be read");
  std::ostringstream file;
  file << in.rdbuf();
  return decode_dead_letter(file.str());
}

Result<void> DeadLetters::remove(const std::string& name) {
  if (!is_name(name)) return trouble(name + " is not the name of a dead letter");
  if (unlink((directory_ / name).c_str()) != 0 && errno != ENOENT) {
    return trouble((directory_ / name).string() + ": " + std::strerror(errno));
  }
  std::erase(names_, name);
  return {};
}

}  // namespace dipc
