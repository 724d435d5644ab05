#include "dsaperf/serving/request_statistics.hpp"

namespace dsaperf::serving {

void RequestStatistics::add(const ServedRequest& request) {
  ttft_ms_.push_back(request.first_ms - request.arrival_ms);
  request_ms_.push_back(request.last_ms - request.arrival_ms);
  if (request.answer > 1)
    tpot_ms_.push_back((request.last_ms - request.first_ms) / (request.answer - 1));
  tokens_ += request.answer;
  waited_ += request.waited ? 1 : 0;
}

SimulationResult RequestStatistics::result(double end_ms) const {
  const auto n = static_cast<double>(request_ms_.size());
  return {.ttft_ms = percentiles(ttft_ms_),
          .tpot_ms = percentiles(tpot_ms_),
          .gap_ms = {},
          .request_ms = percentiles(request_ms_),
          .output_tok_s = tokens_ / end_ms * 1000,
          .requests_s = n / end_ms * 1000,
          .waiting_share = waited_ / n,
          .requests = static_cast<int>(request_ms_.size())};
}

}  // namespace dsaperf::serving
