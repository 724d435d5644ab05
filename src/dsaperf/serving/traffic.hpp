#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/serving/host_costs.hpp"

#include <cstdint>
#include <optional>
#include <random>
#include <vector>

namespace dsaperf::serving {

// What clients send.
struct Traffic {
  double isl = 0, osl = 0;
  double cached_share = 0;  // of a prompt's tokens, found in the prefix cache
  int repeated = 0;         // of the requests, the first: prompts that are in it whole
  double length_ratio = 1;  // lengths are uniform between this part of isl and osl, and all of it
  std::optional<double> concurrency = {};  // so many requests at any time, or
  std::optional<double> rate_per_s = {};   // arrivals at random (Poisson)
  int prompts = 0;  // requests to send; 0: ten a place, at most 4096, at least two a place
  HostCosts host = {};
  double host_sharers = 1;  // schedulers that the host's one process reads prompts for
  std::uint64_t seed = 1;
};

struct Arrival {
  double arrival_ms = 0;
  double seen_ms = 0;  // by the engine
  double prompt = 0;
  double cached = 0;  // of the prompt, in the prefix cache
  double answer = 0;
};

// The requests of a simulation, in the order in which they are sent. One process of the host cuts
// prompts into tokens, one after the other; what else a request waits for is half to one and a half
// times HostCosts::request_ms, at random. Deterministic for a seed.
class Arrivals {
 public:
  // Fails where neither a concurrency nor a rate is given.
  static Result<Arrivals> open(const Traffic& traffic);

  int total() const { return total_; }
  // Those that come whatever becomes of the others: to be asked for once, first.
  std::vector<Arrival> first();
  // The one that takes the place of a request that ended at `now_ms`; none when all were sent.
  std::optional<Arrival> after(double now_ms);

 private:
  explicit Arrivals(const Traffic& traffic);
  Arrival send(double at_ms);

  Traffic traffic_;
  std::mt19937_64 random_;
  double read_ms_ = 0;  // prompts sent so far are read by then
  int total_ = 0;
  int sent_ = 0;
};

}  // namespace dsaperf::serving
