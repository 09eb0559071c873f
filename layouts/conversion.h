#pragma once

// Carries payloads from one form of a struct to another: a sender's native form to the canonical one, that to a
// receiver's, or straight from one machine's to another's. Compiled once for a struct and two forms, then run for each
// message without allocating.
//
//   auto types = std::make_shared<const TypeSet>(*parse_types(files));
//   auto out = Conversion::compile(types, Kind::kMessageQueue, *types->find("request"), *Form::native(measured_abi()),
//                                  Form::canonical());
//   const Converted done = out->convert({payload, {}}, buffer);
//   if (done.error != Error::kNone) log(out->describe(done));
//
// A queue's struct begins with a long: the mtype, which is no part of the payload and travels as a number of 64 bits.
// What is between it and the next field (padding on some machines) is payload. A segment's struct is payload as a
// whole, whatever it begins with.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "layouts/declarations.h"
#include "layouts/id_rewriter.h"
#include "layouts/shape.h"
#include "layouts/shuffles.h"
#include "wire/errors.h"
#include "wire/result.h"

namespace dipc {

// Senders count up to the last field or to the end of the struct, and receivers expect the same: it travels beside a
// canonical payload, which has no padding to tell by.
enum class Ending : std::uint8_t { kLastField = 0, kPadded = 1 };

struct Payload {
  std::span<const std::byte> bytes;
  Ending ending = Ending::kLastField;  // a canonical payload's; of a native one the length says it
};

struct Converted {
  // kNone; kOverflow: a value does not fit the other form. kInvalid: the payload is none of this layout, or what the
  // rewriter said. kTooBig: the result does not fit the buffer, or any message (kPayloadBytesMax).
  Error error = Error::kNone;
  Ending ending = Ending::kLastField;  // of the payload: to be sent beside a canonical result
  std::uint32_t bytes = 0;             // of the result

  // Of an error, for describe():
  enum class Reason : std::uint8_t { kNone, kLength, kCount, kNegativeCount, kValue, kRewrite, kRoom };
  Reason reason = Reason::kNone;
  bool is_signed = false;      // is `value` one that was negative, if its high bit is set?
  std::uint32_t at = 0;        // byte of the payload where the field lies
  std::uint32_t expected = 0;  // kCount: elements that the payload has; kRoom: the buffer's bytes
  std::uint64_t value = 0;     // what it holds; kLength: the payload's bytes; kRoom: the result's
};

// Payloads of more are none of any layout; msgsnd knows none so large.
inline constexpr std::uint32_t kPayloadBytesMax = 0x7fffffff;

class Conversion {
 public:
  // kPlain: as on a processor without byte shuffles.
  enum class Engine : std::uint8_t { kBest, kPlain };
  // `kind`: a queue or a segment; `structure`: index into types->structs. Trouble: no message (TypeSet::mtype_of), or
  // larger than kPayloadBytesMax on an ABI with unusual alignments. DIPC_CHECK: there is such a struct; semaphores have
  // none.
  static Result<Conversion> compile(std::shared_ptr<const TypeSet> types, Kind kind, std::size_t structure,
                                    const Form& from, const Form& to, Engine engine = Engine::kBest);

  // Writes the result at the begin of `out`, padding as zeros. Where the payload is as long with tail padding as
  // without, a fixed struct counts as padded, an open array as not (its elements must stay as many). A padded result
  // that has no room in `out` ends at its last field. `out` must not overlap `in`; on errors its contents are
  // undefined.
  Converted convert(const Payload& in, std::span<std::byte> out, IdRewriter* rewriter = nullptr) const;

  // What an error says to people: "request.items[3].weight is 4294967296, which ... does not fit". Error only.
  Trouble describe(const Converted& failed) const;

  // The largest payload in the source's form whose result fits `room` bytes: what to pass to msgrcv so that the kernel
  // says E2BIG with the message still queued. Nothing: no payload does.
  std::optional<std::size_t> largest_source_bytes(std::size_t room) const;
  // Room that every result of a payload of at most `source_bytes` fits; at most kPayloadBytesMax, as results are.
  std::size_t largest_result_bytes(std::size_t source_bytes) const;

  // Payloads pass byte for byte (pids and logins apart).
  bool is_copy() const { return is_copy_; }
  // Are there fields that a rewriter is asked for?
  bool has_ids() const { return has_ids_; }

 private:
  // One form's lengths.
  struct Side {
    std::uint64_t mtype_bytes = 0;  // of the mtype, which is before the payload
    std::uint64_t align = 1;
    std::uint64_t end = 0;     // of the last field, the open array left out; from the payload's begin
    std::uint64_t padded = 0;  // no open array: sizeof; from the payload's begin
    std::uint64_t stride = 0;  // of the open array; 0: there is none
    bool counted = false;      // the open array is: padding behind it is told from elements
    std::uint64_t length(std::uint64_t elements, Ending ending) const {
      if (stride == 0) return ending == Ending::kPadded ? padded : end;
      const std::uint64_t last = end + elements * stride;
      const std::uint64_t with_padding = ((mtype_bytes + last + align - 1) & ~(align - 1)) - mtype_bytes;
      const bool tells = counted || with_padding - last < stride;  // else a receiver would take padding for elements
      return ending == Ending::kPadded && tells ? with_padding : last;
    }
    static Side of(const StructDeclaration& declared, const Shapes& shapes, std::size_t structure,
                   const std::optional<Scalar>& mtype);
  };
  struct Counter {
    std::uint32_t source = 0;
    NumberForm form;
    bool is_signed = false;
  };
  struct Measured {  // what a source's length says
    std::uint64_t elements = 0;
    Ending ending = Ending::kLastField;
  };

  Conversion(std::shared_ptr<const TypeSet> types, std::size_t structure, const std::optional<Scalar>& mtype,
             Shapes from_shapes, Shapes to_shapes, Engine engine);
  Counter counter_of(const std::vector<std::size_t>& path) const;
  bool measure(const Payload& in, Measured& measured, Converted& failed) const;
  bool wrong_length(std::uint64_t bytes, Converted& failed) const;  // always false
  bool wrong_count(std::uint64_t count, std::uint64_t elements, Converted& failed) const;

  std::shared_ptr<const TypeSet> types_;
  std::size_t structure_;
  Shapes from_shapes_;
  Shapes to_shapes_;
  Side from_;
  Side to_;
  std::optional<Counter> counter_;
  Program fixed_;                // for the fields before the open array
  Program element_;              // for one element of it
  bool element_is_run_ = false;  // element_ is one step that does all elements at once with another count
  bool is_copy_ = false;
  bool has_ids_ = false;
};

}  // namespace dipc
