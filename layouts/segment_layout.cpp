#include "layouts/segment_layout.h"

#include "layouts/bound_types.h"
#include "layouts/shape.h"
#include "wire/check.h"

namespace dipc {
namespace {

std::string places(const Difference& difference, const std::string& a_name, const std::string& b_name) {
  const auto bytes = [](std::uint64_t count) { return std::to_string(count) + " bytes"; };
  if (difference.offset_a != difference.offset_b) {
    return "is at byte " + std::to_string(difference.offset_a) + " on " + a_name + ", at byte " +
           std::to_string(difference.offset_b) + " on " + b_name;
  }
  return "has " + bytes(difference.bytes_a) + " on " + a_name + ", " + bytes(difference.bytes_b) + " on " + b_name;
}

}  // namespace

Result<std::shared_ptr<const SegmentLayout>> SegmentLayout::of(const TypeSet& types, const Binding& binding) {
  DIPC_CHECK(binding.kind == kKind);
  return parse(bound_text(types, binding));
}

Result<std::shared_ptr<const SegmentLayout>> SegmentLayout::parse(std::string text) {
  auto types = parse_bound(text, kKind);
  if (!types) return tl::unexpected(types.error());
  return std::shared_ptr<const SegmentLayout>(new SegmentLayout(std::move(*types), std::move(text)));
}

std::optional<std::string> SegmentLayout::difference_between(const Abi& a, const std::string& a_name, const Abi& b,
                                                             const std::string& b_name) const {
  const Result<Form> on_a = Form::native(a);
  const Result<Form> on_b = Form::native(b);
  if (!on_a) return a_name + ": " + on_a.error().what;
  if (!on_b) return b_name + ": " + on_b.error().what;
  const auto found = first_difference(types_, structure(), Shapes(types_, *on_a), Shapes(types_, *on_b));
  if (!found) return std::nullopt;
  const std::string& name = types_.structs[structure()].name;
  const std::string subject = found->path.empty() ? "struct " + name : name + "." + found->path;
  return subject + " " + places(*found, a_name, b_name);
}

std::string SegmentLayout::difference(const SegmentLayout& a, const std::string& ours, const SegmentLayout& b,
                                      const std::string& theirs) {
  if (a.text_ == b.text_) return {};
  return bound_difference(a.types_, ours, b.types_, theirs);
}

}  // namespace dipc
