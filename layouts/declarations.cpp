#include "layouts/declarations.h"

#include <algorithm>
#include <array>
#include <iterator>

namespace dipc {
namespace {

struct NamedScalar {
  std::string_view name;
  Scalar scalar;
};
constexpr std::array<NamedScalar, 19> kNamedScalars = {{
    {"bool", {ScalarKind::kByte, false}},
    {"_Bool", {ScalarKind::kByte, false}},
    {"int8_t", {ScalarKind::kByte, true}},
    {"uint8_t", {ScalarKind::kByte, false}},
    {"int16_t", {ScalarKind::kShort, true}},
    {"uint16_t", {ScalarKind::kShort, false}},
    {"int32_t", {ScalarKind::kInt, true}},
    {"uint32_t", {ScalarKind::kInt, false}},
    {"int64_t", {ScalarKind::kInt64, true}},
    {"uint64_t", {ScalarKind::kInt64, false}},
    {"size_t", {ScalarKind::kSize, false}},
    {"ssize_t", {ScalarKind::kSize, true}},
    {"ptrdiff_t", {ScalarKind::kSize, true}},
    {"time_t", {ScalarKind::kTime, true}},
    {"float", {ScalarKind::kFloat, true}},
    {"double", {ScalarKind::kDouble, true}},
    {"pid", {ScalarKind::kInt, true, Meaning::kPid}},
    {"uid", {ScalarKind::kInt, false, Meaning::kUid}},
    {"gid", {ScalarKind::kInt, false, Meaning::kGid}},
}};

// C's integers: any order of these words, `int` and `signed` mostly left out.
std::optional<Scalar> c_integer(const std::vector<std::string_view>& words) {
  const auto count = [&words](std::string_view word) { return std::count(words.begin(), words.end(), word); };
  const auto longs = count("long");
  const auto shorts = count("short");
  const auto chars = count("char");
  const auto ints = count("int");
  const auto signs = count("signed") + count("unsigned");
  const auto known = longs + shorts + chars + ints + signs;
  if (words.empty() || known != static_cast<std::ptrdiff_t>(words.size())) return std::nullopt;
  if (longs > 2 || shorts > 1 || chars > 1 || ints > 1 || signs > 1) return std::nullopt;
  if ((longs > 0) + (shorts > 0) + (chars > 0) > 1 || (chars > 0 && ints > 0)) return std::nullopt;
  const bool is_signed = count("unsigned") == 0;
  if (chars > 0) return Scalar{ScalarKind::kByte, is_signed};
  if (shorts > 0) return Scalar{ScalarKind::kShort, is_signed};
  if (longs == 1) return Scalar{ScalarKind::kLong, is_signed};
  if (longs == 2) return Scalar{ScalarKind::kLongLong, is_signed};
  return Scalar{ScalarKind::kInt, is_signed};
}

}  // namespace

std::optional<Scalar> scalar_named(const std::vector<std::string_view>& words) {
  if (words.size() == 1) {
    for (const NamedScalar& one : kNamedScalars) {
      if (one.name == words.front()) return one.scalar;
    }
  }
  return c_integer(words);
}

std::vector<std::string_view> scalar_words() {
  std::vector<std::string_view> words = {"char", "short", "int", "long", "signed", "unsigned"};
  for (const NamedScalar& one : kNamedScalars) words.push_back(one.name);
  return words;
}

std::uint64_t Field::elements() const {
  std::uint64_t product = 1;
  for (const std::uint32_t dimension : dimensions) product *= dimension;
  return product;
}

std::optional<std::size_t> Binding::structure_for(std::int64_t mtype) const {
  const auto after = std::upper_bound(cases.begin(), cases.end(), mtype,
                                      [](std::int64_t type, const MtypeCase& one) { return type < one.first; });
  if (after != cases.begin() && mtype <= std::prev(after)->last) return std::prev(after)->structure;
  return otherwise;
}

bool Binding::has(std::size_t structure) const {
  return otherwise == structure || std::any_of(cases.begin(), cases.end(), [structure](const MtypeCase& one) {
           return one.structure == structure;
         });
}

std::optional<std::size_t> TypeSet::find(std::string_view name) const {
  constexpr std::string_view kTag = "struct ";
  if (name.starts_with(kTag)) name.remove_prefix(kTag.size());
  for (std::size_t i = 0; i < structs.size(); ++i) {
    if (structs[i].name == name) return i;
  }
  const auto known = typedefs.find(name);
  return known == typedefs.end() ? std::nullopt : std::optional(known->second);
}

Result<Scalar> TypeSet::mtype_of(std::size_t structure) const {
  const StructDeclaration& declared = structs[structure];
  const Field* first = &declared.fields.front();
  const auto is_one = [](const Field& field) {
    return field.dimensions.empty() && field.extent == Field::Extent::kFixed;
  };
  while (first->type.is_struct && is_one(*first)) first = &structs[first->type.structure].fields.front();
  const Scalar scalar = first->type.scalar;
  const bool is_type = scalar.meaning == Meaning::kNumber || scalar.meaning == Meaning::kPid;
  if (first->type.is_struct || !is_one(*first) || scalar.kind != ScalarKind::kLong || !scalar.is_signed || !is_type) {
    return trouble("struct " + declared.name + " is no message: it does not begin with a long",
                   "declare all of what msgsnd is given: struct " + declared.name + " { long mtype; ... };");
  }
  const std::vector<std::size_t>& counter = declared.fields.back().counter;
  if (!counter.empty() && std::all_of(counter.begin(), counter.end(), [](std::size_t index) { return index == 0; })) {
    return trouble("struct " + declared.name + " is no message: " + declared.fields.back().counter_text +
                       " is its mtype, which is no part of the payload and can't count " + declared.fields.back().name,
                   "declare the array open, [], or count it by another field");
  }
  return scalar;
}

std::vector<TypeSet::IdField> TypeSet::ids_in(std::size_t structure, std::size_t ids_max) const {
  std::vector<IdField> found;
  for (const Field& field : structs[structure].fields) {
    if (found.size() >= ids_max) break;
    if (!field.type.is_struct && field.type.scalar.meaning != Meaning::kNumber) found.push_back({field.name, &field});
    if (!field.type.is_struct) continue;
    for (const IdField& inner : ids_in(field.type.structure, ids_max - found.size()))
      found.push_back({field.name + "." + inner.path, inner.field});
  }
  return found;
}

const Binding* TypeSet::binding_for(Kind kind, std::int32_t key) const {
  using Which = Binding::Keys::Which;
  const auto wanted = static_cast<std::uint32_t>(key);
  const Binding* general = nullptr;
  for (const Binding& one : bindings) {
    if (one.kind != kind) continue;
    for (const Binding::Keys& keys : one.keys) {
      if (wanted == 0) {
        if (keys.which == Which::kPrivate) return &one;
      } else if (keys.which == Which::kRange && keys.first <= wanted && wanted <= keys.last) {
        return &one;
      } else if (keys.which == Which::kAll) {
        general = &one;
      }
    }
  }
  return general;
}

}  // namespace dipc
