#include "dsaperf/serving/disaggregated_pairs.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/serving/disaggregated_match.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace dsaperf::serving {
namespace {

Workload workload(const SweepInputs& in) {
  return {.isl = in.isl, .osl = in.osl, .prefix = in.prefix};
}

std::vector<double> decode_batches(int most) {
  std::vector<double> list;
  for (int b = 1; b <= std::min(most, 512); b += b < 16 ? 1 : b < 32 ? 2 : b < 128 ? 4 : 8)
    list.push_back(b);
  return list;
}

std::vector<double> prefill_batches(const Quirks& quirks) {
  if (quirks.has(Quirk::kNarrowSearch)) return {1};
  return {1, 2, 3, 4, 5, 6, 7, 8};
}

Result<std::vector<WorkerPoint>> worker_points(const PassModel& model,
                                               const predict::compatible::OperatorSet& operators,
                                               const SweepInputs& in, StaticPhase phase,
                                               const std::vector<double>& batches) {
  std::vector<WorkerPoint> points;
  for (const double batch : batches) {
    auto form = static_worker({.model = model, .batch = batch, .options = {}}, operators.system(),
                              operators.version(), workload(in), phase);
    if (!form && form.error().code() == Errc::kNotFound) continue;
    if (!form) return tl::unexpected(std::move(form).error());
    if (form->fit != Fit::kFits) break;
    form->context.lines.clear();
    form->generation.lines.clear();
    points.push_back({batch, *std::move(form)});
  }
  return points;
}

// One of the lists of all layouts.
struct Listed {
  const PassModel* model;
  const std::vector<WorkerPoint>* points;  // of the layout
  const WorkerPoint* point;

  const PassModel::Inputs& inputs() const { return model->inputs(); }
  const ClosedForm& form() const { return point->form; }
};

class Pairs {
 public:
  Pairs(const std::vector<PhaseWorkers>& workers, const predict::compatible::OperatorSet& operators,
        const SweepInputs& inputs, bool between_nodes)
      : set_(operators), in_(inputs), between_nodes_(between_nodes) {
    for (const auto& one : workers) {
      for (const auto& point : one.prefill)
        prefill_.push_back({one.prefill_model, &one.prefill, &point});
      for (const auto& point : one.decode)
        decode_.push_back({one.decode_model, &one.decode, &point});
    }
  }

  std::vector<Candidate> run() const {
    std::vector<Candidate> candidates;
    if (prefill_.empty() || decode_.empty()) return candidates;
    std::vector<ListedWorker> prefill, decode;
    for (const Listed& one : prefill_)
      prefill.push_back(listed(one, three_decimals(one.form().ttft_ms) * margins_.first_token));
    for (const Listed& one : decode_)
      decode.push_back(listed(one, three_decimals(one.form().tpot_ms)));
    for (const auto& pair : matched_workers(prefill, decode, rules())) {
      auto made = candidate(pair);
      if (made.form.ttft_ms <= in_.ttft_limit_ms)  // its transfer included
        candidates.push_back(std::move(made));
    }
    return candidates;
  }

 private:
  double rate(const ClosedForm& form) const { return worker_rate(form, 1, in_.quirks); }

  ListedWorker listed(const Listed& one, double latency_ms) const {
    const Layout& l = one.inputs().layout;
    const double cp = in_.quirks.has(Quirk::kRankedWithoutCp) ? 1 : l.cp;
    return {.layout = l,
            .batch = one.point->batch,
            .latency_ms = latency_ms,
            .requests_s = rate(one.form()),
            .requests_s_a_gpu = three_decimals(one.form().request_s / l.tp / l.pp / l.dp / cp),
            .exchanges_experts = one.inputs().exchanges()};
  }

  MatchRules rules() const {
    const bool narrow = in_.quirks.has(Quirk::kNarrowSearch);
    MatchRules rules{.osl = in_.osl,
                     .ttft_ms = in_.ttft_limit_ms,
                     .tpot_ms = tpot_targets(),
                     .sizes = {},
                     .prefill_rate = margins_.prefill_rate,
                     .decode_rate = margins_.decode_rate,
                     .same_tp = prefill_.front().inputs().engine == Engine::kSglang &&
                                in_.quirks.has(Quirk::kSameTpOnSglang)};
    if (narrow) {
      rules.prefill_workers = 32;
      rules.decode_batches = 16;
      rules.decode_layouts = 5;
    }
    const int most = narrow ? std::min(in_.gpus, between_nodes_ ? 512 : 128) : in_.gpus;
    const bool any = !narrow || between_nodes_;
    for (int size = 0; size <= most; ++size)
      rules.sizes.push_back(size > 1 && (any || size == 2 || size == 4 || size % 8 == 0));
    return rules;
  }

  Candidate candidate(const MatchedWorkers& pair) const {
    const Listed& first = prefill_[pair.prefill];
    const Listed& second = decode_[pair.decode];
    const auto& decode = second.inputs();
    const int gpus = pair.prefill_count * first.inputs().layout.gpus() +
                     pair.decode_count * decode.layout.gpus();
    const double bytes = in_.isl * cache_bytes_per_token(decode.shape, decode.formats, in_.quirks);
    auto form = joined({.prefill = first.form(),
                        .prefill_count = pair.prefill_count,
                        .decode = second.form(),
                        .decode_count = pair.decode_count},
                       workload(in_), transfer_ms(set_.system(), bytes, gpus), in_.quirks);
    const double busy = form.request_s / (pair.prefill_count * rate(first.form()));
    const bool meets = form.tpot_ms <= in_.tpot_limit_ms;
    return {.engine = decode.engine,
            .version = set_.version(),
            .layout = decode.layout,
            .formats = decode.formats,
            .batch = second.point->batch,
            .chunk = first.point->batch * in_.isl,
            .workers = in_.gpus / gpus,
            .form = std::move(form),
            .meets_limits = meets,
            .binds = binding(second),
            .prefill = PrefillSide{.layout = first.inputs().layout,
                                   .attention_rows = std::string(first.inputs().attention_rows()),
                                   .batch = first.point->batch,
                                   .workers = pair.prefill_count,
                                   .decode_workers = pair.decode_count,
                                   .busy = busy,
                                   .requests_s = rate(first.form()),
                                   .decode_requests_s = rate(second.form()),
                                   .memory = first.form().memory},
            .simulation = {}};
  }

  std::string binding(const Listed& one) const {
    const auto next =
        std::find_if(one.points->begin(), one.points->end(),
                     [&](const WorkerPoint& other) { return other.batch > one.point->batch; });
    if (next == one.points->end()) return "memory";
    return next->form.tpot_ms > in_.tpot_limit_ms ? "tpot" : "prefill";
  }

  const predict::compatible::OperatorSet& set_;
  const SweepInputs& in_;
  bool between_nodes_;
  Margins margins_ = Margins::of(in_.quirks);
  std::vector<Listed> prefill_, decode_;
};

}  // namespace

Result<void> price_workers(PhaseWorkers& workers, const predict::compatible::OperatorSet& operators,
                           const SweepInputs& inputs) {
  if (workers.prefill_model != nullptr) {
    DSAPERF_TRY_ASSIGN(workers.prefill,
                       worker_points(*workers.prefill_model, operators, inputs,
                                     StaticPhase::kContext, prefill_batches(inputs.quirks)));
  }
  if (workers.decode_model != nullptr) {
    DSAPERF_TRY_ASSIGN(workers.decode, worker_points(*workers.decode_model, operators, inputs,
                                                     StaticPhase::kGeneration,
                                                     decode_batches(inputs.most_requests)));
  }
  if (workers.prefill.empty() && workers.decode.empty())
    return fail(Errc::kOutOfMemory, "a worker does not hold one request of {:.0f} tokens",
                inputs.isl);
  return {};
}

std::vector<Candidate> paired_workers(const std::vector<PhaseWorkers>& workers,
                                      const predict::compatible::OperatorSet& operators,
                                      const SweepInputs& inputs, bool between_nodes) {
  return Pairs(workers, operators, inputs, between_nodes).run();
}

std::vector<double> tpot_targets() {
  std::vector<double> list;
  for (int t = 1; t < 20; ++t) list.push_back(t);
  for (int t = 20; t < 300; t += 5) list.push_back(t);
  return list;
}

}  // namespace dsaperf::serving
