// Hostile declarations: the parser never fails but with troubles that have a place, and what it takes can be placed,
// written back and converted on every machine, in messages and in pages of a segment.

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <vector>

#include "layouts/conversion.h"
#include "layouts/page_swaps.h"
#include "layouts/parser.h"
#include "wire/check.h"

namespace dipc {
namespace {

void use_in_segment(const TypeSet& types, std::size_t structure, const Shapes& shapes) {
  constexpr std::uint64_t kPage = 4096, kBytes = 3 * kPage + 101;
  const PageSwaps swaps(types, structure, shapes, kBytes, kPage);
  const auto straddler = swaps.straddler();
  DIPC_CHECK(!straddler || (*straddler<kBytes&& * straddler % kPage> kPage - 8));
  for (std::uint64_t page = 0; page <= 4; ++page) {
    std::vector<std::byte> contents(kPage);
    for (std::size_t i = 0; i < contents.size(); ++i) contents[i] = static_cast<std::byte>(i);
    const std::vector<std::byte> before = contents;
    swaps.run(page, contents);
    swaps.run(page, contents);
    DIPC_CHECK(contents == before);
  }
}

void use(const std::shared_ptr<const TypeSet>& types, std::size_t structure) {
  const std::string text = to_declaration(*types, structure);
  const TypeFile file{"again.types", text};
  const auto read = parse_types({&file, 1});
  DIPC_CHECK(read.has_value());
  DIPC_CHECK(to_declaration(*read, read->structs.size() - 1) == text);
  for (const std::string_view machine : {"x86-64", "m68k", "i386", "s390x"}) {
    const Form form = *Form::native(*known_abi(machine));
    const Shapes shapes(*types, form);
    DIPC_CHECK(shapes[structure].end <= shapes[structure].size);
    path_at(*types, structure, shapes, shapes[structure].size);
    use_in_segment(*types, structure, shapes);
    DIPC_CHECK(Conversion::compile(types, Kind::kSegment, structure, form, Form::canonical()).has_value());
    DIPC_CHECK(Conversion::compile(types, Kind::kMessageQueue, structure, Form::canonical(), form).has_value() ==
               types->mtype_of(structure).has_value());
  }
}

}  // namespace
}  // namespace dipc

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  const dipc::TypeFile file{"fuzz.types", {reinterpret_cast<const char*>(data), bytes}};
  auto types = dipc::parse_types({&file, 1});
  if (!types) {
    DIPC_CHECK(!types.error().empty() && types.error().size() <= 21);  // 20 and that there may be more
    for (const dipc::Trouble& one : types.error())
      DIPC_CHECK(one.what.starts_with("fuzz.types:") && !one.remedy.empty());
    return 0;
  }
  const auto shared = std::make_shared<const dipc::TypeSet>(std::move(*types));
  // The last struct has the others in it, mostly; all of many would only take time.
  if (!shared->structs.empty() && !shared->structs.back().name.empty()) dipc::use(shared, shared->structs.size() - 1);
  return 0;
}
