#pragma once

// Which number each host of the cluster has, by which pids of several hosts are told apart (id_passage.h). The referee
// gives them, and a host keeps its own for ever: messages that rest in queues hold pids that were made with it.

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace dipc {

class HostNumbers {
 public:
  using Table = std::map<std::string, std::uint16_t>;

  HostNumbers() = default;
  explicit HostNumbers(Table table) : table_(std::move(table)) {}

  // The number of a host that says it has `had`, 0 = none. A host that is new here gets the one that it had, if nobody
  // else has that, else the smallest that is free; 0: none is.
  std::uint16_t give(const std::string& host, std::uint16_t had);
  bool knows(const std::string& host) const { return table_.contains(host); }
  const Table& table() const { return table_; }

 private:
  bool is_free(std::uint16_t number) const;

  Table table_;
};

}  // namespace dipc
