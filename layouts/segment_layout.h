#pragma once

// What a segment is: the struct that its owner's declarations bind to it, apart from all else that is declared there.
// Hosts tell each other by text(). A segment is shared as it lies in memory, so nothing in it moves or changes its
// size: machines whose compilers place the struct otherwise can't have it; those that only write numbers the other way
// round can (page_swaps.h).

#include <memory>
#include <optional>
#include <string>

#include "arch/abi.h"
#include "layouts/bound_layouts.h"
#include "layouts/declarations.h"
#include "wire/result.h"

namespace dipc {

class SegmentLayout {
 public:
  static constexpr Kind kKind = Kind::kSegment;
  // Of one binding of `types`, which is for segments. Trouble: its declarations are longer than a host may send.
  static Result<std::shared_ptr<const SegmentLayout>> of(const TypeSet& types, const Binding& binding);
  // text() of another host. Trouble: it is no such thing.
  static Result<std::shared_ptr<const SegmentLayout>> parse(std::string text);

  const std::string& text() const { return text_; }
  const TypeSet& types() const { return types_; }
  std::size_t structure() const { return *types_.bindings.front().otherwise; }  // index into types().structs

  // Why programs of two machines can't share it, with the first field that differs: "table.when is at byte 4 on sun,
  // at byte 8 on vax". Nothing: they can.
  std::optional<std::string> difference_between(const Abi& a, const std::string& a_name, const Abi& b,
                                                const std::string& b_name) const;

  // The first thing that another host declares otherwise, as people say it. Empty: both say the same.
  static std::string difference(const SegmentLayout& a, const std::string& ours, const SegmentLayout& b,
                                const std::string& theirs);

 private:
  SegmentLayout(TypeSet types, std::string text) : types_(std::move(types)), text_(std::move(text)) {}

  TypeSet types_;  // with one binding, of shm all
  std::string text_;
};

// Of all segments that one set of declarations speaks of.
using SegmentLayouts = BoundLayouts<SegmentLayout>;

}  // namespace dipc
