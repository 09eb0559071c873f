#pragma once

// What a command line with sub-commands says of a word that is none of them. CLI11 says only that one is required.

#include <CLI/CLI.hpp>
#include <string>

namespace dipc {

// After app.parse() has thrown: "dipc lab: there is no 'sttus'; there are: up, exec, ...". Empty: the mistake is
// another.
inline std::string unknown_verb(const CLI::App& app) {
  const CLI::App* at = &app;
  std::string path = app.get_name();
  while (!at->get_subcommands().empty()) {
    at = at->get_subcommands().front();
    path += " " + at->get_name();
  }
  std::string verbs;
  for (const CLI::App* verb : at->get_subcommands([](const CLI::App*) { return true; })) {
    verbs += (verbs.empty() ? "" : ", ") + verb->get_name();
  }
  if (verbs.empty()) return {};
  for (const std::string& word : app.remaining(true)) {
    if (!word.starts_with('-')) return path + ": there is no '" + word + "'; there are: " + verbs;
  }
  return {};
}

}  // namespace dipc
