#include "cli/machines.h"

#include <elf.h>
#include <array>
#include <cstdlib>
#include <filesystem>

namespace dipc {
namespace {

constexpr ElfIdentity elf32(std::uint16_t machine, ByteOrder order) { return {machine, false, order, true}; }
constexpr ElfIdentity elf64(std::uint16_t machine, ByteOrder order) { return {machine, true, order, true}; }
constexpr auto kLittle = ByteOrder::kLittle;
constexpr auto kBig = ByteOrder::kBig;

constexpr std::array kMachines = {
    Machine{"x86_64", "x86_64-linux-gnu", elf64(EM_X86_64, kLittle)},
    Machine{"i386", "i386-linux-gnu", elf32(EM_386, kLittle)},
    Machine{"m68k", "m68k-linux-gnu", elf32(EM_68K, kBig)},
    Machine{"s390x", "s390x-linux-gnu", elf64(EM_S390, kBig)},
    Machine{"aarch64", "aarch64-linux-gnu", elf64(EM_AARCH64, kLittle)},
    Machine{"arm", "arm-linux-gnueabihf", elf32(EM_ARM, kLittle)},
    Machine{"ppc64le", "powerpc64le-linux-gnu", elf64(EM_PPC64, kLittle)},
    Machine{"ppc64", "powerpc64-linux-gnu", elf64(EM_PPC64, kBig)},
    Machine{"ppc", "powerpc-linux-gnu", elf32(EM_PPC, kBig)},
    Machine{"mips64el", "mips64el-linux-gnuabi64", elf64(EM_MIPS, kLittle)},
    Machine{"mipsel", "mipsel-linux-gnu", elf32(EM_MIPS, kLittle)},
    Machine{"mips", "mips-linux-gnu", elf32(EM_MIPS, kBig)},
    Machine{"riscv64", "riscv64-linux-gnu", elf64(EM_RISCV, kLittle)},
    Machine{"sparc64", "sparc64-linux-gnu", elf64(EM_SPARCV9, kBig)},
    Machine{"hppa", "hppa-linux-gnu", elf32(EM_PARISC, kBig)},
    Machine{"sh4", "sh4-linux-gnu", elf32(EM_SH, kLittle)},
    Machine{"alpha", "alpha-linux-gnu", elf64(EM_ALPHA, kLittle)},
};

}  // namespace

const Machine* machine_named(std::string_view name) {
  for (const Machine& machine : kMachines) {
    if (machine.name == name) return &machine;
  }
  return nullptr;
}

const Machine* machine_of(const ElfIdentity& elf) {
  for (const Machine& machine : kMachines) {
    if (same_machine(machine.elf, elf)) return &machine;
  }
  return nullptr;
}

const Machine* native_machine() {
#if defined(__m68k__)
  return machine_named("m68k");  // under qemu's user mode /proc/self/exe may name qemu
#else
  static const auto own = read_elf("/proc/self/exe");
  return own ? machine_of(*own) : nullptr;
#endif
}

bool runs_natively(const ElfIdentity& elf) {
  const Machine* native = native_machine();
  if (native == nullptr) return true;  // nothing to compare with: let the kernel judge
  if (same_machine(native->elf, elf)) return true;
  return native->name == "x86_64" && elf.machine == EM_386;
}

std::string guest_library_prefix(const Machine& machine) {
  if (const char* prefix = std::getenv("QEMU_LD_PREFIX"); prefix != nullptr && *prefix != '\0') return prefix;
  std::string prefix = "/usr/" + std::string(machine.triplet);
  std::error_code ignored;
  return std::filesystem::is_directory(prefix + "/lib", ignored) ? prefix : "";
}

}  // namespace dipc
