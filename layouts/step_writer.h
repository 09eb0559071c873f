#pragma once

// Makes the steps that turn one struct into another: what a conversion is compiled with.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "layouts/declarations.h"
#include "layouts/shape.h"
#include "layouts/steps.h"

namespace dipc {

// Numbers of that many bytes in a step. DIPC_CHECK: they fit; structs that would need more were refused.
std::uint32_t bytes32(std::uint64_t bytes);

// A scalar as this machine finds it in a form.
NumberForm number_form(const Form& form, const Scalar& scalar);

// Steps for one struct after another, in one list. Borrows all it is given.
class StepWriter {
 public:
  // `ids_only`: what is neither a pid nor a login is in its place already.
  StepWriter(const TypeSet& types, const Shapes& from, const Shapes& to, bool ids_only)
      : types_(types), from_(from), to_(to), ids_only_(ids_only) {}

  // The payload of a struct up to its open array, with zeros for padding. `mtype`: of a message, whose payload begins
  // behind it.
  void payload(std::size_t structure, const std::optional<Scalar>& mtype);
  // `count` of them, the first at these offsets.
  void elements(const TypeUse& type, std::uint32_t count, std::uint32_t source, std::uint32_t target);

  std::vector<Step> take() { return std::move(steps_); }
  bool has_ids() const { return has_ids_; }

 private:
  struct Place {
    std::uint32_t source = 0;
    std::uint32_t target = 0;
  };
  void fields(std::size_t structure, Place begin, bool with_mtype);
  void rest_of(std::size_t structure, Place begin, bool with_mtype);
  void loop(std::size_t structure, std::uint32_t count, Place begin);
  void scalars(const Scalar& scalar, std::uint32_t count, Place begin);
  void zeros_to(std::uint32_t target);
  void add(const Step& step) { append_step(steps_, joinable_, step); }

  const TypeSet& types_;
  const Shapes& from_;
  const Shapes& to_;
  const bool ids_only_;
  std::vector<Step> steps_;
  std::size_t joinable_ = 0;   // steps before it are a loop's, no neighbours of what comes
  std::uint32_t written_ = 0;  // of the target: where padding begins, if the next field does not
  bool has_ids_ = false;
};

// The one step that does all elements of an array if its count is theirs together: there is nothing between them that
// it would not do. Nothing: these steps, made for one element, are no such step.
std::optional<Step> one_for_all(const std::vector<Step>& element, std::uint32_t source_stride,
                                std::uint32_t target_stride);

}  // namespace dipc
