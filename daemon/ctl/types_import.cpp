#include "daemon/ctl/types_import.h"

#include <dwarf.h>

#include <algorithm>
#include <bit>
#include <map>
#include <optional>

#include "arch/abi.h"
#include "daemon/ctl/debug_info.h"
#include "daemon/ctl/libc_types.h"
#include "daemon/ctl/placement.h"
#include "layouts/declarations.h"
#include "layouts/parser.h"

namespace dipc {
namespace {

constexpr std::size_t kTroublesMax = 20;
constexpr int kNestingMax = static_cast<int>(kStructDepthMax);  // as the parser takes them

// What an ELF header says of a machine's C types: the machines that we know, else what the class lets expect.
Abi abi_of(const GElf_Ehdr& header) {
  const bool is_big = header.e_ident[EI_DATA] == ELFDATA2MSB;
  const bool has_64_bits = header.e_ident[EI_CLASS] == ELFCLASS64;
  Abi abi = *known_abi("x86-64");
  if (header.e_machine == EM_386) abi = *known_abi("i386");
  if (header.e_machine == EM_68K) abi = *known_abi("m68k");
  if (!has_64_bits && header.e_machine != EM_386 && header.e_machine != EM_68K) {
    for (const CType type : {CType::kLong, CType::kPointer, CType::kSize, CType::kTime}) abi[type] = {4, 4};
  }
  abi.byte_order = is_big ? ByteOrder::kBig : ByteOrder::kLittle;
  return abi;
}

class Importer {
 public:
  Importer(std::string program, const Abi& abi) : program_(std::move(program)), abi_(abi) {}

  // The struct's index. Nothing: it was refused, and does not end. `path`: what it is called if it has no name, that of
  // its first field.
  std::optional<std::size_t> structure(Dwarf_Die& die, const std::string& name, const std::string& path) {
    const Dwarf_Off offset = dwarf_dieoffset(&die);
    const auto [known, is_new] = done_.emplace(offset, std::nullopt);
    if (!is_new && known->second) return *known->second;
    if (!is_new || nesting_ >= kNestingMax) {
      refuse(path, is_new ? "is nested more than 32 deep" : "is a part of itself", "declare it by hand");
      return std::nullopt;
    }
    ++nesting_;
    StructDeclaration declared;
    declared.name = name;
    declared.tagged = !name.empty();
    declared.aligned = alignment(die, path);
    SeenPlaces seen;
    seen.size = number_of(die, DW_AT_byte_size).value_or(0);
    seen.align = number_of(die, DW_AT_alignment).value_or(0);
    for_each_child(die, [&](Dwarf_Die& child) {
      const int tag = dwarf_tag(&child);
      if (tag == DW_TAG_inheritance) refuse(path, "has a base class", "declare a struct of plain members");
      if (tag == DW_TAG_member && !dwarf_hasattr_integrate(&child, DW_AT_external)) member(child, path, declared, seen);
    });
    --nesting_;
    if (declared.fields.empty()) {
      const bool is_only_declared = dwarf_hasattr(&die, DW_AT_declaration) != 0;
      if (troubles_.empty() && is_only_declared)
        refuse(path, "has no members here", "import from a program where the struct is defined, not only declared");
      if (troubles_.empty())
        refuse(path, "is a struct without members, which carries nothing", "leave it out, or use one");
      declared.fields.emplace_back().name = "nothing";
      seen.offsets.push_back(0);
    }
    // As the parser counts them: what doubles with every level would be written out so.
    std::uint64_t places = 0;
    for (const Field& field : declared.fields) places += field.type.is_struct ? places_[field.type.structure] : 1;
    if (places > kStructPlacesMax) {
      refuse(path, "has more than 65536 numbers, its nested structs written out", "use an array for what repeats");
      places = 0;
    }
    types_.structs.push_back(std::move(declared));
    seen_.push_back(std::move(seen));
    places_.push_back(places);
    paths_.push_back(path);
    done_[offset] = types_.structs.size() - 1;
    return types_.structs.size() - 1;
  }

  // What was asked for; `name`: the struct's own or a typedef's.
  struct Asked {
    std::size_t structure = 0;
    std::string name;
  };
  Parsed<ImportedTypes> finish(const std::vector<Asked>& all) {
    if (troubles_.empty()) explain(all);
    if (!troubles_.empty()) return tl::unexpected<Troubles>(std::move(troubles_));
    std::vector<std::size_t> structures;
    std::string typedefs, names;
    for (const Asked& asked : all) {
      const StructDeclaration& declared = types_.structs[asked.structure];
      note_one_element(declared);
      structures.push_back(asked.structure);
      names.append(names.empty() ? "" : ", ").append(declared.name);
      if (asked.name != declared.name) typedefs += "typedef struct " + declared.name + " " + asked.name + ";\n";
    }
    ImportedTypes imported{to_declaration(types_, structures) + typedefs, std::move(notes_)};
    const TypeFile file{names + " of " + program_, imported.declarations};
    if (const auto read = parse_types({&file, 1}); !read) return tl::unexpected<Troubles>(read.error());
    return imported;
  }

 private:
  void note_one_element(const StructDeclaration& declared) {
    if (declared.fields.back().dimensions != std::vector<std::uint32_t>{1}) return;
    notes_.push_back(declared.name + "." + declared.fields.back().name +
                     " has one element: if the program sends more behind the struct, write [] or the field that "
                     "counts them");
  }

  void refuse(const std::string& path, const std::string& what, const std::string& remedy) {
    if (troubles_.size() >= kTroublesMax) return;
    troubles_.push_back({program_ + ": " + path + " " + what, remedy});
  }

  std::uint32_t alignment(Dwarf_Die& die, const std::string& path) {
    const std::uint64_t aligned = number_of(die, DW_AT_alignment).value_or(1);
    if (std::has_single_bit(aligned) && aligned <= kAlignedMax) return static_cast<std::uint32_t>(aligned);
    refuse(path, "is aligned to " + std::to_string(aligned), "declare it by hand, aligned to at most 4096");
    return 1;
  }

  void member(Dwarf_Die& die, const std::string& owner, StructDeclaration& declared, SeenPlaces& seen) {
    Field field;
    field.name = name_of(die);
    const std::string path = owner + "." + (field.name.empty() ? "(without a name)" : field.name);
    if (dwarf_hasattr_integrate(&die, DW_AT_bit_size) || dwarf_hasattr_integrate(&die, DW_AT_data_bit_offset)) {
      return refuse(path, "is a bit-field, which every compiler places as it likes",
                    "use a whole integer and masks in the program");
    }
    auto type = type_of(die);
    if (!type) return refuse(path, "has no type that is known", "compile the program with -g");
    const auto offset = member_offset(die);
    if (!offset) return refuse(path, "lies at no fixed place", "declare it by hand");
    field.aligned = alignment(die, path);
    if (!use(*type, field, path)) return;
    if (field.name.empty()) return refuse(owner, "has a member without a name", "give it one");
    declared.fields.push_back(std::move(field));
    seen.offsets.push_back(*offset);
  }

  // Follows names to what they stand for. False: it was refused.
  bool use(Dwarf_Die type, Field& field, const std::string& path) {
    std::string alias;                   // the one next to a struct that has no name of its own
    Meaning meaning = Meaning::kNumber;  // of a name on the way
    std::string_view meaning_text;
    for (int links = 0; links < kTypeLinksMax; ++links) {
      const int tag = dwarf_tag(&type);
      if (tag == DW_TAG_typedef) {
        const std::string name = name_of(type);
        if (named(name, type, field, path)) return true;
        if (name == "intptr_t" || name == "uintptr_t") return pointer(path);
        const std::string_view declared = declared_for(name);
        if (const auto scalar = scalar_named({declared}); scalar && declared != name) {
          meaning = scalar->meaning;
          meaning_text = declared;
        }
        if (const std::string_view warning = warning_about(name); !warning.empty()) {
          notes_.push_back(path + " is a " + name + ", which " + std::string(warning) + ": compare with those");
        }
        alias = name;
      } else if (tag == DW_TAG_array_type) {
        array(type, field);
      } else if (tag != DW_TAG_const_type && tag != DW_TAG_volatile_type && tag != DW_TAG_atomic_type) {
        if (!last(type, alias, field, path)) return false;
        if (meaning != Meaning::kNumber) hold(meaning, meaning_text, field, path);
        return true;
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

  // A name that means the same everywhere, if what is behind it here is what the name means: a program may have a
  // `bool` of its own, which is an int.
  bool named(const std::string& name, Dwarf_Die& type, Field& field, const std::string& path) {
    const std::string declared(declared_for(name));
    const auto scalar = scalar_named({declared});
    if (!scalar || (declared == name && scalar->meaning != Meaning::kNumber)) return false;
    const auto behind = number_behind(type);
    const bool is_float = scalar->kind == ScalarKind::kFloat || scalar->kind == ScalarKind::kDouble;
    if (!behind || behind->is_float != is_float) return false;
    // The sign matters where the width is another one elsewhere. wchar_t has none that is the same on all machines.
    const bool is_time = scalar->kind == ScalarKind::kTime;
    if ((is_time || scalar->kind == ScalarKind::kSize) && behind->is_signed != scalar->is_signed) return false;
    const bool has_32_bits = abi_[CType::kLong].size_bytes == 4;
    if (is_time && (behind->bytes == 8 || (behind->bytes == 4 && has_32_bits))) time(behind->bytes, path);
    if (behind->bytes != Form::native(abi_)->shape(*scalar).size_bytes) return false;
    if (scalar->meaning != Meaning::kNumber) say_rewritten(declared, name, path);
    field.type = {declared, false, *scalar, 0};
    return true;
  }

  // A program's own pid_t that is no int: `pid short`.
  void hold(Meaning meaning, std::string_view text, Field& field, const std::string& path) {
    const ScalarKind kind = field.type.scalar.kind;
    if (field.type.is_struct || field.type.enumeration || kind == ScalarKind::kByte || kind == ScalarKind::kFloat ||
        kind == ScalarKind::kDouble) {
      return;
    }
    field.type.scalar.meaning = meaning;
    field.type.text = std::string(text) + " " + field.type.text;
    say_rewritten(field.type.text, std::string(text) + "_t", path);
  }

  // "pid short" is a short, uid an unsigned int.
  static std::string number_like(const std::string& declared) {
    const std::size_t blank = declared.find(' ');
    if (blank != std::string::npos) return declared.substr(blank + 1);
    return declared == "pid" ? "int" : "unsigned int";
  }

  void say_rewritten(const std::string& declared, const std::string& name, const std::string& path) {
    notes_.push_back(path + " is a " + name + ": declared as " + declared + ", it is rewritten between hosts; write " +
                     number_like(declared) + " to have it left as it is");
  }

  void time(std::uint64_t bytes, const std::string& path) {
    if (bytes == abi_[CType::kTime].size_bytes) return;
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
    refuse(path, "is a pointer, which can't be converted: it means nothing in another process",
           "send what it points to");
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
        const auto index = structure(type, name, name.empty() ? path : name);
        if (!index) return false;
        field.type.is_struct = true;
        field.type.structure = *index;
        // Not `name`: another typedef may have named it first.
        const std::string& known = types_.structs[*index].name;
        field.type.text = known.empty() ? "struct {...}" : "struct " + known;
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
    const std::uint64_t bytes = number_of(type, DW_AT_byte_size).value_or(0);
    if (bytes != 1 && bytes != 2 && bytes != 4 && bytes != 8) {
      refuse(path, "is an enum of unknown size", "use an integer");
      return false;
    }
    EnumDeclaration declared;
    declared.name = name_of(type);
    bool is_signed = false;
    bool can_say_all = true;
    for_each_child(type, [&](Dwarf_Die& child) {
      if (dwarf_tag(&child) != DW_TAG_enumerator) return;
      const auto value = enumerator_value(child);
      can_say_all = can_say_all && value;
      if (!value) return;
      is_signed = is_signed || *value < 0;
      declared.members.push_back({name_of(child), *value});
    });
    constexpr std::string_view kSigned[] = {"int8_t", "int16_t", "int", "int64_t"};
    constexpr std::string_view kUnsigned[] = {"uint8_t", "uint16_t", "int", "uint64_t"};  // C's own enums are int
    const std::size_t width = bytes == 1 ? 0 : bytes == 2 ? 1 : bytes == 4 ? 2 : 3;
    const std::string_view holder = is_signed ? kSigned[width] : kUnsigned[width];
    declared.type = {std::string(holder), false, *scalar_named({holder}), 0};
    declared.has_type = bytes != 4;
    field.type = declared.type;
    if (declared.name.empty() || declared.members.empty() || !can_say_all) return true;
    field.type.text = "enum " + declared.name;
    const auto known = std::find_if(types_.enums.begin(), types_.enums.end(),
                                    [&declared](const EnumDeclaration& one) { return one.name == declared.name; });
    field.type.enumeration = static_cast<std::size_t>(known - types_.enums.begin());
    if (known == types_.enums.end()) types_.enums.push_back(std::move(declared));
    return true;
  }

  // Attributes that make our places those that the compiler chose, struct by struct.
  void explain(const std::vector<Asked>& all) {
    const TypeSet plain = types_;
    Placement placement(*Form::native(abi_));
    for (std::size_t i = 0; i < types_.structs.size(); ++i) {
      StructDeclaration& structure = types_.structs[i];
      const auto outcome = placement.explain(structure, seen_[i]);
      if (!outcome.good) refuse_places(i, outcome);
      if (outcome.good && outcome.is_raised) {
        notes_.push_back(paths_[i] +
                         " has members that lie where aligned(n) puts them, which this debug information "
                         "does not say: compare the n here with the source");
      }
    }
    if (!troubles_.empty()) return;
    for (const Asked& asked : all) {
      const auto hidden = hidden_packing(types_, plain, asked.structure, abi_, seen_);
      if (!hidden) continue;
      const std::string where = paths_[asked.structure] + (hidden->path.empty() ? "" : "." + hidden->path);
      notes_.push_back(where +
                       " lies here as it would if packed or under #pragma pack(n), and elsewhere it would not: "
                       "if the source has one of them, import from a program of x86-64");
    }
  }

  void refuse_places(std::size_t index, const Placement::Outcome& outcome) {
    const std::vector<Field>& fields = types_.structs[index].fields;
    if (!outcome.doubtful) {
      return refuse(paths_[index], "has members where neither packed nor aligned(n) puts them",
                    "leave #pragma pack(n) out of the program, or use pack(1) or pack(2): an n above 2 is a maximum, "
                    "which no attribute says for all machines");
    }
    const bool is_whole = *outcome.doubtful == fields.size();
    const std::string n = std::to_string(outcome.aligned);
    refuse(paths_[index] + (is_whole ? "" : "." + fields[*outcome.doubtful].name),
           "is aligned to " + n + " and something in it is packed, by #pragma pack(" + n +
               ") or by attributes, which differ on other machines",
           "leave the pragma out of the program, or use pack(1) or pack(2); if it was packed and aligned(" + n +
               "), declare it so by hand");
  }

  std::string program_;
  Abi abi_;
  TypeSet types_;
  std::vector<SeenPlaces> seen_;
  std::vector<std::uint64_t> places_;                     // scalars of each struct, those of nested ones counted in
  std::vector<std::string> paths_;                        // of each struct, for what is said of it
  std::map<Dwarf_Off, std::optional<std::size_t>> done_;  // nothing: it is being read
  int nesting_ = 0;
  Troubles troubles_;
  std::vector<std::string> notes_;
};

}  // namespace

Parsed<ImportedTypes> import_types(const std::filesystem::path& program, const std::vector<std::string>& names) {
  const auto info = DebugInfo::open(program);
  if (!info) return tl::unexpected<Troubles>(Troubles{info.error()});
  Importer importer(program.filename().string(), abi_of(info->header()));
  std::vector<Importer::Asked> all;
  Troubles unknown;
  for (const std::string& written : names) {
    const std::string name = written.starts_with("struct ") ? written.substr(7) : written;
    auto found = info->find_struct(name);
    if (!found) {
      unknown.push_back(found.error());
      continue;
    }
    all.push_back({importer.structure(found->die, found->name, found->name).value_or(0), name});
  }
  if (!unknown.empty()) return tl::unexpected<Troubles>(std::move(unknown));
  return importer.finish(all);
}

}  // namespace dipc
