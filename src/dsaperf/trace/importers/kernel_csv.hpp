#pragma once

#include "dsaperf/core/csv.hpp"
#include "dsaperf/trace/timeline.hpp"

namespace dsaperf::trace {

// Kernel tables as comma-separated text. What a file is follows from the names of its columns, in
// any order, letter case and unit ("Total Time (ns)", "duration_us", "TotalDurationNs"):
//
//   summary    name, calls, total or average time     nsys cuda_gpu_kern_sum and its relatives,
//                                                     nvprof, rocprof kernel stats
//   timeline   name, start, duration or end           nsys cuda_gpu_trace, rocprof kernel trace
//   ncu        kernel name, metric name and value     one row a metric (--page details)
//   ncu raw    kernel name, one column a metric       --page raw; units in the second row
//   table      name, duration                         one row a launch
//
// Lines before the header (what nsys prints about its own work) are skipped, and a table ends where
// another one begins. Rows that lack a number or a name are left out, counted and named in a
// warning. A row cut by the end of the file is an error: its totals would be wrong.
Result<Timeline> read_kernel_csv(CsvReader csv);

}  // namespace dsaperf::trace
