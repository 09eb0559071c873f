#pragma once

// Reads what a daemon wrote as JSON into values, member by member. Nothing here throws.

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "daemon/core/number_text.h"
#include "daemon/core/object_name.h"

namespace dipc {

// Members stay in the order in which they were written: people read this too.
using Json = nlohmann::ordered_json;

// One object. take(): the member of that name, if there is one; else the value stays as it is. The first that is of
// another type, or not good as what it is taken for, is noted in `error`.
class JsonReader {
 public:
  // Both borrowed.
  JsonReader(const Json& object, std::string& error) : object_(object), error_(error) {
    if (!object.is_object()) error_ = "an object is expected";
  }
  void take(const char* name, std::string& into) const;
  void take(const char* name, bool& into) const;
  void take(const char* name, std::uint64_t& into) const;
  void take(const char* name, std::int64_t& into) const;
  void take(const char* name, std::int32_t& into) const;
  template <typename T>
  void take(const char* name, std::optional<T>& into) const {
    if (const Json* field = find(name); field != nullptr && !field->is_null()) {
      T value{};
      take(name, value);
      into = value;
    }
  }
  void take(const char* name, std::vector<std::string>& into) const;
  void take(const char* name, std::map<std::string, std::uint64_t>& into) const;
  void take(ObjectName& into) const;
  void take_key(std::int32_t& into) const;
  // A number in a string, since it may have more than 53 bits.
  template <typename T>
  void take_written(const char* name, T& into) const {
    if (find(name) == nullptr) return;
    std::string text;
    take(name, text);
    if (const auto number = parse_prefixed_number<T>(text)) {
      into = *number;
    } else {
      wrong(name);
    }
  }
  void take_bytes(const char* name, std::string& into) const;
  void take_octal(const char* name, std::uint32_t& into) const;

  // Of an array, an object, an array of objects.
  template <typename Function>
  void each(const char* name, Function function) const {
    const Json* field = find(name);
    if (field == nullptr) return;
    if (!field->is_array()) return wrong(name);
    for (const Json& element : *field) function(element);
  }
  template <typename Function>
  void object(const char* name, Function function) const {
    if (const Json* field = find(name)) function(JsonReader(*field, error_));
  }
  template <typename T, typename Function>
  void objects(const char* name, std::vector<T>& into, Function function) const {
    each(name, [&](const Json& element) {
      T value;
      function(JsonReader(element, error_), value);
      into.push_back(std::move(value));
    });
  }

 private:
  const Json* find(const char* name) const;
  void wrong(const char* name) const;

  const Json& object_;
  std::string& error_;
};

}  // namespace dipc
