#include "wire/errors.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>
#include <string>

namespace dipc {
namespace {

constexpr unsigned kLast = static_cast<unsigned>(Error::kStale);

TEST(Errors, NativeNumbersComeBackAsTheSameError) {
  for (unsigned number = 0; number < kLast; ++number) {
    const auto error = static_cast<Error>(number);
    EXPECT_EQ(from_errno(to_errno(error)), error) << errno_name(error);
  }
}

TEST(Errors, NumbersAreThoseOfThisMachine) {
  EXPECT_EQ(to_errno(Error::kNone), 0);
  EXPECT_EQ(to_errno(Error::kRemoved), EIDRM);
  EXPECT_EQ(to_errno(Error::kNoMessage), ENOMSG);
  EXPECT_EQ(to_errno(Error::kConnectionReset), ECONNRESET);
  EXPECT_EQ(to_errno(Error::kNotImplemented), ENOSYS);
}

TEST(Errors, StaleReferenceIsARemovedObjectForPrograms) {
  EXPECT_EQ(to_errno(Error::kStale), EIDRM);
  EXPECT_EQ(from_errno(EIDRM), Error::kRemoved);
}

TEST(Errors, NumberWithoutACounterpartIsInvalid) {
  EXPECT_EQ(from_errno(ENOTTY), Error::kInvalid);
  EXPECT_EQ(from_errno(-1), Error::kInvalid);
  EXPECT_EQ(to_errno(static_cast<Error>(60000)), EINVAL);
}

TEST(Errors, EveryNameIsItsOwn) {
  std::set<std::string> names;
  for (unsigned number = 0; number < kLast; ++number) names.emplace(errno_name(static_cast<Error>(number)));
  EXPECT_EQ(names.size(), kLast);
  EXPECT_EQ(errno_name(Error::kAccess), "EACCES");
  EXPECT_EQ(errno_name(Error::kStale), "EIDRM");
}

}  // namespace
}  // namespace dipc
