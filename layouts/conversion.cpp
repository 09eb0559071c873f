#include "layouts/conversion.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "layouts/step_writer.h"
#include "wire/check.h"

namespace dipc {
namespace {

Program make_program(std::vector<Step> steps, Conversion::Engine engine, std::uint32_t source_bytes,
                     std::uint32_t target_bytes) {
  if (engine == Conversion::Engine::kBest) return with_shuffles(std::move(steps), source_bytes, target_bytes);
  Program plain;
  plain.steps = std::move(steps);
  return plain;
}

bool run(const Program& program, const std::byte* source, std::byte* target, IdRewriter* rewriter,
         StepFailure& failure) {
  if (!program.shuffles.empty()) run_shuffles(program.shuffles, source, target);
  return run_steps(program.steps.data(), program.steps.data() + program.steps.size(), source, target, rewriter,
                   failure);
}

std::string number_text(std::uint64_t value, bool is_signed) {
  return is_signed ? std::to_string(static_cast<std::int64_t>(value)) : std::to_string(value);
}

}  // namespace

Conversion::Side Conversion::Side::of(const StructDeclaration& declared, const Shapes& shapes, std::size_t structure,
                                      const std::optional<Scalar>& mtype) {
  const StructShape& shape = shapes[structure];
  Side side;
  if (mtype) side.mtype_bytes = shapes.form().shape(*mtype).size_bytes;
  side.align = shape.align;
  side.end = shape.end - side.mtype_bytes;
  side.padded = shape.size - side.mtype_bytes;
  if (declared.is_open()) side.stride = shape.fields.back().element_bytes * declared.fields.back().elements();
  side.counted = declared.fields.back().extent == Field::Extent::kCounted;
  return side;
}

Conversion::Conversion(std::shared_ptr<const TypeSet> types, std::size_t structure, const std::optional<Scalar>& mtype,
                       Shapes from_shapes, Shapes to_shapes, Engine engine)
    : types_(std::move(types)),
      structure_(structure),
      from_shapes_(std::move(from_shapes)),
      to_shapes_(std::move(to_shapes)) {
  const Form& from = from_shapes_.form();
  const Form& to = to_shapes_.form();
  const StructDeclaration& declared = types_->structs[structure];
  from_ = Side::of(declared, from_shapes_, structure, mtype);
  to_ = Side::of(declared, to_shapes_, structure, mtype);
  is_copy_ = !from.is_canonical() && !to.is_canonical() && from.byte_order() == to.byte_order() &&
             !first_difference(*types_, structure, from_shapes_, to_shapes_) && from_.align == to_.align;
  StepWriter fixed(*types_, from_shapes_, to_shapes_, is_copy_);
  fixed.payload(structure, mtype);
  has_ids_ = fixed.has_ids();
  fixed_ = make_program(fixed.take(), engine, bytes32(from_.end), bytes32(to_.end));
  if (!declared.is_open()) return;

  StepWriter tail(*types_, from_shapes_, to_shapes_, is_copy_);
  tail.elements(declared.fields.back().type, bytes32(declared.fields.back().elements()), 0, 0);
  has_ids_ = has_ids_ || tail.has_ids();
  std::vector<Step> element = tail.take();
  if (const auto all = one_for_all(element, bytes32(from_.stride), bytes32(to_.stride))) {
    element_is_run_ = true;
    element_.steps = {*all};
  } else {
    element_ = make_program(std::move(element), engine, bytes32(from_.stride), bytes32(to_.stride));
  }
  if (from_.counted) counter_ = counter_of(declared.fields.back().counter);
}

Conversion::Counter Conversion::counter_of(const std::vector<std::size_t>& path) const {
  Counter counter;
  std::uint64_t offset = 0;
  std::size_t inside = structure_;
  for (const std::size_t index : path) {
    const Field& field = types_->structs[inside].fields[index];
    offset += from_shapes_[inside].fields[index].offset;
    if (field.type.is_struct) {
      inside = field.type.structure;
    } else {
      counter.form = number_form(from_shapes_.form(), field.type.scalar);
      counter.is_signed = field.type.scalar.is_signed;
    }
  }
  DIPC_CHECK(offset >= from_.mtype_bytes && offset - from_.mtype_bytes + counter.form.bytes <= from_.end);
  counter.source = bytes32(offset - from_.mtype_bytes);
  return counter;
}

Result<Conversion> Conversion::compile(std::shared_ptr<const TypeSet> types, Kind kind, std::size_t structure,
                                       const Form& from, const Form& to, Engine engine) {
  DIPC_CHECK(structure < types->structs.size());
  DIPC_CHECK(kind == Kind::kMessageQueue || kind == Kind::kSegment);
  std::optional<Scalar> mtype;
  if (kind == Kind::kMessageQueue) {
    const auto found = types->mtype_of(structure);
    if (!found) return tl::unexpected<Trouble>(found.error());
    mtype = *found;
  }
  Shapes from_shapes(*types, from);
  Shapes to_shapes(*types, to);
  for (const Shapes* shapes : {&from_shapes, &to_shapes}) {
    const Side side = Side::of(types->structs[structure], *shapes, structure, mtype);
    if (std::max(side.padded, side.stride) <= kPayloadBytesMax) continue;
    return trouble("struct " + types->structs[structure].name + " is larger than any payload",
                   "declare shorter arrays");
  }
  return Conversion(std::move(types), structure, mtype, std::move(from_shapes), std::move(to_shapes), engine);
}

bool Conversion::measure(const Payload& in, Measured& measured, Converted& failed) const {
  const std::uint64_t bytes = in.bytes.size();
  const bool is_canonical = from_shapes_.form().is_canonical();
  if (from_.stride == 0) {
    if (bytes != from_.padded && bytes != from_.end) return wrong_length(bytes, failed);
    measured.ending = is_canonical ? in.ending : bytes == from_.padded ? Ending::kPadded : Ending::kLastField;
    return true;
  }
  if (bytes < from_.end || bytes > kPayloadBytesMax) return wrong_length(bytes, failed);
  // As many as fit; what is over can only be padding. A counter may say one less, whose padding has room for another.
  measured.elements = bytes32(bytes - from_.end) / bytes32(from_.stride);  // 64 bits divide slowly
  measured.ending = is_canonical ? in.ending : Ending::kLastField;
  if (counter_) {
    const std::uint64_t count = load_number(in.bytes.data() + counter_->source, counter_->form, counter_->is_signed);
    if (count > measured.elements) return wrong_count(count, measured.elements, failed);
    measured.elements = count;
  }
  if (bytes == from_.length(measured.elements, Ending::kLastField)) return true;
  measured.ending = Ending::kPadded;
  if (bytes == from_.length(measured.elements, Ending::kPadded)) return true;
  if (counter_) return wrong_count(measured.elements, bytes32(bytes - from_.end) / bytes32(from_.stride), failed);
  return wrong_length(bytes, failed);
}

bool Conversion::wrong_length(std::uint64_t bytes, Converted& failed) const {
  failed.error = Error::kInvalid;
  failed.reason = Converted::Reason::kLength;
  failed.at = bytes32(std::min<std::uint64_t>(bytes, kPayloadBytesMax));
  failed.value = bytes;
  return false;
}

bool Conversion::wrong_count(std::uint64_t count, std::uint64_t elements, Converted& failed) const {
  const bool is_negative = counter_->is_signed && static_cast<std::int64_t>(count) < 0;
  failed.error = Error::kInvalid;
  failed.reason = is_negative ? Converted::Reason::kNegativeCount : Converted::Reason::kCount;
  failed.at = counter_->source;
  failed.value = count;
  failed.is_signed = counter_->is_signed;
  failed.expected = bytes32(elements);
  return false;
}

Converted Conversion::convert(const Payload& in, std::span<std::byte> out, IdRewriter* rewriter) const {
  Measured measured;
  Converted result;
  if (!measure(in, measured, result)) return result;
  result.ending = measured.ending;
  std::uint64_t bytes = to_.length(measured.elements, measured.ending);
  const std::uint64_t last = to_.length(measured.elements, Ending::kLastField);
  const std::uint64_t room = std::min<std::uint64_t>(out.size(), kPayloadBytesMax);
  if (bytes > room) bytes = last;
  if (bytes > room) {
    result.error = Error::kTooBig;
    result.reason = Converted::Reason::kRoom;
    result.value = bytes;
    result.expected = bytes32(room);
    return result;
  }
  result.bytes = bytes32(bytes);
  std::byte* const target = out.data();
  const std::byte* const source = in.bytes.data();
  StepFailure failure;
  if (is_copy_) {
    if (bytes > 0) std::memcpy(target, source, std::min<std::size_t>(result.bytes, in.bytes.size()));
    if (!has_ids_ || rewriter == nullptr) return result;
  }
  bool good = run(fixed_, source, target, rewriter, failure);
  if (good && measured.elements > 0) {
    if (element_is_run_) {
      Step step = element_.steps.front();
      step.count *= bytes32(measured.elements);
      good = run_steps(&step, &step + 1, source + from_.end, target + to_.end, rewriter, failure);
    } else {
      const std::byte* from = source + from_.end;
      std::byte* to = target + to_.end;
      for (std::uint64_t i = 0; good && i < measured.elements; ++i, from += from_.stride, to += to_.stride) {
        good = run(element_, from, to, rewriter, failure);
      }
    }
  }
  if (good) {
    if (!is_copy_ && bytes > last) std::memset(target + last, 0, static_cast<std::size_t>(bytes - last));
    return result;
  }
  result.error = failure.error;
  result.reason = failure.error == Error::kOverflow ? Converted::Reason::kValue : Converted::Reason::kRewrite;
  result.at = static_cast<std::uint32_t>(failure.at - source);
  result.value = failure.value;
  result.is_signed = failure.is_signed;
  result.bytes = 0;
  return result;
}

Trouble Conversion::describe(const Converted& failed) const {
  const StructDeclaration& declared = types_->structs[structure_];
  const std::string field =
      declared.name + "." + path_at(*types_, structure_, from_shapes_, from_.mtype_bytes + failed.at);
  const std::string value = number_text(failed.value, failed.is_signed);
  switch (failed.reason) {
    case Converted::Reason::kNone:
      break;
    case Converted::Reason::kLength: {
      std::string what = "struct " + declared.name + ": a payload of " + value + " bytes ends at " + field + "; ";
      if (from_.stride > 0) {
        what += std::to_string(from_.end) + " bytes are before " + declared.fields.back().name + ", and " +
                std::to_string(from_.stride) + " in each of its elements";
      } else {
        what += "the struct has " + std::to_string(from_.padded);
        if (from_.end != from_.padded) what += ", or " + std::to_string(from_.end) + " up to its last field";
      }
      return {what, "declare what the program sends; its length is msgsnd's, without the mtype"};
    }
    case Converted::Reason::kCount:
      return {field + " is " + value + ", but the payload has " + std::to_string(failed.expected) + " of " +
                  declared.fields.back().name,
              "the program must send as many as it says; an array that is sent whole is declared with its length"};
    case Converted::Reason::kNegativeCount:
      return {field + " is " + value + ": no array has so many elements",
              "the program must send how many there are, from 0"};
    case Converted::Reason::kValue:
      return {field + " is " + value + ", which does not fit the field on the other side",
              "send smaller values, or declare and use a type that is as wide on all machines, int64_t for instance"};
    case Converted::Reason::kRewrite:
      return {field + " is " + value + ", which stands for nothing on the other side",
              "give the login on both hosts, or declare a plain integer to have it left as it is"};
    case Converted::Reason::kRoom:
      return {"struct " + declared.name + ": the message has " + value + " bytes for its receiver, who has room for " +
                  std::to_string(failed.expected),
              "the receiver must pass msgrcv as much as its own struct needs"};
  }
  return {"struct " + declared.name + " was converted", {}};
}

std::optional<std::size_t> Conversion::largest_source_bytes(std::size_t room) const {
  if (room < to_.end) return std::nullopt;
  room = std::min<std::size_t>(room, kPayloadBytesMax);
  if (from_.stride == 0) return static_cast<std::size_t>(from_.padded);
  const std::uint64_t elements = (room - to_.end) / to_.stride;
  // A byte less than one element more: its padding must not make room for that.
  const std::uint64_t more = from_.length(elements + 1, Ending::kLastField) - 1;
  const std::uint64_t largest = std::min(from_.length(elements, Ending::kPadded), more);
  return static_cast<std::size_t>(std::min<std::uint64_t>(largest, kPayloadBytesMax));
}

std::size_t Conversion::largest_result_bytes(std::size_t source_bytes) const {
  if (from_.stride == 0) return static_cast<std::size_t>(to_.padded);
  const std::uint64_t elements = source_bytes < from_.end ? 0 : (source_bytes - from_.end) / from_.stride;
  return static_cast<std::size_t>(std::min<std::uint64_t>(to_.length(elements, Ending::kPadded), kPayloadBytesMax));
}

}  // namespace dipc
