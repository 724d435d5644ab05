#pragma once

#include "dsaperf/core/gzip.hpp"
#include "dsaperf/trace/timeline.hpp"

#include <string>
#include <string_view>

namespace dsaperf::trace {

// Our own recording, as `dsaperf profile` writes it: JSON, one line a launch so that it can be read
// and cut with ordinary tools, and columns by position to stay small.
//
//   {"format": "dsaperf.trace.1", "origin_ns": 1790857026000000000, "devices": ["NVIDIA H200"],
//   "names": ["topk_kernel", "stage/topk"],
//   "ranges": [
//   [1, 120.5, 500.0, 77]],
//   "launches": [
//   ["k", 0, 130.0, 11.5, 0, 7, 4711, 0, 128.0, 1]],
//   "truncated": false}
//
//   range    name, start_ns, end_ns, thread
//   launch   k kernel, c copy or s fill; name, start_ns, duration_ns, device, stream, process,
//            graph node or 0, launched_ns or null, range name or null
//
// "names" comes before what refers to it. Format 1 is the first; a later number is refused by name.
Result<Timeline> read_own_trace(ByteReader bytes);
bool is_own_trace(std::string_view front);

std::string own_trace_text(const Timeline& timeline);

}  // namespace dsaperf::trace
