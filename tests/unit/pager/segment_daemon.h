#pragma once

// A paged host with a daemon's socket, so that programs attach its segment by shmat through the shim. It knows one
// distributed segment; all other objects are the kernel's.

#include <map>
#include <memory>
#include <string>

#include "tests/unit/pager/paged_host.h"
#include "wire/local.h"

namespace dipc::test {

inline constexpr int kSegmentId = 1'000'000;  // no kernel gives such an id to the few objects of a test

// What the programs and the other hosts of a test count in a page.
struct CountedPage {
  std::uint32_t counted;   // by programs
  std::uint32_t declared;  // how often they did
  std::uint32_t others;    // by other hosts
};

class SegmentDaemon : public PagedHost {
 public:
  explicit SegmentDaemon(Options options = {});
  ~SegmentDaemon() override;
  const std::string& socket_path() const { return path_; }
  int attach_error = 0;  // what shmat is answered with instead
  std::uint32_t connections = 0;

  void on_attached(AttachTicket ticket, int error) override;
  void on_settled(std::uint64_t token) override;

 private:
  void on_connection();
  void on_request(int client);
  void answer(int client, local::Reply reply, const local::AttachOffer* offer = nullptr,
              const AttachOffer* descriptors = nullptr);

  std::string folder_;
  std::string path_;
  Descriptor listener_;
  std::vector<Descriptor> clients_;
  struct Waiting {
    int client = -1;
    std::uint64_t call = 0;
  };
  std::map<AttachTicket, Waiting> attaching_;
  std::map<std::uint64_t, Waiting> detaching_;  // by token
  std::uint64_t next_token_ = std::uint64_t{1} << 32;
};

// Whether these programs run under qemu.
bool is_emulated();

// Runs the test's function `name` of the subject program under the shim, as a process of `daemon`.
std::unique_ptr<Process> run_under_shim(SegmentDaemon& daemon, const std::string& name);

}  // namespace dipc::test
