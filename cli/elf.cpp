#include "cli/elf.h"

#include <elf.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>

namespace dipc {
namespace {

// Reads numbers of a file in the file's byte order.
class Reader {
 public:
  Reader(int descriptor, ByteOrder order) : descriptor_(descriptor), order_(order) {}

  // Nothing beyond the end of the file.
  std::optional<std::uint64_t> number(std::uint64_t offset, std::size_t bytes) const {
    unsigned char raw[8] = {};
    if (offset > INT32_MAX || pread(descriptor_, raw, bytes, static_cast<off_t>(offset)) != static_cast<ssize_t>(bytes))
      return std::nullopt;
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < bytes; ++i) {
      value = value << 8 | raw[order_ == ByteOrder::kBig ? i : bytes - 1 - i];
    }
    return value;
  }

 private:
  int descriptor_;
  ByteOrder order_;
};

std::optional<ElfIdentity> read_elf(int descriptor) {
  unsigned char ident[EI_NIDENT];
  if (pread(descriptor, ident, sizeof ident, 0) != static_cast<ssize_t>(sizeof ident)) return std::nullopt;
  if (std::memcmp(ident, ELFMAG, SELFMAG) != 0) return std::nullopt;
  ElfIdentity elf;
  elf.is_64_bit = ident[EI_CLASS] == ELFCLASS64;
  elf.byte_order = ident[EI_DATA] == ELFDATA2MSB ? ByteOrder::kBig : ByteOrder::kLittle;

  const Reader file(descriptor, elf.byte_order);
  const bool wide = elf.is_64_bit;
  const auto machine = file.number(offsetof(Elf32_Ehdr, e_machine), 2);  // the same place in both classes
  const auto table = file.number(wide ? offsetof(Elf64_Ehdr, e_phoff) : offsetof(Elf32_Ehdr, e_phoff), wide ? 8 : 4);
  const auto entry_bytes = file.number(wide ? offsetof(Elf64_Ehdr, e_phentsize) : offsetof(Elf32_Ehdr, e_phentsize), 2);
  const auto entries = file.number(wide ? offsetof(Elf64_Ehdr, e_phnum) : offsetof(Elf32_Ehdr, e_phnum), 2);
  if (!machine || !table || !entry_bytes || !entries) return std::nullopt;
  elf.machine = static_cast<std::uint16_t>(*machine);
  for (std::uint64_t i = 0; i < *entries; ++i) {
    const auto type = file.number(*table + i * *entry_bytes, 4);  // p_type comes first in both classes
    if (!type) return std::nullopt;
    if (*type == PT_INTERP) elf.has_interpreter = true;
  }
  return elf;
}

}  // namespace

std::optional<ElfIdentity> read_elf(const std::string& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return std::nullopt;
  const auto elf = read_elf(descriptor);
  close(descriptor);
  return elf;
}

bool same_machine(const ElfIdentity& a, const ElfIdentity& b) {
  return a.machine == b.machine && a.is_64_bit == b.is_64_bit && a.byte_order == b.byte_order;
}

}  // namespace dipc
