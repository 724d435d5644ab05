#pragma once

#include "dsaperf/core/text_table.hpp"
#include "dsaperf/trace/align.hpp"

#include <string>
#include <vector>

namespace dsaperf::report {

// One of the two recordings that were aligned.
struct AlignSide {
  std::string file;
  const trace::LayerProfile& profile;
  const trace::Classified& classified;
};

struct AlignReport {
  AlignSide mock;
  AlignSide reference;
  const trace::Alignment& alignment;
  double max_ratio = 2;
  std::vector<std::string> warnings;
};

std::string align_text(const AlignReport& report, const TextStyle& style);
std::string align_markdown(const AlignReport& report);

// One JSON document, format dsaperf.align.1 (docs/formats/json.md, "align").
std::string align_json(const AlignReport& report);

}  // namespace dsaperf::report
