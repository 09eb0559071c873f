#include "daemon/ctl/debug_info.h"

#include <dwarf.h>

#include "daemon/core/text_lines.h"

namespace dipc {
namespace {

char* debug_folders = nullptr;  // libdwfl's default: beside the program, and /usr/lib/debug
const Dwfl_Callbacks kCallbacks = {dwfl_build_id_find_elf, dwfl_standard_find_debuginfo, dwfl_offline_section_address,
                                   &debug_folders};

// A struct that has members, behind a tag or a typedef.
std::optional<DebugInfo::Found> struct_behind(Dwarf_Die die, const std::string& name) {
  for (int links = 0; dwarf_tag(&die) == DW_TAG_typedef; ++links) {
    const auto next = type_of(die);
    if (!next || links >= kTypeLinksMax) return std::nullopt;
    die = *next;
  }
  if (!is_struct_tag(dwarf_tag(&die)) || dwarf_hasattr(&die, DW_AT_declaration)) return std::nullopt;
  const std::string own = name_of(die);
  return DebugInfo::Found{die, own.empty() ? name : own};
}

// What a name is that is no struct at the outermost level. Empty: there is none in this part of it.
std::string_view other_meaning(Dwarf_Die& parent, const std::string& name, int depth) {
  constexpr int kDepthMax = 16;  // of blocks in functions
  std::string_view found;
  for_each_child(parent, [&](Dwarf_Die& child) {
    if (!found.empty()) return;
    const int tag = dwarf_tag(&child);
    const bool is_type =
        is_struct_tag(tag) || tag == DW_TAG_typedef || tag == DW_TAG_enumeration_type || tag == DW_TAG_union_type;
    if (is_type && name_of(child) == name) {
      if (depth > 0 && is_struct_tag(tag)) found = "is inside a function or a namespace, where none is looked for";
      if (depth == 0 && tag == DW_TAG_enumeration_type) found = "is an enum";
      if (depth == 0 && tag == DW_TAG_union_type) found = "is a union, which can't be declared";
      if (depth == 0 && tag == DW_TAG_typedef) found = "is a typedef, and of no struct that has members";
    }
    const bool has_types = tag == DW_TAG_subprogram || tag == DW_TAG_lexical_block || tag == DW_TAG_namespace;
    if (found.empty() && has_types && depth < kDepthMax) found = other_meaning(child, name, depth + 1);
  });
  return found;
}

}  // namespace

Result<DebugInfo> DebugInfo::open(const std::filesystem::path& program) {
  DebugInfo info;
  info.program_ = program.string();
  std::error_code unknown;
  if (std::filesystem::is_directory(program, unknown))
    return trouble("can't read " + info.program_ + " as a program: it is a folder", "name an ELF file");
  info.dwfl_.reset(dwfl_begin(&kCallbacks));
  if (info.dwfl_ == nullptr) return trouble("can't start libdw: " + std::string(dwfl_errmsg(-1)));
  Dwfl_Module* module = dwfl_report_offline(info.dwfl_.get(), "", program.c_str(), -1);
  if (module == nullptr) {
    return trouble("can't read " + info.program_ + " as a program: " + dwfl_errmsg(-1), "name an ELF file");
  }
  dwfl_report_end(info.dwfl_.get(), nullptr, nullptr);
  GElf_Addr ignored = 0;
  Elf* elf = dwfl_module_getelf(module, &ignored);
  if (elf == nullptr || gelf_getehdr(elf, &info.header_) == nullptr) {
    return trouble("can't read " + info.program_ + " as a program", "name an ELF file");
  }
  Dwarf_Addr bias = 0;
  info.dwarf_ = dwfl_module_getdwarf(module, &bias);
  if (info.dwarf_ == nullptr) {
    return trouble(info.program_ + " has no debug information", "compile it with -g, or install its -dbgsym package");
  }
  return info;
}

Result<DebugInfo::Found> DebugInfo::find_struct(const std::string& name) const {
  Dwarf_CU* unit = nullptr;
  Dwarf_Die top, split;
  std::uint8_t unit_type = 0;
  std::string missing;     // what a unit says that its types are in
  std::string_view other;  // what else has that name
  while (dwarf_get_units(dwarf_, unit, &unit, nullptr, &unit_type, &top, &split) == 0) {
    if (unit_type == DW_UT_skeleton) {
      if (split.addr == nullptr) {
        Dwarf_Attribute attribute;
        const unsigned names[] = {DW_AT_dwo_name, DW_AT_GNU_dwo_name};
        for (const unsigned one : names) {
          const char* file = dwarf_formstring(dwarf_attr(&top, one, &attribute));
          if (file != nullptr) missing = file;
        }
        continue;
      }
      top = split;
    }
    std::optional<Found> found;
    for_each_child(top, [&](Dwarf_Die& child) {
      if (!found && name_of(child) == name) found = struct_behind(child, name);
    });
    if (found) return *found;
    if (other.empty()) other = other_meaning(top, name, 0);
  }
  if (!other.empty())
    return trouble(in_quotes(name) + " of " + program_ + " " + std::string(other), "name a struct of C");
  const std::string what = "no struct " + in_quotes(name) + " is in the debug information of " + program_;
  if (!missing.empty()) {
    return trouble(what + ", but part of that is in " + in_quotes(missing) + ", which can't be read",
                   "put that file where it was when the program was built, or build without -gsplit-dwarf");
  }
  return trouble(what, "name a struct that the program uses; the compiler leaves out those that are not");
}

std::string name_of(Dwarf_Die& die) {
  const char* name = dwarf_diename(&die);
  std::string text = name == nullptr ? "" : name;
  for (char& c : text) {
    if (c < ' ' || c > '~') c = '?';
  }
  return text;
}

std::optional<std::uint64_t> number_of(Dwarf_Die& die, unsigned attribute) {
  Dwarf_Attribute found;
  Dwarf_Word value = 0;
  if (dwarf_attr_integrate(&die, attribute, &found) == nullptr || dwarf_formudata(&found, &value) != 0)
    return std::nullopt;
  return value;
}

std::optional<Dwarf_Die> type_of(Dwarf_Die& die) {
  Dwarf_Attribute attribute;
  Dwarf_Die type;
  if (dwarf_attr_integrate(&die, DW_AT_type, &attribute) == nullptr ||
      dwarf_formref_die(&attribute, &type) == nullptr) {
    return std::nullopt;
  }
  return type;
}

bool is_struct_tag(int tag) { return tag == DW_TAG_structure_type || tag == DW_TAG_class_type; }

std::optional<std::uint64_t> member_offset(Dwarf_Die& member) {
  Dwarf_Attribute attribute;
  if (dwarf_attr_integrate(&member, DW_AT_data_member_location, &attribute) == nullptr) return 0;
  Dwarf_Word value = 0;
  if (dwarf_formudata(&attribute, &value) == 0) return value;
  // Before DWARF 3 always an expression: add this to the struct's address.
  Dwarf_Op* operations = nullptr;
  std::size_t count = 0;
  if (dwarf_getlocation(&attribute, &operations, &count) != 0 || count != 1 ||
      operations[0].atom != DW_OP_plus_uconst) {
    return std::nullopt;
  }
  return operations[0].number;
}

std::optional<std::int64_t> enumerator_value(Dwarf_Die& enumerator) {
  Dwarf_Attribute attribute;
  if (dwarf_attr(&enumerator, DW_AT_const_value, &attribute) == nullptr) return std::nullopt;
  const unsigned form = dwarf_whatform(&attribute);
  if (form == DW_FORM_sdata || form == DW_FORM_implicit_const) {
    Dwarf_Sword value = 0;
    if (dwarf_formsdata(&attribute, &value) != 0) return std::nullopt;
    return value;
  }
  // gcc writes what is not negative as DW_FORM_data1 to data8, which have no sign (7.5.5).
  Dwarf_Word value = 0;
  if (dwarf_formudata(&attribute, &value) != 0 || value > INT64_MAX) return std::nullopt;
  return static_cast<std::int64_t>(value);
}

std::optional<NumberType> number_behind(Dwarf_Die type) {
  for (int links = 0; links < kTypeLinksMax; ++links) {
    const int tag = dwarf_tag(&type);
    if (tag == DW_TAG_base_type) {
      NumberType number;
      number.bytes = number_of(type, DW_AT_byte_size).value_or(0);
      const std::uint64_t encoding = number_of(type, DW_AT_encoding).value_or(0);
      number.is_float = encoding == DW_ATE_float;
      number.is_signed = encoding == DW_ATE_signed || encoding == DW_ATE_signed_char || number.is_float;
      const bool is_whole = number.is_signed || encoding == DW_ATE_unsigned || encoding == DW_ATE_unsigned_char ||
                            encoding == DW_ATE_boolean || encoding == DW_ATE_UTF;
      if (!is_whole) return std::nullopt;
      return number;
    }
    const bool is_name =
        tag == DW_TAG_typedef || tag == DW_TAG_const_type || tag == DW_TAG_volatile_type || tag == DW_TAG_atomic_type;
    if (!is_name) return std::nullopt;
    const auto next = type_of(type);
    if (!next) return std::nullopt;
    type = *next;
  }
  return std::nullopt;
}

}  // namespace dipc
