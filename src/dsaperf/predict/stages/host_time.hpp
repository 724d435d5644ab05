#pragma once

#include "dsaperf/predict/stages/terms.hpp"

#include <vector>

namespace dsaperf::predict::stages {

// Where a framework launches every kernel from the host, a pass takes the host's time or the
// kernels', whichever is longer. docs/predict.md has the measurements.

// What a pass takes whose launches take `host` and whose kernels take `gpu`: the longer of the two,
// rounded where they meet. And the reverse: the kernels' time, 0 where the host hides it.
double with_host_time(double host, double gpu);
double without_host_time(double host, double latency);

// The share of the host in with_host_time(host, gpu): 1 where kernels do not count, 0 where they
// alone do.
double host_share(double host, double gpu);

// Milliseconds, at a nominal rate, of launching the pieces that a prefill's score matrix is cut
// into: it has a column for every cached token of the batch, not of the request alone, and memory
// holds a part of it at a time. 0 where no scores are computed.
double score_pieces_ms(const Setting& setting, const Sizes& sizes);

// The same, of what it does for every cached token of the batch before scores are computed: B200's
// and GB200's rows differ there as their hosts do, not as their memories. 0 where no scores are.
double contexts_ms(const Setting& setting, const Sizes& sizes);

// The least time of a layer's launches, from rows whose kernels are much shorter: what those show
// is the host. 0: no such floor is recognised.
double host_floor(const Setting& setting, const std::vector<Observation>& observations);

// The median of latencies that show one time, the host's: a dozen at least, and alike. Else 0.
double common_latency(std::vector<double> latencies_ms);

}  // namespace dsaperf::predict::stages
