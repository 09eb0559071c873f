#pragma once

// The memory of one segment on this host: a memfd, in which a page that the host does not have is a hole. It is the
// daemon's (mode 0600), so that a program which was given it for reading can't open it again for writing.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "wire/descriptor.h"
#include "wire/messages.h"
#include "wire/result.h"

namespace dipc {

std::size_t kernel_page_bytes();

// Bytes of a memfd. All offsets and lengths are multiples of the kernel's page.
class SegmentMemory {
 public:
  // `bytes`: a multiple of the kernel's page. `name` is for /proc/PID/maps. Trouble: no descriptors or memory, or more
  // than an address space has.
  static Result<SegmentMemory> make(const std::string& name, std::uint64_t bytes);

  // One that was made by an earlier daemon.
  static SegmentMemory take_over(Descriptor fd, std::size_t bytes) { return SegmentMemory(std::move(fd), bytes); }

  int fd() const { return fd_.get(); }
  std::size_t bytes() const { return bytes_; }
  // Another descriptor of it, to be given away. None, with errno set, if there is none to be had.
  Descriptor share(bool writable) const;

  // Takes the bytes from all programs at once, mapped or not. Who has mapped them where nobody watches may make zeros
  // of them again at any time.
  bool punch(std::uint64_t offset, std::uint64_t length) const;
  // And sees that they are gone. False if some of them came back: somebody fills them behind our back.
  bool clear(std::uint64_t offset, std::uint64_t length) const;
  bool is_hole(std::uint64_t offset) const;
  // Whether a program has truncated it: who may write to it may do that.
  bool is_cut() const;
  // Neither makes a hole into a page (a load through a mapping would). False: the memory has been cut short.
  bool read(std::uint64_t offset, std::span<std::byte> into) const;
  // Only where no userfaultfd watches: it can't tell a page that is filled this way from one that is not there.
  bool write(std::uint64_t offset, const std::byte* from, std::size_t length) const;
  // SIGBUS for whoever touches any of it, now and later.
  void cut_to_nothing() const;

 private:
  SegmentMemory(Descriptor fd, std::size_t bytes) : fd_(std::move(fd)), bytes_(bytes) {}
  Descriptor fd_;
  std::size_t bytes_;
};

}  // namespace dipc
