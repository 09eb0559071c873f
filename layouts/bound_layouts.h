#pragma once

// What one set of declarations says of all keys of one kind. `Layout` is QueueLayout or SegmentLayout: it has kKind,
// and of(types, binding).

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "layouts/declarations.h"
#include "wire/result.h"

namespace dipc {

template <typename Layout>
class BoundLayouts {
 public:
  BoundLayouts() = default;
  // Trouble: see Layout::of(), with the place of the binding.
  static Result<BoundLayouts> of(TypeSet types) {
    BoundLayouts all;
    all.types_ = std::make_shared<const TypeSet>(std::move(types));
    for (const Binding& binding : all.types_->bindings) {
      if (binding.kind != Layout::kKind) continue;
      auto layout = Layout::of(*all.types_, binding);
      if (!layout) {
        const std::string place = binding.keys.front().place;
        return trouble(place + ": " + layout.error().what, layout.error().remedy);
      }
      all.layouts_.emplace(&binding, std::move(*layout));
    }
    return all;
  }

  // Null: nothing is declared for this key. 0 is IPC_PRIVATE.
  std::shared_ptr<const Layout> find(std::int32_t key) const {
    const Binding* binding = types_->binding_for(Layout::kKind, key);
    return binding == nullptr ? nullptr : layouts_.at(binding);
  }
  const TypeSet& types() const { return *types_; }

 private:
  std::shared_ptr<const TypeSet> types_ = std::make_shared<const TypeSet>();
  std::map<const Binding*, std::shared_ptr<const Layout>> layouts_;  // bindings of types_
};

}  // namespace dipc
