#pragma once

// What *.types files declare: C structs that programs put into messages and segments, and which key carries which.
// Plain values without any machine in them; shape.h places them for one, conversion.h carries payloads between two.
// docs/LAYOUTS.md has the grammar.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "wire/messages.h"
#include "wire/result.h"

namespace dipc {

// Limits of what can be declared.
inline constexpr std::uint32_t kAlignedMax = 4096;
inline constexpr unsigned kStructDepthMax = 32;            // structs in structs
inline constexpr std::uint64_t kStructPlacesMax = 65'536;  // scalars in a struct with its nested ones; an array is one

// What is behind the name of a type, as far as places and conversion are concerned: int32_t is int, bool is a byte.
enum class ScalarKind : std::uint8_t { kByte, kShort, kInt, kLong, kLongLong, kInt64, kSize, kTime, kFloat, kDouble };

// What a number stands for. Others than kNumber mean something on one host only, and are rewritten on the way.
enum class Meaning : std::uint8_t { kNumber, kPid, kUid, kGid };

struct Scalar {
  ScalarKind kind = ScalarKind::kInt;
  bool is_signed = true;
  Meaning meaning = Meaning::kNumber;
  friend bool operator==(const Scalar&, const Scalar&) = default;
};

// The scalar that C's or our name means: "unsigned long int" (words in any order), "size_t", "uint8_t". Nothing: no
// such scalar.
std::optional<Scalar> scalar_named(const std::vector<std::string_view>& words);
// All words that scalars are named by.
std::vector<std::string_view> scalar_words();

struct TypeUse {
  std::string text;           // as in a declaration: "unsigned long", "struct point", "pid long"
  bool is_struct = false;     // then `structure`, else `scalar`
  Scalar scalar;              // an enum is one too
  std::size_t structure = 0;  // index into TypeSet::structs, before the struct that has the field
  std::optional<std::size_t> enumeration = std::nullopt;  // index into TypeSet::enums, of an enum with a name
};

struct Field {
  enum class Extent : std::uint8_t {
    kFixed,    // as many elements as `dimensions` say
    kOpen,     // the last field: whatever the payload still has
    kCounted,  // the last field: as many as an earlier field says
  };
  std::string name;
  TypeUse type;
  std::vector<std::uint32_t> dimensions;  // outermost first, without the one that is open or counted
  Extent extent = Extent::kFixed;
  std::vector<std::size_t> counter;  // kCounted: field of this struct, field of that field, ...
  std::string counter_text;          // kCounted: "header.count"
  bool packed = false;
  std::uint32_t aligned = 1;  // at least this; a power of two
  std::string place;          // of its name: "chat.types:3:8"; empty where no file has it

  std::uint64_t elements() const;  // the product of dimensions; 1 without any
};

struct StructDeclaration {
  std::string name;           // without "struct"; of one declared inside another: "outer.field", and `tagged` is false
  std::string place;          // "chat.types:3:8"
  std::vector<Field> fields;  // never empty
  bool tagged = true;
  bool packed = false;
  std::uint32_t aligned = 1;

  bool is_open() const { return fields.back().extent != Field::Extent::kFixed; }
};

struct EnumDeclaration {
  struct Member {
    std::string name;
    std::int64_t value = 0;
  };
  std::string name;       // may be empty: its members are constants all the same
  TypeUse type;           // what holds it: an integer
  bool has_type = false;  // was it said? Else it is int, or unsigned without negative members, as in C
  std::vector<Member> members;
};

// bind msg 0x1000-0x1fff, private to { 1: request; 2-9: reply; default: note; }
struct Binding {
  struct Keys {
    enum class Which : std::uint8_t { kRange, kAll, kPrivate };
    Which which = Which::kRange;
    std::uint32_t first = 0;  // kRange; the negative key_t values are those above 0x7fffffff
    std::uint32_t last = 0;   // included
    std::string place;
  };
  struct MtypeCase {
    std::int64_t first = 0;
    std::int64_t last = 0;  // included
    std::size_t structure = 0;
  };
  Kind kind = Kind::kMessageQueue;       // a queue or a segment
  std::vector<Keys> keys;                // never empty
  std::vector<MtypeCase> cases;          // queues; in the order of the types, without overlaps
  std::optional<std::size_t> otherwise;  // every other mtype, or the segment; index into TypeSet::structs

  // The struct that a message of this type carries; nothing: none was declared.
  std::optional<std::size_t> structure_for(std::int64_t mtype) const;
  bool has(std::size_t structure) const;  // for some mtype
};

struct TypeSet {
  std::vector<StructDeclaration> structs;  // each after those it contains
  std::vector<EnumDeclaration> enums;
  std::vector<Binding> bindings;
  std::map<std::string, std::size_t, std::less<>> typedefs;  // of structs

  // "request" or "struct request", or a typedef of it.
  std::optional<std::size_t> find(std::string_view name) const;
  // The mtype of messages that are this struct: the `long` that it begins with, in a nested struct or not. It is no
  // part of the payload, so it can't count an array. Trouble, without a place: this struct is no message.
  Result<Scalar> mtype_of(std::size_t structure) const;
  // Every pid, uid and gid that a struct has, in nested ones too, up to a number of them.
  struct IdField {
    std::string path;  // "slots.owner"
    const Field* field;
  };
  std::vector<IdField> ids_in(std::size_t structure, std::size_t ids_max) const;
  // The binding of this object: a range that has the key, else `all`; IPC_PRIVATE (key 0) has `private` alone. Null:
  // none.
  const Binding* binding_for(Kind kind, std::int32_t key) const;
};

// Declarations as text that parse_types() reads back as the same: the struct with what it needs of `types` before it.
// Not longer than was declared by much: a struct without a name is written once for all fields that were declared by
// it.
std::string to_declaration(const TypeSet& types, std::size_t structure);
// Likewise of several, each once.
std::string to_declaration(const TypeSet& types, const std::vector<std::size_t>& structures);
// "0x00004711-0x00004718, all, private"
std::string keys_text(const Binding& binding);
// "bind msg KEYS to { 1: request; default: note; };" and the end of the line; `keys` as they are to stand there.
std::string to_declaration(const TypeSet& types, const Binding& binding, const std::string& keys);
// "unsigned long name[8] packed"; of a struct without a name only "struct {...}".
std::string to_declaration(const Field& field);

}  // namespace dipc
