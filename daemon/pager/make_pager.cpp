#include "daemon/pager/userfault_pager.h"

namespace dipc {

PagerChoice choose_pager(std::optional<PagerKind> forced) {
  if (forced) return {*forced, {}};
  std::string missing = UserfaultPager::missing();
  if (missing.empty()) return {PagerKind::kUserfault, {}};
  return {PagerKind::kSignal, std::move(missing)};
}

Result<std::unique_ptr<Pager>> make_pager(PagerKind kind, Pager::Options options, Pager::Handler& handler) {
  if (kind == PagerKind::kUserfault) return UserfaultPager::make(std::move(options), handler);
  return trouble(options.name + ": programs of this host can't be paged: " + UserfaultPager::missing(),
                 "run dipcd as root on a kernel with userfaultfd");
}

}  // namespace dipc
