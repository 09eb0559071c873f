#include "daemon/ctl/types_import.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <gelf.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>

#include "arch/abi.h"
#include "daemon/core/text_lines.h"
#include "daemon/ctl/placement.h"
#include "layouts/declarations.h"
#include "layouts/parser.h"

namespace dipc {
namespace {

constexpr int kLinksMax = 64;    // names of names of a type; damaged debug information goes in circles
constexpr int kNestingMax = 32;  // structs in structs, as the parser takes them

struct CloseDwfl {
  void operator()(Dwfl* dwfl) const { dwfl_end(dwfl); }
};
using DwflHandle = std::unique_ptr<Dwfl, CloseDwfl>;

char* debug_folders = nullptr;  // libdwfl's default: beside the program, and /usr/lib/debug
const Dwfl_Callbacks kCallbacks = {dwfl_build_id_find_elf, dwfl_standard_find_debuginfo, dwfl_offline_section_address,
                                   &debug_folders};

// Names that libcs give to integers, whose type behind the name differs between machines.
struct KnownTypedef {
  std::string_view name, declared;
};
constexpr KnownTypedef kKnownTypedefs[] = {
    {"pid_t", "pid"},         {"__pid_t", "pid"},         {"uid_t", "uid"},         {"__uid_t", "uid"},
    {"gid_t", "gid"},         {"__gid_t", "gid"},         {"__time_t", "time_t"},   {"__time64_t", "int64_t"},
    {"dev_t", "uint64_t"},    {"__dev_t", "uint64_t"},    {"off64_t", "int64_t"},   {"__off64_t", "int64_t"},
    {"loff_t", "int64_t"},    {"__loff_t", "int64_t"},    {"ino64_t", "uint64_t"},  {"__ino64_t", "uint64_t"},
    {"wchar_t", "int32_t"},   {"__ssize_t", "ssize_t"},   {"__int8_t", "int8_t"},   {"__uint8_t", "uint8_t"},
    {"__int16_t", "int16_t"}, {"__uint16_t", "uint16_t"}, {"__int32_t", "int32_t"}, {"__uint32_t", "uint32_t"},
    {"__int64_t", "int64_t"}, {"__uint64_t", "uint64_t"},
};

// What an ELF header says of a machine's C types: the machines that we know, else what the class lets expect.
std::optional<Abi> abi_of(const GElf_Ehdr& header) {
  const bool is_big = header.e_ident[EI_DATA] == ELFDATA2MSB;
  const bool has_64_bits = header.e_ident[EI_CLASS] == ELFCLASS64;
  std::optional<Abi> abi = known_abi("x86-64");
  if (header.e_machine == EM_386) abi = known_abi("i386");
  if (header.e_machine == EM_68K) abi = known_abi("m68k");
  if (!has_64_bits && header.e_machine != EM_386 && header.e_machine != EM_68K) {
    for (const CType type : {CType::kLong, CType::kPointer, CType::kSize, CType::kTime}) (*abi)[type] = {4, 4};
  }
  abi->byte_order = is_big ? ByteOrder::kBig : ByteOrder::kLittle;
  return abi;
}

std::string name_of(Dwarf_Die& die) {
  const char* name = dwarf_diename(&die);
  return name == nullptr ? std::string() : std::string(name);
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

// Every child of a DIE, in its order.
template <typename Visit>
void for_each_child(Dwarf_Die& parent, Visit&& visit) {
  Dwarf_Die child;
  if (dwarf_child(&parent, &child) != 0) return;
  do visit(child);
  while (dwarf_siblingof(&child, &child) == 0);
}

class Importer {
 public:
  Importer(std::string program, const Abi& abi) : program_(std::move(program)), abi_(abi) {}

  // The struct's index in types().
  std::size_t structure(Dwarf_Die& die, const std::string& name) {
    const Dwarf_Off offset = dwarf_dieoffset(&die);
    if (const auto known = done_.find(offset); known != done_.end()) return known->second;
    if (nesting_ >= kNestingMax) {
      refuse(name, "is nested more than 32 deep", "declare it by hand");
      return 0;
    }
    ++nesting_;
    StructDeclaration declared;
    declared.name = name;
    declared.tagged = !name.empty();
    declared.aligned = static_cast<std::uint32_t>(number_of(die, DW_AT_alignment).value_or(1));
    SeenPlaces seen;
    seen.size = static_cast<std::uint64_t>(std::max(dwarf_bytesize(&die), 0));
    for_each_child(die, [&](Dwarf_Die& child) {
      const int tag = dwarf_tag(&child);
      if (tag == DW_TAG_inheritance) refuse(name, "has a base class", "declare a struct of plain members");
      if (tag == DW_TAG_member && !dwarf_hasattr_integrate(&child, DW_AT_external)) member(child, declared, seen);
    });
    if (declared.fields.empty()) {
      if (troubles_.empty()) refuse(name, "has no members", "import a struct that is defined, not only declared");
      declared.fields.emplace_back().name = "nothing";
      seen.offsets.push_back(0);
    }
    types_.structs.push_back(std::move(declared));
    seen_.push_back(std::move(seen));
    done_[offset] = types_.structs.size() - 1;
    --nesting_;
    return types_.structs.size() - 1;
  }

  Parsed<ImportedType> finish(std::size_t structure) {
    if (troubles_.empty()) explain();
    if (!troubles_.empty()) return tl::unexpected<Troubles>(std::move(troubles_));
    ImportedType imported{to_declaration(types_, structure), std::move(notes_)};
    const TypeFile file{types_.structs[structure].name + " of " + program_, imported.declaration};
    if (const auto read = parse_types({&file, 1}); !read) return tl::unexpected<Troubles>(read.error());
    return imported;
  }

 private:
  void refuse(const std::string& path, const std::string& what, const std::string& remedy) {
    troubles_.push_back({program_ + ": " + (path.empty() ? "a struct without a name" : path) + " " + what, remedy});
  }

  void member(Dwarf_Die& die, StructDeclaration& declared, SeenPlaces& seen) {
    Field field;
    field.name = name_of(die);
    const std::string path = (declared.name.empty() ? "a struct without a name" : declared.name) + "." + field.name;
    if (dwarf_hasattr_integrate(&die, DW_AT_bit_size) || dwarf_hasattr_integrate(&die, DW_AT_data_bit_offset)) {
      return refuse(path, "is a bit-field, which every compiler places as it likes",
                    "use a whole integer and masks in the program");
    }
    auto type = type_of(die);
    if (!type) return refuse(path, "has no type that is known", "compile the program with -g");
    field.aligned = static_cast<std::uint32_t>(number_of(die, DW_AT_alignment).value_or(1));
    if (!use(*type, field, path)) return;
    if (field.name.empty()) return refuse(path, "is a member without a name", "give it one");
    declared.fields.push_back(std::move(field));
    seen.offsets.push_back(number_of(die, DW_AT_data_member_location).value_or(0));
  }

  // Follows names to what they stand for. False: it was refused.
  bool use(Dwarf_Die type, Field& field, const std::string& path) {
    std::string alias;  // of a struct that has no name of its own
    for (int links = 0; links < kLinksMax; ++links) {
      const int tag = dwarf_tag(&type);
      if (tag == DW_TAG_typedef) {
        const std::string name = name_of(type);
        if (named(name, type, field, path)) return true;
        if (name == "intptr_t" || name == "uintptr_t") return pointer(path);
        if (alias.empty()) alias = name;
      } else if (tag == DW_TAG_array_type) {
        array(type, field);
      } else if (tag != DW_TAG_const_type && tag != DW_TAG_volatile_type && tag != DW_TAG_atomic_type) {
        return last(type, alias, field, path);
      }
      auto next = type_of(type);
      if (!next) {
        refuse(path, "is void", "declare its data");
        return false;
      }
      type = *next;
    }
    refuse(path, "has a type without an end", "the debug information is damaged: compile the program again");
    return false;
  }

  bool named(const std::string& name, Dwarf_Die& type, Field& field, const std::string& path) {
    std::string declared = name;
    for (const KnownTypedef& known : kKnownTypedefs) {
      if (known.name == name) declared = known.declared;
    }
    const auto scalar = scalar_named({declared});
    if (!scalar || (declared == name && scalar->meaning != Meaning::kNumber)) return false;
    if (scalar->kind == ScalarKind::kTime) time(type, path);
    if (scalar->meaning != Meaning::kNumber) {
      notes_.push_back(path + " is a " + name + ": declared as " + declared +
                       ", it is rewritten between hosts; write int to have it left as it is");
    }
    field.type = {declared, false, *scalar, 0};
    return true;
  }

  void time(Dwarf_Die& type, const std::string& path) {
    Dwarf_Word bytes = 0;
    if (dwarf_aggregate_size(&type, &bytes) != 0 || bytes == abi_[CType::kTime].size_bytes) return;
    abi_ = with_time_bits(abi_, static_cast<unsigned>(8 * bytes));
    notes_.push_back(path + " is a time_t of " + std::to_string(8 * bytes) + " bits, unlike other programs' there");
  }

  void array(Dwarf_Die& type, Field& field) {
    for_each_child(type, [&field](Dwarf_Die& child) {
      if (dwarf_tag(&child) != DW_TAG_subrange_type) return;
      const auto upper = number_of(child, DW_AT_upper_bound);
      const auto count = number_of(child, DW_AT_count);
      const std::uint64_t length = count ? *count : upper ? *upper + 1 : 0;
      if (length == 0) {
        field.extent = Field::Extent::kOpen;
      } else {
        field.dimensions.push_back(static_cast<std::uint32_t>(std::min<std::uint64_t>(length, UINT32_MAX)));
      }
    });
  }

  bool pointer(const std::string& path) {
    refuse(path, "is a pointer, which means nothing in another process", "send what it points to");
    return false;
  }

  bool last(Dwarf_Die& type, const std::string& alias, Field& field, const std::string& path) {
    switch (dwarf_tag(&type)) {
      case DW_TAG_pointer_type:
      case DW_TAG_reference_type:
      case DW_TAG_rvalue_reference_type:
      case DW_TAG_ptr_to_member_type:
        return pointer(path);
      case DW_TAG_union_type:
        refuse(path, "is a union: nothing says which of its members is in use",
               "declare one struct for each kind of message and choose by mtype");
        return false;
      case DW_TAG_base_type:
        return base(type, field, path);
      case DW_TAG_enumeration_type:
        return enumeration(type, field, path);
      case DW_TAG_structure_type:
      case DW_TAG_class_type: {
        const std::string own = name_of(type);
        const std::string name = own.empty() ? alias : own;
        field.type.is_struct = true;
        field.type.structure = structure(type, name);
        field.type.text = name.empty() ? "struct {...}" : "struct " + name;
        return true;
      }
      default:
        refuse(path, "is of a kind that can't be declared", "use numbers, arrays and structs of them");
        return false;
    }
  }

  bool base(Dwarf_Die& type, Field& field, const std::string& path) {
    const std::string name = name_of(type);
    std::vector<std::string_view> words;
    for (std::size_t at = 0; at < name.size();) {
      const std::size_t end = std::min(name.find(' ', at), name.size());
      words.push_back(std::string_view(name).substr(at, end - at));
      at = end + 1;
    }
    if (name == "char16_t") words = {"uint16_t"};
    if (name == "char32_t") words = {"uint32_t"};
    const auto scalar = scalar_named(words);
    if (!scalar) {
      refuse(path, "is a " + name + ", which has another format on every machine", "use double, or integers");
      return false;
    }
    field.type = {canonical_name(*scalar, words), false, *scalar, 0};
    return true;
  }

  // gcc says "long unsigned int", clang "unsigned long": one declaration for both.
  static std::string canonical_name(const Scalar& scalar, const std::vector<std::string_view>& words) {
    const std::string sign = scalar.is_signed ? "" : "unsigned ";
    switch (scalar.kind) {
      case ScalarKind::kShort:
        return sign + "short";
      case ScalarKind::kInt:
        return sign + "int";
      case ScalarKind::kLong:
        return sign + "long";
      case ScalarKind::kLongLong:
        return sign + "long long";
      default:
        break;
    }
    std::string text;
    for (const std::string_view word : words) text += (text.empty() ? "" : " ") + std::string(word);
    return text == "_Bool" ? "bool" : text;
  }

  bool enumeration(Dwarf_Die& type, Field& field, const std::string& path) {
    const int bytes = dwarf_bytesize(&type);
    constexpr std::string_view kTypes[] = {"uint8_t", "uint16_t", "int", "int64_t"};
    if (bytes != 1 && bytes != 2 && bytes != 4 && bytes != 8) {
      refuse(path, "is an enum of unknown size", "use an integer");
      return false;
    }
    EnumDeclaration declared;
    declared.name = name_of(type);
    const std::string_view holder = kTypes[bytes == 1 ? 0 : bytes == 2 ? 1 : bytes == 4 ? 2 : 3];
    declared.type = {std::string(holder), false, *scalar_named({holder}), 0};
    for_each_child(type, [&declared](Dwarf_Die& child) {
      Dwarf_Attribute attribute;
      Dwarf_Sword value = 0;
      if (dwarf_tag(&child) != DW_TAG_enumerator || dwarf_attr(&child, DW_AT_const_value, &attribute) == nullptr)
        return;
      if (dwarf_formsdata(&attribute, &value) == 0) declared.members.push_back({name_of(child), value});
    });
    if (bytes < 4 &&
        std::any_of(declared.members.begin(), declared.members.end(), [](const auto& one) { return one.value < 0; })) {
      declared.type.text.erase(0, 1);
      declared.type.scalar.is_signed = true;
    }
    field.type = declared.type;
    if (declared.name.empty() || declared.members.empty()) return true;
    field.type.text = "enum " + declared.name;
    const bool is_known = std::any_of(types_.enums.begin(), types_.enums.end(),
                                      [&declared](const EnumDeclaration& one) { return one.name == declared.name; });
    if (!is_known) types_.enums.push_back(std::move(declared));
    return true;
  }

  // Attributes that make our places those that the compiler chose, struct by struct.
  void explain() {
    const Form form = *Form::native(abi_);
    TypeSet explained;
    for (std::size_t i = 0; i < types_.structs.size(); ++i) {
      const Shapes before(explained, form);
      explained.structs.push_back(types_.structs[i]);
      const StructDeclaration natural = explained.structs.back();
      if (!explain_places(explained, before, seen_[i])) {
        refuse(natural.name, "has members where neither packed nor aligned(n) puts them", "declare it by hand");
      }
    }
    types_.structs = std::move(explained.structs);
  }

  std::string program_;
  Abi abi_;
  TypeSet types_;
  std::vector<SeenPlaces> seen_;
  std::map<Dwarf_Off, std::size_t> done_;
  int nesting_ = 0;
  Troubles troubles_;
  std::vector<std::string> notes_;
};

struct Found {
  Dwarf_Die die{};
  std::string name;
};

// A struct of that tag, or the one that a typedef of that name stands for. Declarations without members are passed
// over.
std::optional<Found> find_struct(Dwarf* dwarf, const std::string& name) {
  Dwarf_CU* unit = nullptr;
  Dwarf_Die top;
  while (dwarf_get_units(dwarf, unit, &unit, nullptr, nullptr, &top, nullptr) == 0) {
    std::optional<Found> found;
    for_each_child(top, [&](Dwarf_Die& child) {
      if (found || name_of(child) != name) return;
      Dwarf_Die die = child;
      while (dwarf_tag(&die) == DW_TAG_typedef) {
        auto next = type_of(die);
        if (!next) return;
        die = *next;
      }
      if (!is_struct_tag(dwarf_tag(&die)) || dwarf_hasattr(&die, DW_AT_declaration)) return;
      const std::string own = name_of(die);
      found = Found{die, own.empty() ? name : own};
    });
    if (found) return found;
  }
  return std::nullopt;
}

tl::unexpected<Troubles> one_trouble(std::string what, std::string remedy) {
  return tl::unexpected<Troubles>(Troubles{{std::move(what), std::move(remedy)}});
}

}  // namespace

Parsed<ImportedType> import_type(const std::filesystem::path& program, const std::string& written) {
  const std::string name = written.starts_with("struct ") ? written.substr(7) : written;
  const DwflHandle dwfl(dwfl_begin(&kCallbacks));
  if (dwfl == nullptr) return one_trouble("can't start libdw: " + std::string(dwfl_errmsg(-1)), {});
  Dwfl_Module* module = dwfl_report_offline(dwfl.get(), "", program.c_str(), -1);
  if (module == nullptr) {
    return one_trouble("can't read " + program.string() + " as a program: " + dwfl_errmsg(-1), "name an ELF file");
  }
  dwfl_report_end(dwfl.get(), nullptr, nullptr);
  GElf_Addr ignored = 0;
  Elf* elf = dwfl_module_getelf(module, &ignored);
  GElf_Ehdr header;
  if (elf == nullptr || gelf_getehdr(elf, &header) == nullptr) {
    return one_trouble("can't read " + program.string() + " as a program", "name an ELF file");
  }
  Dwarf_Addr bias = 0;
  Dwarf* const dwarf = dwfl_module_getdwarf(module, &bias);
  if (dwarf == nullptr) {
    return one_trouble(program.string() + " has no debug information",
                       "compile it with -g, or install its -dbgsym package");
  }
  auto found = find_struct(dwarf, name);
  if (!found) {
    return one_trouble("no struct " + in_quotes(name) + " is in the debug information of " + program.string(),
                       "name a struct that the program uses; the compiler leaves out those that are not");
  }
  Importer importer(program.filename().string(), *abi_of(header));
  const std::size_t structure = importer.structure(found->die, found->name);
  return importer.finish(structure);
}

}  // namespace dipc
