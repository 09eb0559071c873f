#pragma once

// Three hosts; segments live on sun.

#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/unit/daemon/segment_hosts_fixture.h"

namespace dipc::test {

inline constexpr PageIndex kPage{0}, kSecond{1};

class ThreeHostsTest : public SegmentHostsTest {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root, as a daemon for several logins does";
    sun_ = &add("sun");
    moon_ = &add("moon");
    earth_ = &add("earth");
  }
  void everybody_attaches(const ObjectRef& segment) {
    for (Host* host : {sun_, moon_, earth_}) EXPECT_EQ(attach(*host, *sun_, segment), Error::kNone);
  }

  Host *sun_ = nullptr, *moon_ = nullptr, *earth_ = nullptr;
};

}  // namespace dipc::test
