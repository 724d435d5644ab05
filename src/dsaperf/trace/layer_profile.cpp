#include "dsaperf/trace/layer_profile.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

namespace dsaperf::trace {
namespace {

// Calls of the kernel that a layer has one of: the attention kernel with the most calls, else the
// top-k, else the scores.
double marked_layers(const std::map<std::uint32_t, std::pair<Part, double>>& calls) {
  for (const auto& wanted :
       {std::array{Part::kAttention, Part::kAttentionDense}, std::array{Part::kTopk, Part::kTopk},
        std::array{Part::kIndexerScores, Part::kIndexerScores}}) {
    double most = 0;
    for (const auto& [name, entry] : calls) {
      if (entry.first == wanted[0] || entry.first == wanted[1]) most = std::max(most, entry.second);
    }
    if (most > 0) return most;
  }
  return 0;
}

class Profiler {
 public:
  Profiler(const Timeline& timeline, const Classified& classified, Phase phase)
      : timeline_(timeline), classified_(classified) {
    profile_.phase = phase;
  }

  LayerProfile profile() {
    if (timeline_.is_summary()) {
      of_summary();
    } else {
      of_timeline();
    }
    for (auto& [part, kernels] : profile_.parts) {
      std::sort(kernels.begin(), kernels.end(),
                [](const LayerKernel& a, const LayerKernel& b) { return a.time_ns > b.time_ns; });
    }
    double total = 0;
    for (const auto& [part, kernels] : profile_.parts) total += profile_.time_ns(part);
    if (total > 0) profile_.unclassified_share = profile_.time_ns(Part::kUnclassified) / total;
    for (const Part part : {Part::kMoe, Part::kMlp, Part::kSampling, Part::kEmbedding}) {
      profile_.whole_model |= profile_.parts.contains(part);
    }
    return std::move(profile_);
  }

 private:
  bool other_phase(const Classified::Item& item) const {
    return profile_.phase != Phase::kUnknown && item.phase != Phase::kUnknown &&
           item.phase != profile_.phase;
  }

  void add(Part part, std::uint32_t name, double calls, double time_ns, double stddev_ns) {
    auto& kernels = profile_.parts[part];
    const auto& canonical = classified_.names[name];
    auto found = std::find_if(kernels.begin(), kernels.end(), [&](const LayerKernel& kernel) {
      return kernel.name.function == canonical.function;
    });
    if (found == kernels.end()) {
      kernels.push_back({.name = canonical, .stddev_ns = stddev_ns});
      found = kernels.end() - 1;
    } else {
      found->stddev_ns = std::fmax(found->stddev_ns, stddev_ns);
    }
    found->calls += calls;
    found->time_ns += time_ns;
  }

  void of_summary() {
    std::map<std::uint32_t, std::pair<Part, double>> all;
    std::map<std::uint32_t, std::pair<Part, double>> of_phase;
    bool mixed = false;
    for (std::size_t i = 0; i < timeline_.sums.size(); ++i) {
      const auto& sum = timeline_.sums[i];
      const auto& item = classified_.sums[i];
      auto& entry = all[sum.name];
      entry.first = item.part;
      entry.second += static_cast<double>(sum.calls);
      mixed |= other_phase(item);
      if (item.phase == profile_.phase && item.phase != Phase::kUnknown) {
        of_phase[sum.name] = all[sum.name];
      }
    }
    const double both = std::max(1.0, marked_layers(all));
    // Layers of the phase alone: its own top-k, or attention where that names the phase.
    const double own = mixed ? std::max(1.0, marked_layers(of_phase)) : both;
    profile_.layers = own;
    profile_.basis =
        marked_layers(all) > 0
            ? fmt::format("a summary of {:.0f} layers, by the calls of its attention", own)
            : "a summary without attention, taken as one layer";
    for (std::size_t i = 0; i < timeline_.sums.size(); ++i) {
      const auto& sum = timeline_.sums[i];
      const auto& item = classified_.sums[i];
      if (other_phase(item)) continue;
      const auto calls = static_cast<double>(sum.calls);
      const bool serves_both = mixed && item.phase == Phase::kUnknown;
      const double layers = serves_both ? both : own;
      const bool by_median = serves_both && !std::isnan(sum.median_ns);
      const double time = by_median ? sum.median_ns * calls : sum.total_ns;
      add(item.part, sum.name, calls / layers, time / layers, sum.stddev_ns);
    }
  }

  void of_timeline() {
    auto steps = find_steps(timeline_, classified_);
    std::erase_if(steps, [&](const Steps& found) {
      return profile_.phase != Phase::kUnknown && found.phase != Phase::kUnknown &&
             found.phase != profile_.phase;
    });
    for (const auto& launch : timeline_.launches) profile_.graph |= launch.graph_node != 0;
    double idle_launch = 0;
    double span = 0;
    bool known = false;
    for (const auto& gaps : find_gaps(timeline_)) {
      idle_launch += gaps.launch_ns;
      span += gaps.span_ns;
      known |= gaps.launches_known;
    }
    if (known && span > 0) profile_.launch_bound_share = idle_launch / span;
    if (steps.empty()) {
      whole();
    } else {
      from_steps(steps);
    }
  }

  void add_launches(std::size_t begin, std::size_t end, double layers) {
    for (std::size_t i = begin; i < end; ++i) {
      if (other_phase(classified_.launches[i])) continue;
      const auto& launch = timeline_.launches[i];
      add(classified_.launches[i].part, launch.name, 1 / layers, launch.duration_ns / layers,
          kUnknownTime);
    }
  }

  void whole() {
    std::map<std::uint32_t, std::pair<Part, double>> calls;
    for (std::size_t i = 0; i < timeline_.launches.size(); ++i) {
      if (other_phase(classified_.launches[i])) continue;
      auto& entry = calls[timeline_.launches[i].name];
      entry.first = classified_.launches[i].part;
      ++entry.second;
    }
    const double marked = marked_layers(calls);
    profile_.layers = std::max(1.0, marked);
    profile_.basis =
        marked > 0 ? fmt::format("{:.0f} layers, by the calls of the attention", profile_.layers)
                   : "no repetition and no attention: taken as one layer";
    add_launches(0, timeline_.launches.size(), profile_.layers);
    set_sequence(timeline_.launches.empty() ? std::vector<Window>()
                                            : std::vector<Window>{{0, timeline_.launches.size()}});
  }

  void from_steps(const std::vector<Steps>& steps) {
    double layers = 0;
    std::size_t count = 0;
    std::vector<Window> windows;
    for (const auto& found : steps) {
      layers += static_cast<double>(found.steps.size() * std::max<std::size_t>(found.layers, 1));
      count += found.steps.size();
      windows.insert(windows.end(), found.layers_at.begin(), found.layers_at.end());
    }
    profile_.layers = layers;
    profile_.basis = fmt::format("{} complete steps of {} layers on {} GPU{}", count,
                                 steps[0].layers, steps.size(), steps.size() == 1 ? "" : "s");
    for (const auto& found : steps) {
      for (const auto& step : found.steps) add_launches(step.begin, step.end, layers);
    }
    std::map<Part, std::vector<double>> times;
    for (const auto& window : windows) {
      std::array<double, kPartCount> of_part{};
      for (std::size_t i = window.begin; i < window.end; ++i) {
        of_part[static_cast<std::size_t>(classified_.launches[i].part)] +=
            timeline_.launches[i].duration_ns;
      }
      for (const auto& [part, kernels] : profile_.parts) {
        times[part].push_back(of_part[static_cast<std::size_t>(part)]);
      }
    }
    for (auto& [part, values] : times) profile_.spread[part] = Spread::of(std::move(values));
    set_sequence(windows.empty() ? std::vector<Window>{steps[0].steps[0]} : windows);
  }

  // The layer with the usual number of kernels stands for all.
  void set_sequence(const std::vector<Window>& windows) {
    if (windows.empty()) return;
    std::vector<double> sizes;
    for (const auto& window : windows) {
      sizes.push_back(static_cast<double>(window.end - window.begin));
    }
    const double usual = quantile(sizes, 0.5);
    const auto best = std::min_element(windows.begin(), windows.end(), [&](auto& a, auto& b) {
      return std::abs(static_cast<double>(a.end - a.begin) - usual) <
             std::abs(static_cast<double>(b.end - b.begin) - usual);
    });
    for (std::size_t i = best->begin; i < best->end; ++i) {
      if (other_phase(classified_.launches[i])) continue;
      profile_.sequence.push_back({classified_.launches[i].part, timeline_.launches[i].name});
    }
  }

  const Timeline& timeline_;
  const Classified& classified_;
  LayerProfile profile_;
};

}  // namespace

double LayerProfile::calls(Part part) const {
  const auto found = parts.find(part);
  double sum = 0;
  if (found != parts.end()) {
    for (const auto& kernel : found->second) sum += kernel.calls;
  }
  return sum;
}

double LayerProfile::time_ns(Part part) const {
  const auto found = parts.find(part);
  double sum = 0;
  if (found != parts.end()) {
    for (const auto& kernel : found->second) sum += kernel.time_ns;
  }
  return sum;
}

LayerProfile layer_profile(const Timeline& timeline, const Classified& classified, Phase phase) {
  return Profiler(timeline, classified, phase).profile();
}

std::vector<Phase> phases_in(const Classified& classified) {
  std::array<bool, 3> seen{};
  for (const auto* items : {&classified.launches, &classified.sums}) {
    for (const auto& item : *items) seen[static_cast<std::size_t>(item.phase)] = true;
  }
  std::vector<Phase> phases;
  for (const Phase phase : {Phase::kPrefill, Phase::kDecode}) {
    if (seen[static_cast<std::size_t>(phase)]) phases.push_back(phase);
  }
  return phases;
}

}  // namespace dsaperf::trace
