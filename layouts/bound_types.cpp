#include "layouts/bound_types.h"

#include <algorithm>

#include "layouts/parser.h"

namespace dipc {
namespace {

// They come from other hosts, and what is kept of them is far more than their text.
constexpr std::size_t kBoundBytesMax = 60'000;

}  // namespace

std::vector<std::size_t> structures_of(const Binding& binding) {
  std::vector<std::size_t> all;
  const auto add = [&all](std::size_t structure) {
    if (std::find(all.begin(), all.end(), structure) == all.end()) all.push_back(structure);
  };
  for (const Binding::MtypeCase& one : binding.cases) add(one.structure);
  if (binding.otherwise) add(*binding.otherwise);
  return all;
}

std::string bound_text(const TypeSet& types, const Binding& binding) {
  return to_declaration(types, structures_of(binding)) + to_declaration(types, binding, "all");
}

Result<TypeSet> parse_bound(const std::string& text, Kind kind) {
  if (text.size() > kBoundBytesMax) {
    return trouble("the declarations of one key have more than " + std::to_string(kBoundBytesMax) + " bytes",
                   "declare fewer structs for one key, or shorter ones");
  }
  const std::vector<TypeFile> files = {{"declarations", text}};
  auto types = parse_types(files);
  if (!types) return trouble(types.error().front().what, "declare fewer structs for one key, or shorter ones");
  if (types->bindings.size() != 1 || types->bindings.front().kind != kind) {
    return trouble(kind == Kind::kSegment ? "these are not the declarations of one segment"
                                          : "these are not the declarations of one queue");
  }
  return std::move(*types);
}

std::string bound_difference(const TypeSet& a, const std::string& ours, const TypeSet& b, const std::string& theirs) {
  const auto bound = [](const TypeSet& types) { return to_declaration(types, types.bindings.front(), "KEY"); };
  const auto structs = [](const TypeSet& types) {
    return to_declaration(types, structures_of(types.bindings.front()));
  };
  const std::string declared_here = structs(a);
  const std::string declared_there = structs(b);
  const std::vector<TypeFile> files = {{ours, declared_here}, {theirs, declared_there}};
  if (const auto both = parse_types(files); !both) return both.error().front().what;
  const auto line = [](std::string text) {
    while (text.ends_with('\n')) text.pop_back();
    return text;
  };
  return ours + ": " + line(bound(a)) + "  " + theirs + ": " + line(bound(b));
}

}  // namespace dipc
