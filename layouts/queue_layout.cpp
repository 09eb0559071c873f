#include "layouts/queue_layout.h"

#include <algorithm>

#include "layouts/bound_types.h"
#include "wire/check.h"

namespace dipc {
namespace {

constexpr std::size_t kStructuresMax = 65'534;  // a number of 16 bits names them, from 1
constexpr std::size_t kConversionsMax = 128;    // programs say themselves of which ABI they are

std::uint64_t fingerprint_of(const std::string& text) {
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const char c : text) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3;
  }
  return hash == 0 ? 1 : hash;
}

void append(std::vector<std::uint8_t>& key, const Abi* abi) {
  key.push_back(abi != nullptr);
  if (abi == nullptr) return;
  key.push_back(static_cast<std::uint8_t>(abi->byte_order));
  for (const TypeShape& type : abi->types) {
    key.push_back(type.size_bytes);
    key.push_back(type.align_bytes);
  }
}

}  // namespace

QueueLayout::QueueLayout(std::shared_ptr<const TypeSet> types, std::string text)
    : types_(std::move(types)), text_(std::move(text)), fingerprint_(fingerprint_of(text_)) {
  for (std::size_t i = 0; i < types_->structs.size(); ++i) {
    const auto mtype = binding().has(i) ? types_->mtype_of(i) : Result<Scalar>(Scalar{});
    pid_mtypes_.push_back(mtype && mtype->meaning == Meaning::kPid);
  }
}

Result<std::shared_ptr<const QueueLayout>> QueueLayout::of(const TypeSet& types, const Binding& binding) {
  DIPC_CHECK(binding.kind == kKind);
  return parse(bound_text(types, binding));
}

Result<std::shared_ptr<const QueueLayout>> QueueLayout::parse(std::string text) {
  auto types = parse_bound(text, kKind);
  if (!types) return tl::unexpected(types.error());
  if (types->structs.size() > kStructuresMax) {
    return trouble("more structs than one queue can have", "bind fewer structs to one queue");
  }
  return std::shared_ptr<const QueueLayout>(
      new QueueLayout(std::make_shared<const TypeSet>(std::move(*types)), std::move(text)));
}

bool QueueLayout::mtype_is_pid(std::size_t structure) const { return pid_mtypes_.at(structure); }

bool QueueLayout::any_mtype_is_pid() const {
  return std::find(pid_mtypes_.begin(), pid_mtypes_.end(), true) != pid_mtypes_.end();
}

std::shared_ptr<const Conversion> QueueLayout::to_canonical(std::size_t structure, const Abi& from) const {
  return conversion(structure, &from, nullptr);
}

std::shared_ptr<const Conversion> QueueLayout::from_canonical(std::size_t structure, const Abi& to) const {
  return conversion(structure, nullptr, &to);
}

std::shared_ptr<const Conversion> QueueLayout::between(std::size_t structure, const Abi& from, const Abi& to) const {
  return conversion(structure, &from, &to);
}

// Null: the canonical form.
std::shared_ptr<const Conversion> QueueLayout::conversion(std::size_t structure, const Abi* from, const Abi* to) const {
  DIPC_CHECK(has(structure));
  std::vector<std::uint8_t> key = {static_cast<std::uint8_t>(structure & 0xff),
                                   static_cast<std::uint8_t>(structure >> 8)};
  append(key, from);
  append(key, to);
  const auto known = conversions_.find(key);
  if (known != conversions_.end()) return known->second;
  if (conversions_.size() >= kConversionsMax) conversions_.clear();
  const auto form = [](const Abi* abi) { return abi == nullptr ? Form::canonical() : Form::native(*abi); };
  const Result<Form> source = form(from);
  const Result<Form> target = form(to);
  std::shared_ptr<const Conversion> made;
  if (source && target) {
    auto compiled = Conversion::compile(types_, Kind::kMessageQueue, structure, *source, *target);
    if (compiled) made = std::make_shared<const Conversion>(std::move(*compiled));
  }
  return conversions_.emplace(std::move(key), std::move(made)).first->second;
}

std::string QueueLayout::difference(const QueueLayout& a, const std::string& ours, const QueueLayout& b,
                                    const std::string& theirs) {
  if (a.text_ == b.text_) return {};
  return bound_difference(a.types(), ours, b.types(), theirs);
}

}  // namespace dipc
