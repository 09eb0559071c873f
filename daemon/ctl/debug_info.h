#pragma once

// Debug information as an import reads it: types, their names, members and sizes, in terms of libdw but without its
// traps. It may be damaged: nothing in here goes round in circles or believes a number.
// Source: DWARF 5, chapters 5.4 to 5.9 and 7.5.5.

#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <gelf.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "wire/result.h"

namespace dipc {

// A program that is open. The DIEs of it live as long.
class DebugInfo {
 public:
  // Trouble: no ELF file, or none with debug information.
  static Result<DebugInfo> open(const std::filesystem::path& program);

  const GElf_Ehdr& header() const { return header_; }

  struct Found {
    Dwarf_Die die{};
    std::string name;  // the tag, or the typedef's if it has none
  };
  // A struct of that tag, or the one that a typedef of that name stands for, at the outermost level of a file of C.
  // Declarations without members are passed over. Trouble: there is none.
  Result<Found> find_struct(const std::string& name) const;

 private:
  struct Close {
    void operator()(Dwfl* dwfl) const { dwfl_end(dwfl); }
  };
  std::unique_ptr<Dwfl, Close> dwfl_;
  Dwarf* dwarf_ = nullptr;
  GElf_Ehdr header_{};
  std::string program_;
};

// Without what a terminal would take for a command.
std::string name_of(Dwarf_Die& die);
std::optional<std::uint64_t> number_of(Dwarf_Die& die, unsigned attribute);
std::optional<Dwarf_Die> type_of(Dwarf_Die& die);
bool is_struct_tag(int tag);

// Of a member, bytes from the struct's begin. Nothing: it is not a fixed one.
std::optional<std::uint64_t> member_offset(Dwarf_Die& member);

// Of an enum's member. Nothing: it has none, or one beyond an int64_t.
std::optional<std::int64_t> enumerator_value(Dwarf_Die& enumerator);

// The number that a type is in the end, all names and qualifiers taken away. Nothing: it is none, or an enum.
struct NumberType {
  std::uint64_t bytes = 0;
  bool is_signed = false;
  bool is_float = false;
};
std::optional<NumberType> number_behind(Dwarf_Die type);

inline constexpr int kTypeLinksMax = 64;  // names of names of a type

// Every child of a DIE, in its order.
template <typename Visit>
void for_each_child(Dwarf_Die& parent, Visit&& visit) {
  Dwarf_Die child;
  if (dwarf_child(&parent, &child) != 0) return;
  for (;;) {
    const Dwarf_Off offset = dwarf_dieoffset(&child);
    visit(child);
    Dwarf_Die next;
    // One that lies before its sibling is of a damaged list, which may have no end.
    if (dwarf_siblingof(&child, &next) != 0 || dwarf_dieoffset(&next) <= offset) return;
    child = next;
  }
}

}  // namespace dipc
