#pragma once

#include "dsaperf/perfdb/system_file.hpp"
#include "dsaperf/predict/layer_query.hpp"
#include "dsaperf/predict/stages/setting.hpp"

#include <algorithm>
#include <string>

namespace dsaperf::predict::stages {

// What rows are asked for that are not those of the question: another card's figures, and how far
// the interval must widen for what the rows do not know.
struct Move {
  perfdb::SystemFile card;  // that the question is about
  double doubt = 0;         // half-width in log that the move adds
  double host_launch = 1;   // time of a kernel's launch there, the rows' host has 1
  std::string text;         // "rows of h200_sxm", for people
};

// One sort of the layers of a pass, as asked for.
struct Question {
  const LayerKind& layer;
  const LayerSizes& layer_sizes;  // of the kind, or known of its architecture
  const LayerShape& shape;
  Sizes sizes;
  bool shares_selection = false;
  const Move* move = nullptr;

  double topk() const {
    return shape.topk > 0 ? static_cast<double>(shape.topk) : layer_sizes.topk;
  }
  double index_heads() const {
    return shape.index_heads > 0 ? static_cast<double>(shape.index_heads) : layer_sizes.index_heads;
  }
  // Whether it asks of its kind what no row of the kind has.
  bool is_resized() const {
    return topk() != layer_sizes.topk || index_heads() != layer_sizes.index_heads;
  }
  // Of the longest request of the pass.
  double total() const { return std::max(sizes.total(), static_cast<double>(shape.longest_total)); }
  // Another topk leaves the kernels as they were measured at these sizes: sparse ones go on to
  // select, all tokens if need be. Dense ones become sparse where tokens are left out.
  Regime regime() const {
    return total() <= std::min(topk(), layer_sizes.topk) ? Regime::kDense : Regime::kSparse;
  }
};

}  // namespace dsaperf::predict::stages
