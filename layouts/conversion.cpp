#include "layouts/conversion.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <string_view>

namespace dipc {
namespace {

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t align) {
  return (value + align - 1) / align * align;
}

bool is_foreign(ByteOrder order) { return order != measured_abi().byte_order; }

// Writes the steps of one struct after another into one list.
class StepWriter {
 public:
  StepWriter(const TypeSet& types, const Shapes& from, const Shapes& to, bool ids_only)
      : types_(types), from_(from), to_(to), ids_only_(ids_only) {}

  // Fields [first, last) of a struct that begins at these offsets, which may be below 0 for a message's (unsigned
  // arithmetic brings them back). Padding between them is zeroed, from `written` on.
  void fields(std::size_t structure, std::size_t first, std::size_t last, std::uint64_t source, std::uint64_t target,
              std::uint64_t& written) {
    const StructDeclaration& declared = types_.structs[structure];
    for (std::size_t i = first; i < last; ++i) {
      const FieldShape& on_from = from_[structure].fields[i];
      const FieldShape& on_to = to_[structure].fields[i];
      zeros(written, target + on_to.offset);
      elements(declared.fields[i].type, declared.fields[i].elements(), source + on_from.offset, target + on_to.offset);
      written = target + on_to.offset + on_to.bytes;
    }
  }

  void elements(const TypeUse& type, std::uint64_t count, std::uint64_t source, std::uint64_t target) {
    if (!type.is_struct) {
      scalars(type.scalar, count, source, target);
    } else if (count == 1) {
      whole(type.structure, source, target);
    } else {
      loop(type.structure, count, source, target);
    }
  }

  void zeros(std::uint64_t from, std::uint64_t to) {
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

  void whole(std::size_t structure, std::uint64_t source, std::uint64_t target) {
    std::uint64_t written = target;
    fields(structure, 0, types_.structs[structure].fields.size(), source, target, written);
    zeros(written, target + to_[structure].size);
  }

  void loop(std::size_t structure, std::uint64_t count, std::uint64_t source, std::uint64_t target) {
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
    step.source_stride = from_[structure].size;
    step.target_stride = to_[structure].size;
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

  void scalars(const Scalar& scalar, std::uint64_t count, std::uint64_t source, std::uint64_t target) {
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

  static StepCode same_width(unsigned bytes, bool swapped, std::uint64_t count) {
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
  static bool is_dense(const Step& step, std::uint64_t source_stride, std::uint64_t target_stride) {
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

std::string number_text(std::uint64_t value, bool is_signed) {
  return is_signed ? std::to_string(static_cast<std::int64_t>(value)) : std::to_string(value);
}

}  // namespace

std::uint64_t Conversion::Side::length(std::uint64_t elements, Ending ending) const {
  if (stride == 0) return ending == Ending::kPadded ? padded : end;
  const std::uint64_t last = end + elements * stride;
  const std::uint64_t with_padding = round_up(mtype_bytes + last, align) - mtype_bytes;
  const bool tells = counted || with_padding - last < stride;  // else a receiver would take padding for elements
  return ending == Ending::kPadded && tells ? with_padding : last;
}

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

Conversion::Conversion(std::shared_ptr<const TypeSet> types, std::size_t structure, const Form& from, const Form& to)
    : types_(std::move(types)), structure_(structure), from_shapes_(*types_, from), to_shapes_(*types_, to) {
  const StructDeclaration& declared = types_->structs[structure];
  from_ = Side::of(declared, from_shapes_, structure);
  to_ = Side::of(declared, to_shapes_, structure);
  is_copy_ = !from.is_canonical() && !to.is_canonical() && from.byte_order() == to.byte_order() &&
             !first_difference(*types_, structure, from_shapes_, to_shapes_) && from_.align == to_.align;
  const std::size_t first = declared.begins_with_mtype() ? 1 : 0;
  const std::size_t last = declared.fields.size() - (declared.is_open() ? 1 : 0);
  const std::uint64_t source = 0 - from_.mtype_bytes;
  const std::uint64_t target = 0 - to_.mtype_bytes;
  StepWriter fixed(*types_, from_shapes_, to_shapes_, is_copy_);
  std::uint64_t written = 0;
  fixed.fields(structure, first, last, source, target, written);
  fixed.zeros(written, to_.end);
  has_ids_ = fixed.has_ids();
  steps_ = fixed.take();
  if (!declared.is_open()) return;

  StepWriter tail(*types_, from_shapes_, to_shapes_, is_copy_);
  tail.elements(declared.fields.back().type, declared.fields.back().elements(), 0, 0);
  has_ids_ = has_ids_ || tail.has_ids();
  element_ = tail.take();
  if (element_.size() == 1) {
    const Step run = StepWriter::as_run(element_.front());
    element_is_run_ = StepWriter::is_dense(run, from_.stride, to_.stride);
    if (element_is_run_) element_.front() = run;
  }
  if (declared.fields.back().extent != Field::Extent::kCounted) return;
  Counter counter;
  std::uint64_t offset = source;
  std::size_t inside = structure;
  for (const std::size_t index : declared.fields.back().counter) {
    const Field& field = types_->structs[inside].fields[index];
    offset += from_shapes_[inside].fields[index].offset;
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
                                       const Form& to) {
  Conversion made(std::move(types), structure, from, to);
  if (std::max(made.from_.padded, made.to_.padded) > kStructBytesMax) {
    return trouble("struct " + made.types_->structs[structure].name + " has more than 1 GiB", "declare shorter arrays");
  }
  return made;
}

bool Conversion::measure(const Payload& in, Measured& measured, Converted& failed) const {
  const std::uint64_t bytes = in.bytes.size();
  const bool is_canonical = from_shapes_.form().is_canonical();
  failed.error = Error::kInvalid;
  failed.reason = Converted::Reason::kLength;
  failed.at = bytes;
  failed.value = bytes;
  if (from_.stride == 0) {
    if (bytes != from_.padded && bytes != from_.end) return false;
    measured.ending = is_canonical ? in.ending : bytes == from_.padded ? Ending::kPadded : Ending::kLastField;
    return true;
  }
  if (bytes < from_.end) return false;
  // As many as fit; what is over can only be padding. A counter may say one less, whose padding has room for another.
  measured.elements = (bytes - from_.end) / from_.stride;
  measured.ending = is_canonical ? in.ending : Ending::kLastField;
  if (counter_) {
    const std::uint64_t count = load_number(in.bytes.data() + counter_->source, counter_->form, counter_->is_signed);
    const bool is_negative = counter_->is_signed && static_cast<std::int64_t>(count) < 0;
    failed.at = counter_->source;
    failed.value = count;
    failed.is_signed = counter_->is_signed;
    failed.expected = measured.elements;
    failed.reason = is_negative ? Converted::Reason::kNegativeCount : Converted::Reason::kCount;
    if (count > measured.elements) return false;
    measured.elements = count;
  }
  if (bytes == from_.length(measured.elements, Ending::kLastField)) return true;
  measured.ending = Ending::kPadded;
  return bytes == from_.length(measured.elements, Ending::kPadded);
}

Converted Conversion::convert(const Payload& in, std::span<std::byte> out, IdRewriter* rewriter) const {
  Measured measured;
  Converted result;
  if (!measure(in, measured, result)) return result;
  result = {};
  result.ending = measured.ending;
  std::uint64_t bytes = to_.length(measured.elements, measured.ending);
  const std::uint64_t last = to_.length(measured.elements, Ending::kLastField);
  if (bytes > out.size()) bytes = last;
  if (bytes > out.size()) {
    result.error = Error::kTooBig;
    result.reason = Converted::Reason::kRoom;
    result.value = bytes;
    result.expected = out.size();
    return result;
  }
  result.bytes = static_cast<std::size_t>(bytes);
  std::byte* const target = out.data();
  const std::byte* const source = in.bytes.data();
  StepFailure failure;
  if (is_copy_) {
    if (bytes > 0) std::memcpy(target, source, std::min<std::size_t>(result.bytes, in.bytes.size()));
    if (!has_ids_ || rewriter == nullptr) return result;
  }
  bool good = run_steps(steps_.data(), steps_.data() + steps_.size(), source, target, rewriter, failure);
  if (good && measured.elements > 0 && !element_.empty()) {
    if (element_is_run_) {
      Step step = element_.front();
      step.count *= measured.elements;
      good = run_steps(&step, &step + 1, source + from_.end, target + to_.end, rewriter, failure);
    } else {
      const std::byte* from = source + from_.end;
      std::byte* to = target + to_.end;
      for (std::uint64_t i = 0; good && i < measured.elements; ++i, from += from_.stride, to += to_.stride) {
        good = run_steps(element_.data(), element_.data() + element_.size(), from, to, rewriter, failure);
      }
    }
  }
  if (good) {
    if (!is_copy_ && bytes > last) std::memset(target + last, 0, static_cast<std::size_t>(bytes - last));
    return result;
  }
  result.error = failure.error;
  result.reason = failure.error == Error::kOverflow ? Converted::Reason::kValue : Converted::Reason::kRewrite;
  result.at = static_cast<std::uint64_t>(failure.at - source);
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
