#include "cli/machines.h"

#include <dlfcn.h>
#include <link.h>

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
    Machine{"i386", "i386-linux-gnu", elf32(EM_386, kLittle), "i686-linux-gnu", "x86_64", "lib32"},
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

std::vector<std::string> Machine::loader_folders() const {
  std::vector<std::string> folders = {"lib/" + std::string(triplet)};
  if (!biarch.empty()) folders.emplace_back(biarch);
  return folders;
}

std::string machine_names() {
  std::string names;
  for (const Machine& machine : kMachines) names += (names.empty() ? "" : ", ") + std::string(machine.name);
  return names;
}

// From our own header in memory: under qemu's user mode /proc/self/exe may name qemu.
const Machine* native_machine() {
  static const Machine* const kNative = []() -> const Machine* {
    Dl_info own;
    if (dladdr(reinterpret_cast<const void*>(&native_machine), &own) == 0) return nullptr;
    const auto* header = static_cast<const ElfW(Ehdr)*>(own.dli_fbase);
    return machine_of({header->e_machine, header->e_ident[EI_CLASS] == ELFCLASS64, measured_abi().byte_order, true});
  }();
  return kNative;
}

bool runs_natively(const ElfIdentity& elf) {
  const Machine* native = native_machine();
  if (native == nullptr) return true;  // nothing to compare with: let the kernel judge
  if (same_machine(native->elf, elf)) return true;
  const Machine* machine = machine_of(elf);
  return machine != nullptr && machine->also_on == native->name;
}

std::vector<const Machine*> native_machines() {
  std::vector<const Machine*> machines;
  for (const Machine& machine : kMachines) {
    if (native_machine() != nullptr && runs_natively(machine.elf)) machines.push_back(&machine);
  }
  return machines;
}

std::string guest_library_prefix(const Machine& machine) {
  if (const char* prefix = std::getenv("QEMU_LD_PREFIX"); prefix != nullptr && *prefix != '\0') return prefix;
  std::string prefix = "/usr/" + std::string(machine.compiler_prefix());
  std::error_code ignored;
  return std::filesystem::is_directory(prefix + "/lib", ignored) ? prefix : "";
}

}  // namespace dipc
