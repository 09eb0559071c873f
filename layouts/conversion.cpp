#include "layouts/conversion.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <string_view>

namespace dipc {
namespace {

// Structs that would need more were refused (kStructBytesMax).
std::uint32_t bytes32(std::uint64_t bytes) { return static_cast<std::uint32_t>(bytes); }

bool is_foreign(ByteOrder order) { return order != measured_abi().byte_order; }

// Writes the steps of one struct after another into one list.
class StepWriter {
 public:
  StepWriter(const TypeSet& types, const Shapes& from, const Shapes& to, bool ids_only)
      : types_(types), from_(from), to_(to), ids_only_(ids_only) {}

  // Fields [first, last) of a struct that begins at these offsets, which may be below 0 for a message's (unsigned
  // arithmetic brings them back). Padding between them is zeroed, from `written` on.
  void fields(std::size_t structure, std::size_t first, std::size_t last, std::uint32_t source, std::uint32_t target,
              std::uint32_t& written) {
    const StructDeclaration& declared = types_.structs[structure];
    for (std::size_t i = first; i < last; ++i) {
      const FieldShape& on_from = from_[structure].fields[i];
      const FieldShape& on_to = to_[structure].fields[i];
      const std::uint32_t begin = target + bytes32(on_to.offset);
      zeros(written, begin);
      elements(declared.fields[i].type, bytes32(declared.fields[i].elements()), source + bytes32(on_from.offset),
               begin);
      written = begin + bytes32(on_to.bytes);
    }
  }

  void elements(const TypeUse& type, std::uint32_t count, std::uint32_t source, std::uint32_t target) {
    if (!type.is_struct) {
      scalars(type.scalar, count, source, target);
    } else if (count == 1) {
      whole(type.structure, source, target);
    } else {
      loop(type.structure, count, source, target);
    }
  }

  void zeros(std::uint32_t from, std::uint32_t to) {
    if (to == from || ids_only_) return;
    Step step;
    step.code = StepCode::kZero;
    step.target = from;
    step.count = to - from;
    add(step);
  }

  std::vector<Step> take() { return std::move(steps_); }
  bool has_ids() const { return has_ids_; }

 private:
  void add(const Step& step) { append_step(steps_, joinable_, step); }

  void whole(std::size_t structure, std::uint32_t source, std::uint32_t target) {
    std::uint32_t written = target;
    fields(structure, 0, types_.structs[structure].fields.size(), source, target, written);
    zeros(written, target + bytes32(to_[structure].size));
  }

  void loop(std::size_t structure, std::uint32_t count, std::uint32_t source, std::uint32_t target) {
    StepWriter inside(types_, from_, to_, ids_only_);
    inside.whole(structure, 0, 0);
    has_ids_ = has_ids_ || inside.has_ids_;
    std::vector<Step> body = inside.take();
    if (body.empty()) return;
    Step step;
    step.code = StepCode::kLoop;
    step.count = count;
    step.source = source;
    step.target = target;
    step.source_stride = bytes32(from_[structure].size);
    step.target_stride = bytes32(to_[structure].size);
    if (body.size() == 1 && is_dense(body.front(), step.source_stride, step.target_stride)) {
      step = body.front();
      step.count *= count;
      step.source = source;
      step.target = target;
      add(step);
      return;
    }
    step.body = static_cast<std::uint32_t>(body.size());
    steps_.push_back(step);
    steps_.insert(steps_.end(), body.begin(), body.end());
    joinable_ = steps_.size();
  }

  void scalars(const Scalar& scalar, std::uint32_t count, std::uint32_t source, std::uint32_t target) {
    const TypeShape on_from = from_.form().shape(scalar);
    const TypeShape on_to = to_.form().shape(scalar);
    const ByteOrder from_order = from_.form().byte_order();
    const ByteOrder to_order = to_.form().byte_order();
    Step step;
    step.count = count;
    step.source = source;
    step.target = target;
    if (scalar.meaning != Meaning::kNumber || on_from.size_bytes != on_to.size_bytes) {
      const bool is_id = scalar.meaning != Meaning::kNumber;
      has_ids_ = has_ids_ || is_id;
      if (ids_only_ && !is_id) return;
      step.code = is_id ? StepCode::kRewrite : StepCode::kResize;
      step.is_signed = scalar.is_signed;
      step.meaning = static_cast<std::uint8_t>(scalar.meaning);
      step.from = {on_from.size_bytes, is_foreign(from_order)};
      step.to = {on_to.size_bytes, is_foreign(to_order)};
    } else {
      if (ids_only_) return;
      step.code = same_width(on_from.size_bytes, from_order != to_order, count);
      if (step.code == StepCode::kCopy) step.count = count * on_from.size_bytes;
    }
    add(step);
  }

  static StepCode same_width(unsigned bytes, bool swapped, std::uint32_t count) {
    if (bytes == 1) return count == 1 ? StepCode::kCopy1 : StepCode::kCopy;
    if (count > 1) {
      if (!swapped) return StepCode::kCopy;
      return bytes == 2 ? StepCode::kSwap2Run : bytes == 4 ? StepCode::kSwap4Run : StepCode::kSwap8Run;
    }
    if (swapped) return bytes == 2 ? StepCode::kSwap2 : bytes == 4 ? StepCode::kSwap4 : StepCode::kSwap8;
    return bytes == 2 ? StepCode::kCopy2 : bytes == 4 ? StepCode::kCopy4 : StepCode::kCopy8;
  }

 public:
  // Does this step, made for one element, do all of them with as many times its count?
  static bool is_dense(const Step& step, std::uint32_t source_stride, std::uint32_t target_stride) {
    switch (step.code) {
      case StepCode::kCopy:
      case StepCode::kSwap2Run:
      case StepCode::kSwap4Run:
      case StepCode::kSwap8Run:
        return step.source == 0 && step.target == 0 && run_bytes(step) == source_stride &&
               source_stride == target_stride;
      case StepCode::kResize:
        return step.source == 0 && step.target == 0 && step.count * step.from.bytes == source_stride &&
               step.count * step.to.bytes == target_stride;
      default:
        return false;
    }
  }

  // A step of one scalar as a run of one, which is_dense() knows.
  static Step as_run(Step step) {
    const StepCode code = step.code;
    if (code == StepCode::kSwap2) step.code = StepCode::kSwap2Run;
    if (code == StepCode::kSwap4) step.code = StepCode::kSwap4Run;
    if (code == StepCode::kSwap8) step.code = StepCode::kSwap8Run;
    if (code == StepCode::kCopy1 || code == StepCode::kCopy2 || code == StepCode::kCopy4 || code == StepCode::kCopy8) {
      step.count = run_bytes(step);
      step.code = StepCode::kCopy;
    }
    return step;
  }

 private:
  const TypeSet& types_;
  const Shapes& from_;
  const Shapes& to_;
  const bool ids_only_;
  std::vector<Step> steps_;
  std::size_t joinable_ = 0;  // steps before it are a loop's, no neighbours of what comes
  bool has_ids_ = false;
};

Program program(std::vector<Step> steps, Conversion::Engine engine, std::uint32_t source_bytes,
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

Conversion::Side Conversion::Side::of(const StructDeclaration& declared, const Shapes& shapes, std::size_t structure) {
  const StructShape& shape = shapes[structure];
  Side side;
  if (declared.begins_with_mtype()) side.mtype_bytes = shape.fields.front().bytes;
  side.align = shape.align;
  side.end = shape.end - side.mtype_bytes;
  side.padded = shape.size - side.mtype_bytes;
  if (declared.is_open()) side.stride = shape.fields.back().element_bytes * declared.fields.back().elements();
  side.counted = declared.fields.back().extent == Field::Extent::kCounted;
  return side;
}

Conversion::Conversion(std::shared_ptr<const TypeSet> types, std::size_t structure, Shapes from_shapes,
                       Shapes to_shapes, Engine engine)
    : types_(std::move(types)),
      structure_(structure),
      from_shapes_(std::move(from_shapes)),
      to_shapes_(std::move(to_shapes)) {
  const Form& from = from_shapes_.form();
  const Form& to = to_shapes_.form();
  const StructDeclaration& declared = types_->structs[structure];
  from_ = Side::of(declared, from_shapes_, structure);
  to_ = Side::of(declared, to_shapes_, structure);
  is_copy_ = !from.is_canonical() && !to.is_canonical() && from.byte_order() == to.byte_order() &&
             !first_difference(*types_, structure, from_shapes_, to_shapes_) && from_.align == to_.align;
  const std::size_t first = declared.begins_with_mtype() ? 1 : 0;
  const std::size_t last = declared.fields.size() - (declared.is_open() ? 1 : 0);
  const std::uint32_t source = 0 - bytes32(from_.mtype_bytes);
  const std::uint32_t target = 0 - bytes32(to_.mtype_bytes);
  StepWriter fixed(*types_, from_shapes_, to_shapes_, is_copy_);
  std::uint32_t written = 0;
  fixed.fields(structure, first, last, source, target, written);
  fixed.zeros(written, bytes32(to_.end));
  has_ids_ = fixed.has_ids();
  fixed_ = program(fixed.take(), engine, bytes32(from_.end), bytes32(to_.end));
  if (!declared.is_open()) return;

  StepWriter tail(*types_, from_shapes_, to_shapes_, is_copy_);
  tail.elements(declared.fields.back().type, bytes32(declared.fields.back().elements()), 0, 0);
  has_ids_ = has_ids_ || tail.has_ids();
  std::vector<Step> element = tail.take();
  if (element.size() == 1) {
    const Step run = StepWriter::as_run(element.front());
    element_is_run_ = StepWriter::is_dense(run, bytes32(from_.stride), bytes32(to_.stride));
    if (element_is_run_) element.front() = run;
  }
  const Engine for_elements = element_is_run_ ? Engine::kPlain : engine;
  element_ = program(std::move(element), for_elements, bytes32(from_.stride), bytes32(to_.stride));
  if (declared.fields.back().extent != Field::Extent::kCounted) return;
  Counter counter;
  std::uint32_t offset = source;
  std::size_t inside = structure;
  for (const std::size_t index : declared.fields.back().counter) {
    const Field& field = types_->structs[inside].fields[index];
    offset += bytes32(from_shapes_[inside].fields[index].offset);
    if (field.type.is_struct) {
      inside = field.type.structure;
    } else {
      counter.form = {from.shape(field.type.scalar).size_bytes, is_foreign(from.byte_order())};
      counter.is_signed = field.type.scalar.is_signed;
    }
  }
  counter.source = offset;
  counter_ = counter;
}

Result<Conversion> Conversion::compile(std::shared_ptr<const TypeSet> types, std::size_t structure, const Form& from,
                                       const Form& to, Engine engine) {
  Shapes from_shapes(*types, from);
  Shapes to_shapes(*types, to);
  if (std::max(from_shapes[structure].size, to_shapes[structure].size) > kPayloadBytesMax) {
    return trouble("struct " + types->structs[structure].name + " is larger than any payload",
                   "declare shorter arrays");
  }
  return Conversion(std::move(types), structure, std::move(from_shapes), std::move(to_shapes), engine);
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
  if (bytes > out.size()) bytes = last;
  if (bytes > out.size()) {
    result.error = Error::kTooBig;
    result.reason = Converted::Reason::kRoom;
    result.value = bytes;
    result.expected = bytes32(out.size());  // less than the result's
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
      return {field + " is " + value + ": no array has so many elements", {}};
    case Converted::Reason::kValue:
      return {field + " is " + value + ", which does not fit the field on the other side", {}};
    case Converted::Reason::kRewrite:
      return {field + " is " + value + ", which stands for nothing on the other side", {}};
    case Converted::Reason::kRoom:
      return {"struct " + declared.name + ": the message has " + value + " bytes for its receiver, who has room for " +
                  std::to_string(failed.expected),
              {}};
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
  return static_cast<std::size_t>(std::min(from_.length(elements, Ending::kPadded), more));
}

std::size_t Conversion::largest_result_bytes(std::size_t source_bytes) const {
  if (from_.stride == 0) return static_cast<std::size_t>(to_.padded);
  const std::uint64_t elements = source_bytes < from_.end ? 0 : (source_bytes - from_.end) / from_.stride;
  return static_cast<std::size_t>(to_.length(elements, Ending::kPadded));
}

}  // namespace dipc
