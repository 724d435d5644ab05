#include "dsaperf/serving/traffic.hpp"

#include "dsaperf/core/fail.hpp"

#include <algorithm>
#include <cmath>

namespace dsaperf::serving {
namespace {

constexpr double kPlacesOfARate = 64;
constexpr double kMostPrompts = 4096;
// Of a prompt that is cached whole: vLLM computes the block of its last token, and with draft
// tokens the one before.
constexpr double kRecomputed = 128;

}  // namespace

Result<Arrivals> Arrivals::open(const Traffic& traffic) {
  if (traffic.isl < 1 || traffic.osl < 1)
    return fail(Errc::kInvalidArgument, "isl {}, osl {}: lengths start at 1", traffic.isl,
                traffic.osl);
  if (!traffic.concurrency && (!traffic.rate_per_s || *traffic.rate_per_s <= 0))
    return fail(Errc::kInvalidArgument, "a simulation needs a concurrency or a rate");
  return Arrivals(traffic);
}

Arrivals::Arrivals(const Traffic& traffic) : traffic_(traffic), random_(traffic.seed) {
  const double places = traffic.concurrency.value_or(kPlacesOfARate);
  total_ = traffic.prompts > 0
               ? traffic.prompts
               : static_cast<int>(std::max(2 * places, std::min(10 * places, kMostPrompts)));
}

std::vector<Arrival> Arrivals::first() {
  std::vector<Arrival> list;
  if (traffic_.concurrency) {
    const int places = std::min(total_, static_cast<int>(*traffic_.concurrency));
    for (int i = 0; i < places; ++i) list.push_back(send(0));
    return list;
  }
  std::exponential_distribution<double> gap(*traffic_.rate_per_s / 1000);
  double at = 0;
  for (int i = 0; i < total_; ++i) list.push_back(send(at += gap(random_)));
  return list;
}

std::optional<Arrival> Arrivals::after(double now_ms) {
  if (!traffic_.concurrency || sent_ >= total_) return std::nullopt;
  return send(now_ms);
}

Arrival Arrivals::send(double at_ms) {
  std::uniform_real_distribution<double> part(traffic_.length_ratio, 1);
  std::uniform_real_distribution<double> around_one(0.5, 1.5);
  Arrival request{.arrival_ms = at_ms};
  request.prompt = std::max(1.0, std::round(traffic_.isl * part(random_)));
  request.answer = std::max(1.0, std::round(traffic_.osl * part(random_)));
  request.cached = std::min(std::floor(request.prompt * traffic_.cached_share), request.prompt - 1);
  if (sent_ < traffic_.repeated)
    request.cached = std::max(request.cached, request.prompt - kRecomputed);
  // The process reads for the other schedulers between two prompts of this one.
  read_ms_ = std::max(read_ms_, at_ms) +
             request.prompt * traffic_.host.text_us / 1000 * traffic_.host_sharers;
  request.seen_ms = read_ms_ + traffic_.host.request_ms * around_one(random_);
  ++sent_;
  return request;
}

}  // namespace dsaperf::serving
