#pragma once

// What dipcctl is told of this host's segments and their pages.

#include <optional>

#include "daemon/core/owned_objects.h"
#include "daemon/core/status_report.h"
#include "daemon/kernel/users.h"
#include "daemon/segments.h"

namespace dipc {

SegmentsReport report_segments(const Segments& segments, Users& users);
// Nothing: no such segment lives here.
std::optional<PagesReport> report_pages(const Segments& segments, Users& users, const ObjectRef& segment);
// The segment of that key, which is not IPC_PRIVATE.
std::optional<ObjectRef> segment_of_key(const Segments& segments, std::int32_t key);
std::optional<ObjectRow> row_of_segment(const Segments& segments, Users& users, const OwnedObject& object);

}  // namespace dipc
