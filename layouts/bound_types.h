#pragma once

// One binding apart from all else that is declared, with its structs, as text: what hosts tell each other of a queue's
// messages or of a segment. Whoever reads the same text has the same structs in the same order.

#include <string>

#include "layouts/declarations.h"
#include "wire/result.h"

namespace dipc {

// The structs of one binding of `types` in the order in which it names them, each once.
std::vector<std::size_t> structures_of(const Binding& binding);
// These structs, what they need, and the binding for all keys.
std::string bound_text(const TypeSet& types, const Binding& binding);
// What such a text says: types with one binding. Trouble: it is none, of another kind, or of more than 60,000 bytes.
Result<TypeSet> parse_bound(const std::string& text, Kind kind);
// The first thing that another host declares otherwise, as people say it: "struct note is declared twice, ...". Of two
// whose bound_text() differs. `ours`, `theirs`: what the two are called.
std::string bound_difference(const TypeSet& a, const std::string& ours, const TypeSet& b, const std::string& theirs);

}  // namespace dipc
