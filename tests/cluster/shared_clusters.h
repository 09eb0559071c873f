#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>

#include "tests/cluster/cluster.h"

namespace dipc::test {

// A suite whose tests use the same labs: one with a guest takes seconds to come up. They go down after the last test.
// `Parameter`: of its tests, which says as a rule which lab they want.
template <typename Parameter>
class SharedClusters : public testing::TestWithParam<Parameter> {
 protected:
  // The lab of that name is `cluster_` from now on; brought up (see Cluster) by the first test that wants it. True:
  // that was now.
  bool use(const std::string& name, const std::string& referee, const std::string& rest) {
    std::unique_ptr<Cluster>& cluster = clusters()[name];
    const bool is_first = cluster == nullptr;
    if (is_first) cluster = std::make_unique<Cluster>(name, referee, rest);
    cluster_ = cluster.get();
    return is_first;
  }
  static void TearDownTestSuite() { clusters().clear(); }

  const Cluster* cluster_ = nullptr;

 private:
  static std::map<std::string, std::unique_ptr<Cluster>>& clusters() {
    static std::map<std::string, std::unique_ptr<Cluster>> all;
    return all;
  }
};

}  // namespace dipc::test
