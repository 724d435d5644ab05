#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/kernels/indexer_scores.hpp"
#include "dsaperf/kernels/sm90/indexer_scores/launch.hpp"

namespace dsaperf::kernels::sm90 {

// What a kernel of decode receives for these parameters, checked; `box_columns`: of one box of q.
Result<ScoresArguments> paged_scores_arguments(const PagedIndexerScoresParams& params,
                                               int box_columns);

}  // namespace dsaperf::kernels::sm90
