#include "daemon/ctl/types_commands.h"

#include <algorithm>
#include <set>
#include <utility>

#include "daemon/core/object_name.h"
#include "daemon/core/text_lines.h"
#include "daemon/ctl/tables.h"
#include "layouts/page_swaps.h"
#include "layouts/shape.h"
#include "wire/nearest.h"

namespace dipc {
namespace {

constexpr std::string_view kMachines = "write x86-64, i386, m68k, s390x or arm64; i386/time64 for a time_t of 64 bits";

tl::unexpected<Troubles> one_trouble(Trouble trouble) { return tl::unexpected<Troubles>(Troubles{std::move(trouble)}); }

std::string binding_text(const TypeSet& types, const Binding& binding) {
  std::string text = std::string(kind_name(binding.kind)) + " ";
  text += keys_text(binding) + ":";
  for (const Binding::MtypeCase& one : binding.cases) {
    text += " " + std::to_string(one.first);
    if (one.last != one.first) text += "-" + std::to_string(one.last);
    text += " is struct " + types.structs[one.structure].name + ",";
  }
  if (binding.otherwise) {
    text += (binding.cases.empty() ? " " : " any other is ") + ("struct " + types.structs[*binding.otherwise].name);
  } else {
    text.pop_back();
  }
  return text;
}

std::string counted(std::uint64_t number, const std::string& what) {
  return std::to_string(number) + " " + what + (number == 1 ? "" : "s");
}

// A struct on one machine.
struct Placed {
  Form form;
  StructShape whole;
  std::vector<PlacedField> rows;
};

void add_cells(std::vector<std::string>& cells, const PlacedField& row) {
  cells.push_back(std::to_string(row.offset));
  cells.push_back(std::to_string(row.bytes));
  cells.push_back(row.padding == 0 ? "" : std::to_string(row.padding));
}

// What is a message depends on what is bound: a segment's struct may begin with a long too.
struct AsMessage {
  bool is_one = false;
  bool is_bound = false;
  Scalar mtype;
};
AsMessage as_message(const TypeSet& types, std::size_t structure) {
  AsMessage found;
  bool is_segment = false;
  for (const Binding& binding : types.bindings) {
    if (!binding.has(structure)) continue;
    (binding.kind == Kind::kSegment ? is_segment : found.is_bound) = true;
  }
  const auto mtype = types.mtype_of(structure);
  found.is_one = mtype && (found.is_bound || !is_segment);
  if (mtype) found.mtype = *mtype;
  return found;
}

std::string sizes_text(const std::string& machine, const StructDeclaration& declared, const Placed& placed,
                       const AsMessage& message) {
  std::string text =
      machine + ": " + counted(placed.whole.size, "byte") + ", aligned to " + std::to_string(placed.whole.align);
  const std::string elements = declared.is_open() ? " and the elements of " + declared.fields.back().name : "";
  if (!message.is_one) return text + elements + "\n";
  const std::uint64_t mtype = placed.form.shape(message.mtype).size_bytes;
  text += (message.is_bound ? "; a message is " : "; as a message ") + counted(placed.whole.end - mtype, "byte");
  if (declared.is_open()) return text + elements + "\n";
  if (placed.whole.end != placed.whole.size)
    text += ", or " + std::to_string(placed.whole.size - mtype) + " with padding";
  return text + "\n";
}

// The first pid of a struct; `seen`: structs that have none.
std::string pid_in(const TypeSet& types, std::size_t structure, std::set<std::size_t>& seen) {
  if (!seen.insert(structure).second) return {};
  for (const Field& field : types.structs[structure].fields) {
    if (!field.type.is_struct && field.type.scalar.meaning == Meaning::kPid) return field.name;
    const std::string inner = field.type.is_struct ? pid_in(types, field.type.structure, seen) : "";
    if (!inner.empty()) return field.name + "." + inner;
  }
  return {};
}

// Clients give their pid and wait for the message of that type: rewritten in the field alone, nobody would get the
// reply.
std::string replies_text(const TypeSet& types) {
  std::set<std::size_t> messages, seen;
  for (const Binding& binding : types.bindings) {
    if (binding.kind != Kind::kMessageQueue) continue;
    for (const Binding::MtypeCase& one : binding.cases) messages.insert(one.structure);
    if (binding.otherwise) messages.insert(*binding.otherwise);
  }
  std::string found;
  for (const std::size_t message : messages) {
    if (types.mtype_of(message)->meaning == Meaning::kPid) return {};
    const std::string path = found.empty() ? pid_in(types, message, seen) : "";
    if (!path.empty()) found = types.structs[message].name + "." + path;
  }
  if (found.empty()) return {};
  return "note: " + found +
         " is a pid, and no message's type is one; if replies to it go by mtype, begin their struct with pid long "
         "mtype\n";
}

// A number in two pages can't be turned round between hosts. Of pages as most machines have them, and of segments that
// an open array fills.
std::string straddler_text(const TypeSet& types, std::size_t segment, const Shapes& shapes) {
  constexpr std::uint64_t kPageBytes = 4096;
  const StructDeclaration& declared = types.structs[segment];
  const std::uint64_t bytes = declared.is_open() ? kStructBytesMax : shapes[segment].size;
  const auto at = PageSwaps(types, segment, shapes, bytes, kPageBytes).straddler();
  if (!at) return {};
  return "note: " + declared.name + "." + path_at(types, segment, shapes, *at) + " lies across two pages of " +
         std::to_string(kPageBytes) + " bytes; hosts that write numbers the other way round can't share it\n";
}

// Hosts whose compilers place a segment's fields elsewhere can't share it.
std::string segments_text(const TypeSet& types) {
  constexpr std::string_view kFirst = kKnownMachines[0];
  std::set<std::size_t> segments;
  for (const Binding& binding : types.bindings) {
    if (binding.kind == Kind::kSegment && binding.otherwise) segments.insert(*binding.otherwise);
  }
  std::string text;
  if (segments.empty()) return text;
  const Shapes here(types, *Form::native(*known_abi(kFirst)));
  for (const std::string_view other : kKnownMachines) {
    const Shapes there(types, *Form::native(*known_abi(other)));
    std::set<std::size_t> alike;
    for (const std::size_t segment : segments) {
      const auto found = first_difference(types, segment, here, there);
      if (!found) {
        alike.insert(segment);
        continue;
      }
      const std::string what = found->path.empty() ? "its size" : found->path;
      text += "note: struct " + types.structs[segment].name + " is another segment on " + std::string(other) +
              " than on " + std::string(kFirst) + ", first by " + what + "; hosts of both can't share it\n";
    }
    segments = std::move(alike);
  }
  for (const std::size_t segment : segments) text += straddler_text(types, segment, here);
  return text;
}

std::string table(const StructDeclaration& declared, const std::vector<std::string>& machines,
                  const std::vector<Placed>& placed, const AsMessage& message) {
  std::vector<std::vector<std::string>> cells;
  std::vector<std::string> head = {"FIELD", "TYPE"};
  for (const std::string& machine : machines) {
    head.push_back((machines.size() > 1 ? machine + " " : "") + "OFFSET");
    head.insert(head.end(), {"SIZE", "PADDING"});
  }
  cells.push_back(head);
  for (std::size_t i = 0; i < placed.front().rows.size(); ++i) {
    const PlacedField& row = placed.front().rows[i];
    std::vector<std::string> line = {std::string(2 * row.depth, ' ') + row.path, row.type};
    for (const Placed& one : placed) add_cells(line, one.rows[i]);
    const PlacedField& other = placed.back().rows[i];
    const bool differs = row.offset != other.offset || row.bytes != other.bytes || row.padding != other.padding;
    if (machines.size() > 1) line.push_back(differs ? "*" : "");
    cells.push_back(std::move(line));
  }
  std::string text = "struct " + declared.name + "\n" + format_table(cells, {2, 3, 4, 5, 6, 7});
  for (std::size_t i = 0; i < machines.size(); ++i) text += sizes_text(machines[i], declared, placed[i], message);
  return text;
}

// What its place means for who sends it or shares it. `message`: it can be sent.
std::string verdict(const TypeSet& types, std::size_t structure, const std::vector<std::string>& machines,
                    const std::optional<Difference>& difference, const AsMessage& message) {
  if (!difference) {
    const auto id = types.ids_in(structure, 1);
    return "Every field has the same place and size on both: " +
           (!id.empty() ? "but for " + id.front().path + ", which is rewritten in messages and not in segments, "
                        : std::string()) +
           "segments " + (!id.empty() ? "could" : "can") + " be shared.\n";
  }
  const auto text = [](std::uint64_t offset, std::uint64_t bytes) {
    return counted(bytes, "byte") + " at " + std::to_string(offset);
  };
  const std::string outcome =
      message.is_one ? "messages are converted, segments refused.\n" : "segments are refused.\n";
  if (difference->path.empty()) {
    return "The size differs (" + std::to_string(difference->bytes_a) + " on " + machines[0] + ", " +
           std::to_string(difference->bytes_b) + " on " + machines[1] + "): " + outcome;
  }
  return "The first field that differs is " + difference->path + " (" +
         text(difference->offset_a, difference->bytes_a) + " on " + machines[0] + ", " +
         text(difference->offset_b, difference->bytes_b) + " on " + machines[1] + "): " + outcome;
}

std::string mtype_text(const TypeSet& types, std::size_t structure, const AsMessage& message) {
  if (!message.is_one) {
    const auto mtype = types.mtype_of(structure);
    return mtype ? "" : "It is no message of its own: that begins with long mtype.\n";
  }
  if (message.mtype.meaning == Meaning::kPid) return "Its mtype is a process id, which is rewritten between hosts.\n";
  return "Its mtype passes as a number. If programs put a process id there, declare it as pid long.\n";
}

std::string struct_text(const TypeSet& types, std::size_t structure, const std::vector<std::string>& machines,
                        const std::vector<Shapes>& shapes) {
  std::vector<Placed> placed;
  placed.reserve(shapes.size());
  for (const Shapes& on_one : shapes) {
    placed.push_back({on_one.form(), on_one[structure], placed_fields(types, structure, on_one)});
  }
  const AsMessage message = as_message(types, structure);
  std::string text = table(types.structs[structure], machines, placed, message);
  if (machines.size() > 1) {
    const auto difference = first_difference(types, structure, shapes[0], shapes[1]);
    text += verdict(types, structure, machines, difference, message);
  }
  return text + mtype_text(types, structure, message);
}

Trouble no_such_struct(const TypeSet& types, const std::string& name) {
  std::vector<std::string_view> names;
  names.reserve(types.structs.size());
  for (const StructDeclaration& one : types.structs) names.push_back(one.name);
  const std::string meant = nearest(name, names);
  return {"no struct " + in_quotes(name) + " is declared",
          meant.empty() ? "name the files that declare it with --types" : "did you mean " + meant + "?"};
}

}  // namespace

Parsed<std::string> check_types(const std::vector<std::filesystem::path>& paths) {
  const auto types = read_types(paths);
  if (!types) return tl::unexpected<Troubles>(types.error());
  std::string text;
  for (const Binding& binding : types->bindings) text += binding_text(*types, binding) + "\n";
  text += replies_text(*types) + segments_text(*types);
  const auto named = std::count_if(types->structs.begin(), types->structs.end(),
                                   [](const StructDeclaration& one) { return one.tagged; });
  return text + counted(static_cast<std::uint64_t>(named), "struct") + ", " +
         counted(types->bindings.size(), "binding") + "\n";
}

Result<Abi> abi_named(const std::string& name) {
  const std::size_t slash = name.find('/');
  const auto abi = known_abi(name.substr(0, slash));
  if (!abi) return trouble("no machine is known as " + in_quotes(name), std::string(kMachines));
  if (slash == std::string::npos) return *abi;
  const std::string bits = name.substr(slash + 1);
  if (bits == "time64") return with_time_bits(*abi, 64);
  if (bits == "time32" && (*abi)[CType::kLong].size_bytes == 4) return with_time_bits(*abi, 32);
  return trouble("no machine is known as " + in_quotes(name), std::string(kMachines));
}

Parsed<std::string> show_types(const std::vector<std::filesystem::path>& paths, const std::vector<std::string>& names,
                               const std::vector<std::string>& machines) {
  if (machines.empty() || machines.size() > 2) {
    return one_trouble({std::to_string(machines.size()) + " machines can't be shown side by side",
                        "name one machine, or two to see where they differ"});
  }
  const auto types = read_types(paths);
  if (!types) return tl::unexpected<Troubles>(types.error());
  std::vector<Shapes> shapes;
  for (const std::string& machine : machines) {
    const auto abi = abi_named(machine);
    if (!abi) return one_trouble(abi.error());
    shapes.emplace_back(*types, *Form::native(*abi));
  }
  std::string text;
  Troubles unknown;
  for (const std::string& name : names) {
    if (const auto structure = types->find(name)) {
      text += (text.empty() ? "" : "\n") + struct_text(*types, *structure, machines, shapes);
    } else {
      unknown.push_back(no_such_struct(*types, name));
    }
  }
  if (!unknown.empty()) return tl::unexpected<Troubles>(std::move(unknown));
  return text;
}

}  // namespace dipc
