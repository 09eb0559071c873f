#include "daemon/io/atomic_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>

namespace dipc {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

class AtomicFile : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "dipc-file-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::size_t entries() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }

  fs::path folder_;
};

TEST_F(AtomicFile, WhatIsWrittenIsRead) {
  const std::string contents(100000, 'x');
  ASSERT_TRUE(write_file_atomically(folder_ / "state", contents));
  EXPECT_TRUE(**read_file(folder_ / "state") == contents);
  ASSERT_TRUE(write_file_atomically(folder_ / "state", ""));
  EXPECT_EQ(**read_file(folder_ / "state"), "");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(AtomicFile, TheModeIsTheOneAskedForWhateverTheUmask) {
  const mode_t before = ::umask(077);
  ASSERT_TRUE(write_file_atomically(folder_ / "public", "x", 0644));
  ::umask(before);
  ASSERT_TRUE(write_file_atomically(folder_ / "private", "x"));
  EXPECT_EQ(fs::status(folder_ / "public").permissions(), fs::perms(0644));
  EXPECT_EQ(fs::status(folder_ / "private").permissions(), fs::perms(0600));
}

TEST_F(AtomicFile, AnAbsentFileIsNoTrouble) {
  const auto read = read_file(folder_ / "none");
  ASSERT_TRUE(read);
  EXPECT_EQ(*read, std::nullopt);
}

TEST_F(AtomicFile, WhatIsNoFileOrTooLargeIsNotRead) {
  ASSERT_EQ(::mkfifo((folder_ / "fifo").c_str(), 0600), 0);
  EXPECT_THAT(read_file(folder_ / "fifo").error().what, HasSubstr("is no regular file"));
  EXPECT_THAT(read_file(folder_).error().what, HasSubstr("is no regular file"));
  ASSERT_TRUE(write_file_atomically(folder_ / "large", std::string(11, 'x')));
  EXPECT_THAT(read_file(folder_ / "large", 10).error().what, HasSubstr("larger than 10 bytes"));
  EXPECT_TRUE(read_file(folder_ / "large", 11));
}

TEST_F(AtomicFile, AMissingFolderIsNamed) {
  const auto written = write_file_atomically(folder_ / "no/state", "x");
  ASSERT_FALSE(written);
  EXPECT_THAT(written.error().what, HasSubstr((folder_ / "no/state").string()));
  EXPECT_THAT(written.error().remedy, HasSubstr("make the folder " + (folder_ / "no").string()));
}

TEST_F(AtomicFile, ALinkLeftInTheWayIsNotFollowed) {
  ASSERT_TRUE(write_file_atomically(folder_ / "victim", "precious"));
  fs::create_symlink(folder_ / "victim", folder_ / ".state.new");
  ASSERT_TRUE(write_file_atomically(folder_ / "state", "x"));
  EXPECT_EQ(**read_file(folder_ / "victim"), "precious");
  EXPECT_EQ(**read_file(folder_ / "state"), "x");
}

// A disk that fills up, in small: the size of files is limited, so write(2) comes back short and then fails.
TEST_F(AtomicFile, AWriteThatFailsLeavesTheOldContents) {
  ASSERT_TRUE(write_file_atomically(folder_ / "state", "old"));
  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, SIG_IGN);
  struct rlimit small = before;
  small.rlim_cur = 4096;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto written = write_file_atomically(folder_ / "state", std::string(10000, 'n'));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, SIG_DFL);
  ASSERT_FALSE(written);
  EXPECT_THAT(written.error().what, HasSubstr("state: can't be written: File too large"));
  EXPECT_EQ(**read_file(folder_ / "state"), "old");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(AtomicFile, AFullDiskSaysWhatToDo) {
  if (::access("/dev/full", W_OK) != 0) GTEST_SKIP() << "no /dev/full";
  // The file beside is made anew, so /dev/full can't take its place; a small tmpfs does where it may be mounted.
  const std::string mount = "mount -t tmpfs -o size=64k none " + folder_.string() + " 2>/dev/null";
  if (::system(mount.c_str()) != 0) GTEST_SKIP() << "no right to mount a small file system";
  ASSERT_TRUE(write_file_atomically(folder_ / "state", "old"));
  const auto written = write_file_atomically(folder_ / "state", std::string(1 << 20, 'n'));
  const auto kept = read_file(folder_ / "state");
  const std::size_t left = entries();
  EXPECT_EQ(::system(("umount " + folder_.string()).c_str()), 0);
  ASSERT_FALSE(written);
  EXPECT_THAT(written.error().what, HasSubstr("No space left on device"));
  EXPECT_THAT(written.error().remedy, HasSubstr("the old file is unchanged"));
  EXPECT_EQ(**kept, "old");
  EXPECT_EQ(left, 1u);
}

// Killed at any moment: the name has the old or the new contents, whole.
TEST_F(AtomicFile, AKilledWriterLeavesAWholeFile) {
  const std::string a(50000, 'a'), b(70000, 'b');
  ASSERT_TRUE(write_file_atomically(folder_ / "state", a));
  for (int round = 0; round < 20; ++round) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (;;) {
        if (!write_file_atomically(folder_ / "state", b) || !write_file_atomically(folder_ / "state", a)) ::_exit(1);
      }
    }
    ::usleep(static_cast<useconds_t>(500 + 370 * round));  // where it is killed does not matter, only that it differs
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status));
    const auto read = read_file(folder_ / "state");
    ASSERT_TRUE(read && *read);
    EXPECT_TRUE(**read == a || **read == b);
  }
}

}  // namespace
}  // namespace dipc
