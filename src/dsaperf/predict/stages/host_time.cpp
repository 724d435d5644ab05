#include "dsaperf/predict/stages/host_time.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace dsaperf::predict::stages {
namespace {

double fourth_power(double x) {
  return x * x * x * x;
}

bool has_prefill_scores(const Setting& s) {
  return s.phase == perfdb::Phase::kContext && s.regime == Regime::kSparse && s.own_indexer;
}

}  // namespace

double with_host_time(double host, double gpu) {
  if (host <= 0) return gpu;
  return std::sqrt(std::sqrt(fourth_power(host) + fourth_power(gpu)));
}

double without_host_time(double host, double latency) {
  if (host <= 0) return latency;
  return std::sqrt(std::sqrt(std::max(fourth_power(latency) - fourth_power(host), 0.0)));
}

double host_share(double host, double gpu) {
  if (host <= 0) return 0;
  const double h = fourth_power(host);
  return h / (h + fourth_power(gpu));
}

double score_pieces_ms(const Setting& s, const Sizes& z) {
  constexpr double kScoreBytes = 4;
  constexpr double kMsPerByte = 5e-11;  // weights of about 1 on the tables of SGLang
  if (!has_prefill_scores(s)) return 0;
  return kMsPerByte * kScoreBytes * z.tokens() * z.batch * z.total();
}

double contexts_ms(const Setting& s, const Sizes& z) {
  constexpr double kMsPerToken = 1e-6;
  return has_prefill_scores(s) ? kMsPerToken * z.batch * z.total() : 0;
}

// Quartiles, since a row in ten of a busy host is twice as long.
double common_latency(std::vector<double> latencies_ms) {
  constexpr double kAlike = 1.5;
  constexpr std::size_t kEnough = 12;
  const auto count = latencies_ms.size();
  if (count < kEnough) return 0;
  std::sort(latencies_ms.begin(), latencies_ms.end());
  const bool alike = latencies_ms[count * 3 / 4] <= kAlike * latencies_ms[count / 4];
  return alike ? latencies_ms[count / 2] : 0;
}

// A replayed graph of a layer's 20 to 40 kernels takes 0.1 to 0.3 ms at least; as many launches
// from a framework 0.7 ms and more (aiconfigurator's tables for H100 to GB300).
double host_floor(const Setting& setting, const std::vector<Observation>& observations) {
  constexpr double kIdle = 8;  // latency over the usual time of the kernels
  constexpr double kShortestMs = 0.4;
  const auto list = terms(setting.phase, setting.regime);
  const SettingTerms of_setting(setting);
  std::vector<double> idle;
  for (const auto& o : observations) {
    const auto values = of_setting.values(o.sizes);
    double usual = 0;
    for (std::size_t i = 0; i < list.size(); ++i) usual += values[i] * list[i].usual;
    if (o.latency_ms > kIdle * usual) idle.push_back(o.latency_ms);
  }
  const double median = common_latency(std::move(idle));
  return median >= kShortestMs ? median : 0;
}

}  // namespace dsaperf::predict::stages
