#include "daemon/core/state_file.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "daemon/core/configuration.h"
#include "daemon/core/id_passage.h"
#include "daemon/core/number_text.h"
#include "daemon/core/object_name.h"
#include "daemon/core/text_lines.h"
#include "wire/check.h"

namespace dipc {
namespace {

constexpr std::string_view kMagic = "dipc-state";
constexpr unsigned kVersion = 1;

bool is_word(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~' && c != '#'; });
}

// "id 5" as two words at `at`; the number only where the label is there too.
template <typename T>
std::optional<T> labelled(const TextLine& line, std::size_t at, std::string_view label) {
  if (at + 1 >= line.words.size() || line.words[at] != label) return std::nullopt;
  return parse_prefixed_number<T>(line.words[at + 1]);
}

std::optional<ObjectName> object_name(const TextLine& line) {
  if (line.words.size() < 3) return std::nullopt;
  const auto kind = kind_from_name(line.words[1]);
  const auto key = parse_key(line.words[2]);
  if (!kind || !key) return std::nullopt;
  return ObjectName{*kind, *key};
}

constexpr std::pair<OwnedObject::State, std::string_view> kOwnedStates[] = {
    {OwnedObject::State::kRegistering, "registering"},
    {OwnedObject::State::kLive, "live"},
    {OwnedObject::State::kFenced, "fenced"},
};

std::optional<OwnedObject> owned_object(const TextLine& line) {
  const auto name = object_name(line);
  const auto id = labelled<std::int32_t>(line, 3, "id");
  const auto generation = labelled<std::uint64_t>(line, 5, "generation");
  const auto size = labelled<std::int64_t>(line, 7, "size");
  if (!name || !id || *id < 0 || !generation || !size || *size < 0 || line.words.size() != 10) return std::nullopt;
  for (const auto& [state, word] : kOwnedStates) {
    if (line.words[9] == word) return OwnedObject{*name, ObjectRef{name->kind, *id, *generation}, *size, state};
  }
  return std::nullopt;
}

std::optional<StandIn> stand_in(const TextLine& line) {
  const auto name = object_name(line);
  const auto id = labelled<std::int32_t>(line, 3, "id");
  const auto ref = labelled<std::int32_t>(line, 7, "ref");
  const auto generation = labelled<std::uint64_t>(line, 9, "generation");
  const auto nsems = labelled<std::int64_t>(line, 11, "nsems");
  if (!name || !id || *id < 0 || !ref || *ref < 0 || !generation || !nsems || *nsems < 0) return std::nullopt;
  if (line.words.size() != 13 || line.words[5] != "owner" || !is_host_name(line.words[6])) return std::nullopt;
  return StandIn{*name, *id, std::string(line.words[6]), ObjectRef{name->kind, *ref, *generation}, *nsems};
}

std::size_t count_of(const DaemonState& state) {
  return state.owned.size() + state.stand_ins.size() + state.making.size() + (state.number != 0 ? 1 : 0);
}

std::optional<Making> making(const TextLine& line) {
  const auto name = object_name(line);
  const auto uid = labelled<std::uint32_t>(line, 3, "uid");
  if (!name || !uid || line.words.size() != 5) return std::nullopt;
  return Making{*name, *uid};
}

}  // namespace

std::string render_state(const DaemonState& state) {
  DIPC_CHECK(is_word(state.boot));
  std::string text;
  text.append(kMagic).append(" ").append(std::to_string(kVersion)).append("\n");
  text.append("boot ").append(state.boot).append("\n");
  text.append("incarnation ").append(hexadecimal(static_cast<std::uint64_t>(state.incarnation))).append("\n");
  if (state.number != 0) text.append("number ").append(std::to_string(state.number)).append("\n");
  const auto begin = [&](std::string_view what, const ObjectName& name, std::int32_t id) {
    text.append(what).append(" ").append(kind_name(name.kind)).append(" ").append(format_key(name.key));
    text.append(" id ").append(std::to_string(id));
  };
  for (const OwnedObject& object : state.owned) {
    begin("owned", object.name, object.ref.id);
    text.append(" generation ").append(hexadecimal(object.ref.generation));
    text.append(" size ").append(std::to_string(object.size));
    for (const auto& [value, word] : kOwnedStates) {
      if (value == object.state) text.append(" ").append(word).append("\n");
    }
  }
  for (const StandIn& placeholder : state.stand_ins) {
    DIPC_CHECK(is_host_name(placeholder.owner));
    begin("stand-in", placeholder.name, placeholder.id);
    text.append(" owner ").append(placeholder.owner).append(" ref ").append(std::to_string(placeholder.object.id));
    text.append(" generation ").append(hexadecimal(placeholder.object.generation));
    text.append(" nsems ").append(std::to_string(placeholder.nsems)).append("\n");
  }
  for (const Making& one : state.making) {
    text.append("making ").append(kind_name(one.name.kind)).append(" ").append(format_key(one.name.key));
    text.append(" uid ").append(std::to_string(one.uid)).append("\n");
  }
  return text.append("end ").append(std::to_string(count_of(state))).append("\n");
}

Result<DaemonState> parse_state(std::string_view text, std::string_view file) {
  const std::string remedy =
      "take it from a backup, or move it away: dipcd then starts without knowing which stand-ins in this kernel are "
      "its own, "
      "and they must be removed with ipcrm (mode 000, owner root in ipcs)";
  const auto wrong = [&](std::size_t line, const std::string& what, const std::string& how) {
    return tl::unexpected<Trouble>(trouble_at(file, line, what, how));
  };
  const std::vector<TextLine> lines = split_lines(text);
  const std::size_t last_line = static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')) + 1;
  if (lines.empty()) return wrong(1, "the file is empty", remedy);
  if (lines[0].words[0] != kMagic || lines[0].words.size() != 2) {
    return wrong(lines[0].number, "this is not a state file of dipcd", remedy);
  }
  if (const auto version = parse_prefixed_number<unsigned>(lines[0].words[1]); version != kVersion) {
    return wrong(lines[0].number,
                 "the state is of version " + in_quotes(lines[0].words[1]) + ", this dipcd reads version " +
                     std::to_string(kVersion),
                 "start the dipcd that wrote it; " + remedy);
  }

  DaemonState state;
  bool has_incarnation = false;
  std::set<std::pair<Kind, std::int32_t>> ids;
  const auto fresh = [&](Kind kind, std::int32_t id) { return ids.emplace(kind, id).second; };
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const TextLine& line = lines[i];
    const std::string_view what = line.words[0];
    bool good = false;
    bool twice = false;
    if (what == "boot" && line.words.size() == 2 && state.boot.empty() && is_word(line.words[1])) {
      state.boot = line.words[1];
      good = true;
    } else if (const auto value = labelled<std::uint64_t>(line, 0, "incarnation");
               value && line.words.size() == 2 && !has_incarnation) {
      state.incarnation = static_cast<Incarnation>(*value);
      good = has_incarnation = true;
    } else if (const auto number = labelled<std::uint16_t>(line, 0, "number");
               number && *number > 0 && *number <= kHostNumberMax && line.words.size() == 2 && state.number == 0) {
      state.number = *number;
      good = true;
    } else if (what == "owned") {
      if (auto object = owned_object(line)) {
        good = true;
        twice = !fresh(object->name.kind, object->ref.id);
        state.owned.push_back(*object);
      }
    } else if (what == "stand-in") {
      if (auto placeholder = stand_in(line)) {
        good = true;
        twice = !fresh(placeholder->name.kind, placeholder->id);
        state.stand_ins.push_back(std::move(*placeholder));
      }
    } else if (what == "making") {
      if (const auto one = making(line)) {
        good = true;
        state.making.push_back(*one);
      }
    } else if (what == "end" && line.words.size() == 2) {
      const std::size_t count = count_of(state);
      if (i + 1 != lines.size()) return wrong(lines[i + 1].number, "there is more after the end", remedy);
      if (text.back() != '\n') return wrong(line.number, "the file is cut short in its last line", remedy);
      if (parse_prefixed_number<std::uint64_t>(line.words[1]) != count) {
        return wrong(line.number,
                     "the end counts " + in_quotes(line.words[1]) + " objects, but there are " + std::to_string(count),
                     remedy);
      }
      if (state.boot.empty() || !has_incarnation) {
        return wrong(line.number, "boot or incarnation is missing", remedy);
      }
      return state;
    }
    // A line that is cut is the last one: say so, rather than puzzle over its words.
    if (!good && i + 1 == lines.size()) break;
    if (!good) return wrong(line.number, "this line makes no sense: " + in_quotes(what), remedy);
    if (twice) return wrong(line.number, "this id stands there twice", remedy);
  }
  return wrong(last_line, "the file is cut short: there is no line 'end'", remedy);
}

}  // namespace dipc
