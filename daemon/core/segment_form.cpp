#include "daemon/core/segment_form.h"

#include <utility>

namespace dipc {
namespace {

PageSwaps swaps_of(const SegmentLayout& layout, const Shapes& shapes, const AttachReply& segment) {
  return PageSwaps(layout.types(), layout.structure(), shapes, segment.segment_bytes, segment.unit_bytes);
}

// Of a layout that the machines place alike.
std::optional<Trouble> straddler(const SegmentLayout& layout, const AttachReply& segment, const std::string& owner,
                                 const Form& form) {
  const Shapes shapes(layout.types(), form);
  const auto at = swaps_of(layout, shapes, segment).straddler();
  if (!at) return std::nullopt;
  const std::string& name = layout.types().structs[layout.structure()].name;
  return Trouble{
      name + "." + path_at(layout.types(), layout.structure(), shapes, *at) + " lies across two pages (of " +
          std::to_string(segment.unit_bytes) + " bytes), and " + owner +
          " writes numbers the other way round than this host",
      "give it a place at a multiple of its size, or the whole segment one page: unit = \"segment\" in [[keys]] "
      "on " +
          owner + ", for one that is made from then on"};
}

}  // namespace

std::optional<Trouble> objection(const AttachReply& segment, const std::string& owner, const Abi& here,
                                 const Abi& program, const SegmentLayout* own) {
  const std::string anew = " and make the segment again: a change there counts for those that are made from then on";
  if (segment.declarations.empty()) {
    if (own == nullptr) return std::nullopt;
    return Trouble{"this host declares it, and " + owner + " did not when it was made",
                   "take it out of types.d here, or declare it on " + owner + anew};
  }
  const auto layout = SegmentLayout::parse(segment.declarations);
  if (!layout) {
    return Trouble{owner + " declares what this host can't read: " + layout.error().what,
                   "have the same version of dipcd on both hosts"};
  }
  const std::string otherwise = own == nullptr ? "" : SegmentLayout::difference(*own, "this host", **layout, owner);
  if (!otherwise.empty()) {
    return Trouble{
        "it is declared otherwise here: " + otherwise,
        "declare it in types.d here as " + owner + " does, or not at all, or change that of " + owner + anew};
  }
  if (const auto differs = (*layout)->difference_between(program, "this program's machine", segment.abi, owner)) {
    return Trouble{*differs,
                   "use types that both have alike, such as int32_t and int64_t aligned(8): dipcctl types show"};
  }
  if (program.byte_order != here.byte_order) {
    return Trouble{"this program writes numbers the other way round than its host, whose memory it would share",
                   "run it on a host of its own machine"};
  }
  if (here.byte_order == segment.abi.byte_order) return std::nullopt;
  return straddler(**layout, segment, owner, *Form::native(segment.abi));
}

std::shared_ptr<const PageSwaps> swaps_for(const AttachReply& segment, const Abi& here) {
  if (segment.declarations.empty() || segment.abi.byte_order == here.byte_order) return nullptr;
  const auto layout = SegmentLayout::parse(segment.declarations);
  const auto form = Form::native(segment.abi);
  if (!layout || !form) return nullptr;  // no program of this host has it
  auto swaps = std::make_shared<const PageSwaps>(swaps_of(**layout, Shapes((*layout)->types(), *form), segment));
  if (swaps->empty()) return nullptr;
  return swaps;
}

PageContents turned(const PageSwaps* swaps, PageIndex page, PageContents contents) {
  if (swaps == nullptr || contents == nullptr) return contents;
  auto copy = std::make_shared<Bytes>(contents.copy());
  swaps->run(static_cast<std::uint32_t>(page), *copy);
  return PageContents(std::move(copy));
}

}  // namespace dipc
