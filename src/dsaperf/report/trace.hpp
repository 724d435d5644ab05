#pragma once

#include "dsaperf/core/text_table.hpp"
#include "dsaperf/trace/stage_times.hpp"
#include "dsaperf/trace/steps.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace dsaperf::report {

// Everything that `trace show` tells of a file. References must outlive it.
struct TraceReport {
  TraceReport(std::string file, const trace::Timeline& timeline,
              const trace::Classified& classified);

  std::string file;
  const trace::Timeline& timeline;
  const trace::Classified& classified;
  trace::Totals totals;
  std::vector<trace::KernelSum> kernels;
  std::vector<trace::Part> parts;  // of each name
  trace::StageTable stages;
  std::vector<trace::Steps> steps;
  std::vector<trace::Gaps> gaps;
};

// Tables: totals, stages, the `top` kernels, steps, gaps.
std::string trace_text(const TraceReport& report, std::size_t top, const TextStyle& style);

// One JSON document, format dsaperf.trace_show.1 (docs/formats/json.md, "trace show").
std::string trace_json(const TraceReport& report);

}  // namespace dsaperf::report
