#pragma once

#include "dsaperf/serving/candidate.hpp"

#include <vector>

namespace dsaperf::serving {

// Those that no other beats in both tokens a second a user and tokens a second of a GPU of the
// cluster, slowest user first.
std::vector<Candidate> pareto_front(std::vector<Candidate> points, int cluster_gpus);

// Of the points of one layout those that a front is drawn over: within the limit on TTFT and,
// method compatible, among the best that aiconfigurator keeps for some limit on TPOT.
std::vector<Candidate> points_for_front(const std::vector<Candidate>& points,
                                        const SweepInputs& inputs);

}  // namespace dsaperf::serving
