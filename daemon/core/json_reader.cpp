#include "daemon/core/json_reader.h"

#include <charconv>
#include <limits>

namespace dipc {

void JsonReader::take(const char* name, std::string& into) const {
  if (const Json* field = find(name)) {
    if (field->is_string())
      into = field->get<std::string>();
    else
      wrong(name);
  }
}

void JsonReader::take(const char* name, bool& into) const {
  if (const Json* field = find(name)) {
    if (field->is_boolean())
      into = field->get<bool>();
    else
      wrong(name);
  }
}

void JsonReader::take(const char* name, std::uint64_t& into) const {
  if (const Json* field = find(name)) {
    if (field->is_number_unsigned())
      into = field->get<std::uint64_t>();
    else
      wrong(name);
  }
}

void JsonReader::take(const char* name, std::int64_t& into) const {
  if (const Json* field = find(name)) {
    const bool fits = field->is_number_integer() &&
                      (!field->is_number_unsigned() ||
                       field->get<std::uint64_t>() <= std::uint64_t{std::numeric_limits<std::int64_t>::max()});
    if (fits)
      into = field->get<std::int64_t>();
    else
      wrong(name);
  }
}

void JsonReader::take(const char* name, std::int32_t& into) const {
  std::int64_t wide = into;
  take(name, wide);
  if (wide >= std::numeric_limits<std::int32_t>::min() && wide <= std::numeric_limits<std::int32_t>::max()) {
    into = static_cast<std::int32_t>(wide);
  } else {
    wrong(name);
  }
}

void JsonReader::take(const char* name, std::vector<std::string>& into) const {
  each(name, [&](const Json& element) {
    if (element.is_string())
      into.push_back(element.get<std::string>());
    else
      wrong(name);
  });
}

void JsonReader::take(const char* name, std::map<std::string, std::uint64_t>& into) const {
  const Json* field = find(name);
  if (field == nullptr) return;
  if (!field->is_object()) return wrong(name);
  for (const auto& [key, value] : field->items()) {
    if (value.is_number_unsigned())
      into[key] = value.get<std::uint64_t>();
    else
      wrong(name);
  }
}

void JsonReader::take(ObjectName& into) const {
  std::string kind, key;
  take("kind", kind);
  take("key", key);
  const auto known_kind = kind_from_name(kind);
  const auto known_key = parse_key(key);
  if (!known_kind) return wrong("kind");
  if (!known_key) return wrong("key");
  into = ObjectName{*known_kind, *known_key};
}

void JsonReader::take_key(std::int32_t& into) const {
  std::string text = format_key(into);
  take("key", text);
  if (const auto key = parse_key(text)) {
    into = *key;
  } else {
    wrong("key");
  }
}

void JsonReader::take_bytes(const char* name, std::string& into) const {
  std::string text;
  take(name, text);
  into.clear();
  for (std::size_t i = 0; i < text.size(); i += 2) {
    unsigned char byte = 0;
    const char* const pair = text.data() + i;
    if (i + 2 > text.size() || std::from_chars(pair, pair + 2, byte, 16).ptr != pair + 2) return wrong(name);
    into.push_back(static_cast<char>(byte));
  }
}

void JsonReader::take_octal(const char* name, std::uint32_t& into) const {
  std::string text;
  take(name, text);
  const auto number = parse_number<std::uint32_t>(text, 8);
  if (number && *number <= 0777) {
    into = *number;
  } else {
    wrong(name);
  }
}

const Json* JsonReader::find(const char* name) const {
  if (!object_.is_object()) return nullptr;
  const auto found = object_.find(name);
  return found == object_.end() ? nullptr : &*found;
}

void JsonReader::wrong(const char* name) const {
  if (error_.empty()) error_ = std::string("field '") + name + "' is missing or of another type";
}

}  // namespace dipc
