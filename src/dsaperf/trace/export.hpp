#pragma once

#include "dsaperf/trace/timeline.hpp"

#include <string>

namespace dsaperf::trace {

// As `nsys stats --format csv` prints cuda_gpu_kern_sum, and cuda_gpu_trace: for tools that read
// those. Names are demangled. The second is empty for a summary.
std::string nsys_summary_csv(const Timeline& timeline);
std::string nsys_trace_csv(const Timeline& timeline);

// A Chrome trace that Perfetto and chrome://tracing open and read_trace reads back: kernels, copies
// and fills by GPU and stream, ranges by process and thread.
std::string chrome_trace_json(const Timeline& timeline);

}  // namespace dsaperf::trace
