#include "layouts/step_writer.h"

#include <limits>

#include "wire/check.h"

namespace dipc {
namespace {

StepCode code_of(unsigned bytes, bool swapped, std::uint32_t count) {
  if (bytes == 1) return count == 1 ? StepCode::kCopy1 : StepCode::kCopy;
  if (count > 1) {
    if (!swapped) return StepCode::kCopy;
    return bytes == 2 ? StepCode::kSwap2Run : bytes == 4 ? StepCode::kSwap4Run : StepCode::kSwap8Run;
  }
  if (swapped) return bytes == 2 ? StepCode::kSwap2 : bytes == 4 ? StepCode::kSwap4 : StepCode::kSwap8;
  return bytes == 2 ? StepCode::kCopy2 : bytes == 4 ? StepCode::kCopy4 : StepCode::kCopy8;
}

// A step of one scalar as a run of one.
Step as_run(Step step) {
  const std::uint32_t bytes = run_bytes(step);
  switch (step.code) {
    case StepCode::kSwap2:
      step.code = StepCode::kSwap2Run;
      break;
    case StepCode::kSwap4:
      step.code = StepCode::kSwap4Run;
      break;
    case StepCode::kSwap8:
      step.code = StepCode::kSwap8Run;
      break;
    case StepCode::kCopy1:
    case StepCode::kCopy2:
    case StepCode::kCopy4:
    case StepCode::kCopy8:
      step.code = StepCode::kCopy;
      step.count = bytes;
      break;
    default:
      break;
  }
  return step;
}

}  // namespace

std::uint32_t bytes32(std::uint64_t bytes) {
  DIPC_CHECK(bytes <= std::numeric_limits<std::uint32_t>::max());
  return static_cast<std::uint32_t>(bytes);
}

NumberForm number_form(const Form& form, const Scalar& scalar) {
  return {form.shape(scalar).size_bytes, form.byte_order() != measured_abi().byte_order};
}

std::optional<Step> one_for_all(const std::vector<Step>& element, std::uint32_t source_stride,
                                std::uint32_t target_stride) {
  if (element.size() != 1 || element.front().source != 0 || element.front().target != 0) return std::nullopt;
  const Step step = as_run(element.front());
  switch (step.code) {
    case StepCode::kCopy:
    case StepCode::kSwap2Run:
    case StepCode::kSwap4Run:
    case StepCode::kSwap8Run:
      if (run_bytes(step) == source_stride && source_stride == target_stride) return step;
      return std::nullopt;
    case StepCode::kResize:
      if (step.count * step.from.bytes == source_stride && step.count * step.to.bytes == target_stride) return step;
      return std::nullopt;
    default:
      return std::nullopt;
  }
}

void StepWriter::payload(std::size_t structure, const std::optional<Scalar>& mtype) {
  Place begin;
  if (mtype) {
    // Below 0, which unsigned arithmetic brings back.
    begin.source -= from_.form().shape(*mtype).size_bytes;
    begin.target -= to_.form().shape(*mtype).size_bytes;
  }
  written_ = 0;
  fields(structure, begin, mtype.has_value());
  zeros_to(begin.target + bytes32(to_[structure].end));
}

void StepWriter::elements(const TypeUse& type, std::uint32_t count, std::uint32_t source, std::uint32_t target) {
  if (!type.is_struct) {
    scalars(type.scalar, count, {source, target});
  } else if (count == 1) {
    written_ = target;
    rest_of(type.structure, {source, target}, false);
  } else {
    loop(type.structure, count, {source, target});
  }
}

// All but an open array. `with_mtype`: the first scalar, in a nested struct or not, is the mtype and left out.
void StepWriter::fields(std::size_t structure, Place begin, bool with_mtype) {
  const StructDeclaration& declared = types_.structs[structure];
  for (std::size_t i = 0; i < declared.fields.size(); ++i) {
    const Field& field = declared.fields[i];
    if (field.extent != Field::Extent::kFixed) break;
    const FieldShape& on_from = from_[structure].fields[i];
    const FieldShape& on_to = to_[structure].fields[i];
    const Place at{begin.source + bytes32(on_from.offset), begin.target + bytes32(on_to.offset)};
    if (with_mtype && i == 0) {
      if (field.type.is_struct) rest_of(field.type.structure, at, true);
    } else {
      zeros_to(at.target);
      elements(field.type, bytes32(field.elements()), at.source, at.target);
    }
    written_ = at.target + bytes32(on_to.bytes);
  }
}

void StepWriter::rest_of(std::size_t structure, Place begin, bool with_mtype) {
  fields(structure, begin, with_mtype);
  zeros_to(begin.target + bytes32(to_[structure].size));
}

void StepWriter::loop(std::size_t structure, std::uint32_t count, Place begin) {
  StepWriter inside(types_, from_, to_, ids_only_);
  inside.rest_of(structure, {}, false);
  has_ids_ = has_ids_ || inside.has_ids_;
  const std::vector<Step> body = inside.take();
  if (body.empty()) return;
  Step step;
  step.source_stride = bytes32(from_[structure].size);
  step.target_stride = bytes32(to_[structure].size);
  if (auto all = one_for_all(body, step.source_stride, step.target_stride)) {
    all->count *= count;
    all->source = begin.source;
    all->target = begin.target;
    add(*all);
    return;
  }
  step.code = StepCode::kLoop;
  step.count = count;
  step.source = begin.source;
  step.target = begin.target;
  step.body = static_cast<std::uint32_t>(body.size());
  steps_.push_back(step);
  steps_.insert(steps_.end(), body.begin(), body.end());
  joinable_ = steps_.size();
}

void StepWriter::scalars(const Scalar& scalar, std::uint32_t count, Place begin) {
  const NumberForm on_from = number_form(from_.form(), scalar);
  const NumberForm on_to = number_form(to_.form(), scalar);
  const bool is_id = scalar.meaning != Meaning::kNumber;
  has_ids_ = has_ids_ || is_id;
  if (ids_only_ && !is_id) return;
  Step step;
  step.count = count;
  step.source = begin.source;
  step.target = begin.target;
  if (is_id || on_from.bytes != on_to.bytes) {
    step.code = is_id ? StepCode::kRewrite : StepCode::kResize;
    step.is_signed = scalar.is_signed;
    step.meaning = scalar.meaning;
    step.from = on_from;
    step.to = on_to;
  } else {
    step.code = code_of(on_from.bytes, on_from.swapped != on_to.swapped, count);
    if (step.code == StepCode::kCopy) step.count = count * on_from.bytes;
  }
  add(step);
}

void StepWriter::zeros_to(std::uint32_t target) {
  if (target == written_) return;
  if (!ids_only_) {
    Step step;
    step.code = StepCode::kZero;
    step.target = written_;
    step.count = target - written_;
    add(step);
  }
  written_ = target;
}

}  // namespace dipc
