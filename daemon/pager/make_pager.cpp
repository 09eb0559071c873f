#include "daemon/pager/signal_pager.h"
#include "daemon/pager/userfault_pager.h"

namespace dipc {

PagerChoice choose_pager(std::optional<PagerKind> forced) {
  if (forced) return {*forced, {}};
  std::string missing = UserfaultPager::missing();
  if (missing.empty()) return {PagerKind::kUserfault, {}};
  return {PagerKind::kSignal, std::move(missing)};
}

AttachTicket next_ticket() {
  static std::uint64_t last = 0;
  return static_cast<AttachTicket>(++last);
}

Result<std::unique_ptr<Pager>> make_pager(PagerKind kind, Pager::Options options, Pager::Handler& handler) {
  if (kind == PagerKind::kUserfault) return UserfaultPager::make(std::move(options), handler);
  return SignalPager::make(std::move(options), handler);
}

}  // namespace dipc
