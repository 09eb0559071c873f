#pragma once

// A PageDirectory with three hosts that may write, and what it does as lines of text.

#include <gtest/gtest.h>

#include <string>
#include <variant>
#include <vector>

#include "daemon/core/page_directory.h"

namespace dipc::test {

using namespace std::chrono_literals;

inline constexpr HostId kOwner{0}, kAmy{1}, kBob{2}, kCid{3}, kDan{4};
inline constexpr PageIndex p0{0}, p1{1}, p2{2}, p3{3};
inline constexpr std::uint32_t kPages = 1000;
inline constexpr Duration kFence = 20s, kPatience = 10s;

// What the directory does, as lines: "amy grant p0 #1 read zero".
struct Words {
  static std::string number(TransactionNumber of) { return "#" + std::to_string(static_cast<std::uint64_t>(of)); }
  static std::string name(HostId host) {
    const char* const names[] = {"owner", "amy", "bob", "cid", "dan"};
    return names[static_cast<std::uint32_t>(host)];
  }
  static std::string name(PageIndex page) { return "p" + std::to_string(static_cast<std::uint32_t>(page)); }

  std::string operator()(const PageGrant& of) const {
    const char* access = of.access == PageAccess::kWrite ? " write" : " read";
    std::string origin = of.origin == PageOrigin::kZero ? " zero" : " held";
    if (of.origin == PageOrigin::kHolder) origin = " from " + name(of.holder);
    return "grant " + name(of.page) + " " + number(of.transaction) + access + origin + (of.hold ? "" : ", no hold") +
           (of.answers ? "" : ", to store");
  }
  std::string operator()(const PageDeclined& of) const { return "declined " + name(of.page); }
  std::string operator()(const PageLost& of) const { return "lost " + name(of.page); }
  std::string operator()(const FetchPage& of) const {
    return "fetch " + name(of.page) + " " + number(of.transaction) + " for " + name(of.requester) +
           (of.drop ? ", drop" : "") + (of.through_owner ? ", through owner" : "");
  }
  std::string operator()(const InvalidatePage& of) const {
    return "invalidate " + name(of.page) + " " + number(of.transaction);
  }
  std::string operator()(const ReleasePage& of) const {
    return "release " + name(of.page) + " " + number(of.transaction);
  }
  std::string operator()(const RestorePage& of) const {
    return "restore " + name(of.page) + " " + number(of.transaction);
  }
  std::string operator()(const HolderGone& of) const {
    return "holder gone " + name(of.page) + " " + number(of.transaction);
  }
  std::string operator()(const SegmentDismissed&) const { return "dismissed"; }
  std::string operator()(const SegmentDestroyed&) const { return "destroyed"; }
  std::string operator()(const SegmentResumed&) const { return "resumed"; }
  std::string operator()(const SegmentRefused&) const { return "refused"; }
  std::string operator()(const PageData& of) const { return "data " + name(of.page) + " " + number(of.transaction); }

  std::string operator()(const PageDirectory::Send& of) const {
    return name(of.to) + " " + std::visit(*this, of.message);
  }
  std::string operator()(const PageDirectory::Lost& of) const { return "LOST " + name(of.page); }
  std::string operator()(const PageDirectory::Misbehaved& of) const {
    return name(of.host) + " misbehaves: " + of.text;
  }
  std::string operator()(const PageDirectory::Destroyed&) const { return "DESTROYED"; }
};

class PageDirectoryTest : public testing::Test {
 protected:
  PageDirectoryTest() : directory_({kOwner, kPages, 4096, kFence, kPatience}) {
    for (const HostId host : {kAmy, kBob, kCid}) directory_.on_attach(now_, host, true);
  }

  std::vector<std::string> out() {
    std::vector<std::string> lines;
    for (const PageDirectory::Action& action : directory_.take_actions()) {
      lines.push_back(std::visit(Words{}, action));
    }
    return lines;
  }
  void say(HostId host, const HostPageMessage& message) { directory_.on_message(now_, host, message); }
  void read(HostId host, PageIndex page = p0) { say(host, PageRequest{page, PageAccess::kRead}); }
  void write(HostId host, PageIndex page = p0) { say(host, PageRequest{page, PageAccess::kWrite}); }
  void installed(HostId host, std::uint64_t number, PageIndex page = p0) {
    say(host, PageInstalled{page, TransactionNumber{number}});
  }
  void dropped(HostId host, std::uint64_t number, PageIndex page = p0) {
    say(host, PageDropped{page, TransactionNumber{number}});
  }
  void no_data(HostId host, std::uint64_t number) { say(host, NoPageData{p0, TransactionNumber{number}}); }
  void lose(HostId host) { directory_.on_host_lost(now_, host); }
  void pass(Duration time) {
    now_ += time;
    directory_.on_time(now_);
  }
  // #1: amy is the writer of p0.
  void amy_writes() {
    write(kAmy);
    installed(kAmy, 1);
    out();
  }
  // #1, #2: amy and bob are readers of p0, amy has written to it.
  void amy_and_bob_read() {
    amy_writes();
    read(kBob);
    installed(kBob, 2);
    out();
  }

  TimePoint now_{1000s};
  PageDirectory directory_;
};

}  // namespace dipc::test
