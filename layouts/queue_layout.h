#pragma once

// What the messages of one queue are: the structs that its owner's declarations bind to it, apart from all else that is
// declared there. Hosts tell each other by text() and name it by fingerprint(); whoever reads the same text has the
// same structs in the same order.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "arch/abi.h"
#include "layouts/bound_layouts.h"
#include "layouts/conversion.h"
#include "layouts/declarations.h"
#include "wire/result.h"

namespace dipc {

class QueueLayout {
 public:
  static constexpr Kind kKind = Kind::kMessageQueue;
  // Of one binding of `types`, which is for queues. Trouble: its declarations are longer than a host may send.
  static Result<std::shared_ptr<const QueueLayout>> of(const TypeSet& types, const Binding& binding);
  // text() of another host. Trouble: it is no such thing.
  static Result<std::shared_ptr<const QueueLayout>> parse(std::string text);

  const std::string& text() const { return text_; }
  std::uint64_t fingerprint() const { return fingerprint_; }  // never 0

  // Indices into types().structs.
  std::optional<std::size_t> structure_for(std::int64_t mtype) const { return binding().structure_for(mtype); }
  bool has(std::size_t structure) const { return structure < types_->structs.size() && binding().has(structure); }
  bool mtype_is_pid(std::size_t structure) const;  // has(structure)
  bool any_mtype_is_pid() const;
  const Binding& binding() const { return types_->bindings.front(); }
  const TypeSet& types() const { return *types_; }

  // Compiled at the first use and kept. Null: there is no such conversion, since no compiler has such an ABI, or a
  // struct is too large in it.
  std::shared_ptr<const Conversion> to_canonical(std::size_t structure, const Abi& from) const;
  std::shared_ptr<const Conversion> from_canonical(std::size_t structure, const Abi& to) const;
  std::shared_ptr<const Conversion> between(std::size_t structure, const Abi& from, const Abi& to) const;

  // The first thing that another host declares otherwise, as people say it: "struct note is declared twice, ...".
  // Empty: both say the same. `ours`, `theirs`: what the two are called.
  static std::string difference(const QueueLayout& a, const std::string& ours, const QueueLayout& b,
                                const std::string& theirs);

 private:
  QueueLayout(std::shared_ptr<const TypeSet> types, std::string text);
  std::shared_ptr<const Conversion> conversion(std::size_t structure, const Abi* from, const Abi* to) const;

  std::shared_ptr<const TypeSet> types_;  // with one binding, of msg all
  std::string text_;
  std::uint64_t fingerprint_;
  std::vector<bool> pid_mtypes_;  // by structure
  mutable std::map<std::vector<std::uint8_t>, std::shared_ptr<const Conversion>> conversions_;
};

// Of all queues that one set of declarations speaks of.
using QueueLayouts = BoundLayouts<QueueLayout>;

}  // namespace dipc
