// What is said of pages of shared memory.

#include <cstring>

#include "wire/check.h"
#include "wire/write_parts.h"

namespace dipc {
namespace {

using dipc::write;  // of parts

kj::ArrayPtr<const kj::byte> data(const PageContents& contents) {
  DIPC_CHECK(contents != nullptr);
  return {reinterpret_cast<const kj::byte*>(contents->data()), contents->size()};
}

// Page and transaction of those messages that have one.
template <typename Builder, typename Message>
void write_subject(Builder& to, const Message& from) {
  if constexpr (requires { from.page; }) to.setPage(number(from.page));
  if constexpr (requires { from.transaction; }) to.setTransaction(number(from.transaction));
}

void write(schema::SegmentReport::Processes::Builder to, std::uint32_t attachments, std::int32_t process) {
  to.setCount(attachments);
  to.setProcess(process);
}

void write(schema::SegmentOrder::Grant::Builder to, const PageGrant& from, const std::string& holder) {
  to.setAccess(Accesses::to_schema(from.access));
  to.setHold(from.hold);
  to.setAnswers(from.answers);
  switch (from.origin) {
    case PageOrigin::kHeld:
      to.getOrigin().setHeld();
      break;
    case PageOrigin::kZero:
      to.getOrigin().setZero();
      break;
    case PageOrigin::kHolder:
      to.getOrigin().setHolder(text(holder));
      break;
  }
}

}  // namespace

void write(schema::SegmentReport::Builder to, const SegmentReport& from) {
  write(to.initSegment(), from.segment);
  to.setRun(from.run);
  std::visit([&](const auto& message) { write_subject(to, message); }, from.message);
  std::visit(Overloaded{
                 [&](const PageRequest& message) { to.setRequest(Accesses::to_schema(message.access)); },
                 [&](const AskAhead& message) {
                   to.setPage(number(message.first));
                   to.setAskAhead(message.count);
                 },
                 [&](const PageInstalled&) { to.setInstalled(); },
                 [&](const NoPageData&) { to.setNoData(); },
                 [&](const PageDropped&) { to.setDropped(); },
                 [&](const RelayedPage& message) { to.setRelayed(data(message.contents)); },
                 [&](const PageFailed&) { to.setFailed(); },
                 [&](const SegmentAttached& message) { write(to.initAttached(), message.count, from.process); },
                 [&](const SegmentDetached& message) { write(to.initDetached(), message.count, from.process); },
                 [&](const SegmentCleared&) { to.setCleared(); },
                 [&](const PagesHeld& message) {
                   auto pages = to.initHolds();
                   pages.setCount(message.count);
                   pages.setAccess(Accesses::to_schema(message.access));
                 },
                 [&](const SegmentHeld& message) { to.setHoldsAll(message.attachments); },
                 [&](const PageKept&) { to.setKeeps(); },
             },
             from.message);
}

void write(schema::SegmentOrder::Builder to, const SegmentOrder& from) {
  write(to.initSegment(), from.segment);
  to.setRun(from.run);
  std::visit([&](const auto& message) { write_subject(to, message); }, from.message);
  std::visit(Overloaded{
                 [&](const PageGrant& message) { write(to.initGrant(), message, from.host); },
                 [&](const PageDeclined&) { to.setDeclined(); },
                 [&](const PageLost&) { to.setLost(); },
                 [&](const FetchPage& message) {
                   auto fetch = to.initFetch();
                   fetch.setRequester(text(from.host));
                   fetch.setDrop(message.drop);
                   fetch.setThroughOwner(message.through_owner);
                 },
                 [&](const InvalidatePage&) { to.setInvalidate(); },
                 [&](const ReleasePage&) { to.setRelease(); },
                 [&](const RestorePage&) { to.setRestore(); },
                 [&](const HolderGone&) { to.setHolderGone(); },
                 [&](const SegmentDismissed&) { to.setDismissed(); },
                 [&](const SegmentDestroyed&) { to.setDestroyed(); },
                 [&](const PageData& message) { to.setData(data(message.contents)); },
                 [&](const SegmentResumed&) { to.setResumed(); },
                 [&](const SegmentRefused&) { to.setRefused(); },
             },
             from.message);
}

void write(schema::HeldPage::Builder to, const HeldPage& from) {
  to.setOwner(text(from.owner));
  write(to.initSegment(), from.segment);
  write_subject(to, from.data);
  to.setRun(static_cast<std::uint32_t>(1 + from.more.size()));
  const std::size_t page_bytes = data(from.data.contents).size();
  auto pages = to.initData(static_cast<unsigned>(page_bytes * (1 + from.more.size())));
  std::memcpy(pages.begin(), data(from.data.contents).begin(), page_bytes);
  for (std::size_t i = 0; i < from.more.size(); ++i) {
    const auto page = data(from.more[i]);
    DIPC_CHECK(page.size() == page_bytes);
    std::memcpy(pages.begin() + (i + 1) * page_bytes, page.begin(), page_bytes);
  }
}

}  // namespace dipc
