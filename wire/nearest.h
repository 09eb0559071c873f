#pragma once

// What a person meant who wrote a name that there is not, for the remedy of a Trouble.

#include <span>
#include <string>
#include <string_view>

namespace dipc {

// The candidate that takes the fewest letters changed, left out, put in or swapped with their neighbour: at most a
// third of them, not all of them; capitals count as small letters. Empty: none is as near. Source: the optimal string
// alignment distance, of Damerau's four mistakes (CACM 7(3), 1964).
std::string nearest(std::string_view written, std::span<const std::string_view> candidates);

}  // namespace dipc
