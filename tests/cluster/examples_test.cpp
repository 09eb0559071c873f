// The programs of examples/ that others than `make demo` have to be sure of.

#include <gtest/gtest.h>

#include "tests/cluster/cluster.h"

namespace dipc::test {
namespace {

TEST(Examples, HeatOnSeveralHostsIsWhatOneProcessMakesOfIt) {
  if (!am_root()) GTEST_SKIP() << "needs root: a lab has namespaces";
  const Cluster cluster("examples", "vax",
                        "[[host]]\nname = \"vax\"\nlogins = { alice = 1001 }\n"
                        "[[host]]\nname = \"sun\"\nlogins = { alice = 1001 }\n"
                        "[[host]]\nname = \"moon\"\nlogins = { alice = 1001 }\n"
                        "[[keys]]\nrange = \"all\"\nhome = \"sun\"\n");
  const std::string heat = native_program("examples/heat");
  const auto sun = cluster.start("sun", "alice", {heat, "1", "3", "2"});
  const auto moon = cluster.start("moon", "alice", {heat, "2", "3", "2"});
  const auto vax = cluster.run("vax", "alice", {heat, "0", "3", "2"});
  EXPECT_EQ(vax.status, 0) << vax.output;  // it has compared
  for (Program* other : {sun.get(), moon.get()}) {
    std::string output;
    EXPECT_EQ(other->wait(std::chrono::seconds(20), &output), 0) << output;
  }
}

}  // namespace
}  // namespace dipc::test
