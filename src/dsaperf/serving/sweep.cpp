#include "dsaperf/serving/sweep.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/predict/compatible/dsa_bound.hpp"
#include "dsaperf/serving/disaggregated_candidates.hpp"
#include "dsaperf/serving/operating_points.hpp"
#include "dsaperf/serving/pareto.hpp"
#include "dsaperf/serving/simulated_candidate.hpp"
#include "dsaperf/serving/swept_layout.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <atomic>
#include <iterator>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

namespace dsaperf::serving {
namespace {

// Calls `work` with 0 ... count - 1 on up to `threads` threads (0: as many as there are).
template <typename Work>
void for_each_index(std::size_t count, int threads, const Work& work) {
  const auto most = threads > 0 ? static_cast<std::size_t>(threads)
                                : std::max<std::size_t>(std::thread::hardware_concurrency(), 1);
  std::atomic<std::size_t> next = 0;
  const auto run = [&] {
    for (std::size_t i = next++; i < count; i = next++) work(i);
  };
  std::vector<std::jthread> others;
  for (std::size_t i = 1; i < std::min(most, count); ++i) others.emplace_back(run);
  run();
}

// An engine and its layouts.
struct Swept {
  SweptEngine engine;
  std::vector<SweptLayout> layouts;
};

// What stops one more request of the best point of a layout.
std::string binding(const Candidate& best, const SweptLayout& layout, const SweepInputs& in) {
  for (const Candidate& point : layout.points) {
    if (point.batch <= best.batch || point.chunk != best.chunk) continue;
    if (point.form.tpot_ms > in.tpot_limit_ms) return "tpot";
    if (point.form.ttft_ms > in.ttft_limit_ms) return "ttft";
    return "throughput";  // more requests would not bring more
  }
  return layout.memory_ends ? "memory" : "batch";
}

const SweptLayout& with_layout(const std::vector<SweptLayout>& layouts, const Layout& layout) {
  return *std::ranges::find(layouts, layout.text(),
                            [](const SweptLayout& swept) { return swept.layout.text(); });
}

class Sweeper {
 public:
  Sweeper(const model::ModelSpec& spec, const SweepInputs& inputs, ModelShape shape)
      : task_{.spec = spec, .in = inputs, .shape = std::move(shape)} {
    out_.inputs = inputs;
    out_.model = spec.name;
  }

  Result<SweepResult> run(const std::vector<Engine>& engines, const OpenTables& open) {
    DSAPERF_TRY(check_inputs());
    DSAPERF_TRY(open_engines(engines, open));
    out_.warnings.insert(out_.warnings.begin(), task_.spec.warnings.begin(),
                         task_.spec.warnings.end());
    price_all();
    for (const auto& swept : swept_)
      for (const auto& layout : swept->layouts) take(layout);
    if (in_.disaggregated)
      for (const auto& swept : swept_) add_disaggregated(*swept);
    rank();
    simulate_best();
    return std::move(out_);
  }

 private:
  Result<void> check_inputs() const {
    for (const double limit : {in_.ttft_limit_ms, in_.tpot_limit_ms})
      if (!(limit > 0))
        return fail(Errc::kInvalidArgument, "a limit of {} ms: limits are above 0", limit);
    for (const auto& format : {in_.formats.kv, in_.formats.gemm})
      if (!format.empty()) DSAPERF_TRY(predict::compatible::dtype_traits(format));
    return check_workload({.isl = in_.isl, .osl = in_.osl, .prefix = in_.prefix});
  }

  // Layouts point to their engine, so each stays where it is.
  Result<void> open_engines(const std::vector<Engine>& engines, const OpenTables& open) {
    std::vector<Result<std::unique_ptr<Swept>>> opened(engines.size());
    for_each_index(engines.size(), in_.threads, [&](std::size_t i) {
      auto set = open(engines[i]);
      if (!set) {
        opened[i] = tl::unexpected(std::move(set).error());
        return;
      }
      opened[i] = std::make_unique<Swept>(
          Swept{.engine = {.engine = engines[i], .set = *std::move(set)}, .layouts = {}});
      auto& swept = **opened[i];
      swept.layouts = swept_layouts(task_, swept.engine);
    });
    for (std::size_t i = 0; i < engines.size(); ++i) {
      if (opened[i])
        swept_.push_back(*std::move(opened[i]));
      else
        out_.warnings.push_back(
            fmt::format("{} is left out: {}", name(engines[i]), opened[i].error().message()));
    }
    if (swept_.empty())
      return fail(Errc::kNotFound, "no backend has tables: {}", fmt::join(out_.warnings, "; "));
    out_.system = swept_.front()->engine.set.system().name;
    for (const auto& swept : swept_) {
      DSAPERF_TRY_ASSIGN(swept->engine.host,
                         host_costs(swept->engine.engine,
                                    {.system = out_.system,
                                     .experts = formats_of(task_.spec, in_.formats, false).moe}));
    }
    return {};
  }

  void price_all() {
    std::vector<SweptLayout*> layouts;
    for (const auto& swept : swept_)
      for (auto& layout : swept->layouts) layouts.push_back(&layout);
    for_each_index(layouts.size(), in_.threads, [&](std::size_t i) { price(*layouts[i], task_); });
  }

  void take(const SweptLayout& layout) {
    out_.points += layout.priced;
    if (!layout.rejected.empty()) {
      reject(layout, layout.rejected);
      return;
    }
    if (!in_.aggregated || !layout.model) return;
    const auto& points = layout.points;
    auto best = *std::ranges::max_element(points, [](const Candidate& a, const Candidate& b) {
      if (a.meets_limits != b.meets_limits) return b.meets_limits;
      return a.tok_s_per_gpu() < b.tok_s_per_gpu();
    });
    if (best.meets_limits) {
      best.binds = binding(best, layout, in_);
      out_.candidates.push_back(std::move(best));
    } else {
      const auto& least = *std::ranges::min_element(
          points, {}, [](const Candidate& point) { return point.form.tpot_ms; });
      reject(layout,
             fmt::format(
                 "at best {:.0f} ms to the first token and {:.1f} ms a token, beyond the limits",
                 least.form.ttft_ms, least.form.tpot_ms));
    }
    std::ranges::move(points_for_front(points, in_), std::back_inserter(all_));
  }

  void reject(const SweptLayout& layout, std::string reason) {
    out_.rejected.push_back({layout.engine->engine, layout.layout.text(), std::move(reason)});
  }

  void add_disaggregated(const Swept& swept) {
    const auto& [engine, layouts] = swept;
    auto found = task_.compatible() ? paired_candidates(layouts, engine, task_)
                                    : planned_candidates(layouts, engine, task_);
    if (!found.rejected.empty())
      out_.rejected.push_back({engine.engine, "disaggregated", std::move(found.rejected)});
    std::ranges::move(found.all, std::back_inserter(all_));
    std::ranges::move(found.best, std::back_inserter(out_.candidates));
  }

  void rank() {
    const auto rate = [&](const Candidate& c) { return c.tok_s_per_cluster_gpu(in_.gpus); };
    std::stable_sort(out_.candidates.begin(), out_.candidates.end(),
                     [&](const Candidate& a, const Candidate& b) {
                       if (a.meets_limits != b.meets_limits) return a.meets_limits;
                       return rate(a) > rate(b);
                     });
    out_.pareto = pareto_front(all_, in_.gpus);
    const auto middle = std::stable_partition(all_.begin(), all_.end(),
                                              [](const Candidate& c) { return !c.prefill; });
    out_.aggregated_pareto = pareto_front({all_.begin(), middle}, in_.gpus);
    out_.disaggregated_pareto = pareto_front({middle, all_.end()}, in_.gpus);
  }

  // The closed form ranks; what it puts first is simulated.
  void simulate_best() {
    if (task_.compatible()) return;
    const auto count = std::min<std::size_t>(out_.candidates.size(),
                                             static_cast<std::size_t>(std::max(in_.simulate, 0)));
    for_each_index(count, in_.threads, [&](std::size_t i) {
      auto& candidate = out_.candidates[i];
      const auto& layouts = layouts_of(candidate.engine);
      const auto* prefill =
          candidate.prefill ? &with_layout(layouts, candidate.prefill->layout) : nullptr;
      candidate.simulation =
          simulated(candidate, task_, with_layout(layouts, candidate.layout), prefill);
    });
  }

  const std::vector<SweptLayout>& layouts_of(Engine engine) const {
    return (*std::ranges::find(swept_, engine,
                               [](const auto& swept) { return swept->engine.engine; }))
        ->layouts;
  }

  SweepTask task_;
  const SweepInputs& in_ = task_.in;
  std::vector<std::unique_ptr<Swept>> swept_;
  std::vector<Candidate> all_;
  SweepResult out_;
};

}  // namespace

Result<SweepResult> sweep(const model::ModelSpec& spec, const std::vector<Engine>& engines,
                          const OpenTables& open, const SweepInputs& inputs) {
  DSAPERF_TRY_ASSIGN(auto shape, ModelShape::of(spec));
  return Sweeper(spec, inputs, std::move(shape)).run(engines, open);
}

}  // namespace dsaperf::serving
