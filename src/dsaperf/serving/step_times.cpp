#include "dsaperf/serving/step_times.hpp"

#include "dsaperf/predict/stages/host_time.hpp"
#include "dsaperf/serving/capacity.hpp"

#include <algorithm>
#include <cmath>

namespace dsaperf::serving {
namespace {

constexpr double kFewTokens = 16;  // the shortest prompts that every table has
// Of the peak in bf16: 640 of an H800's 989 TFLOP/s, as FlashMLA's README says of its sparse
// prefill.
constexpr double kSparsePrefillShare = 0.65;

// Rows of a selection that tokens of a prompt from `past` on lack, `fresh` of them.
double missing_rows(double past, double fresh, double topk) {
  const double first = std::min(past, topk);
  const double last = std::min(past + fresh, topk);
  return (last - first) * (topk - (first + last) / 2);
}

}  // namespace

Result<WholeSelections> whole_selections(const model::ModelSpec& spec,
                                         const PassModel::Inputs& inputs,
                                         const perfdb::SystemFile& system) {
  const auto& layer = model::typical_layer(spec);
  if (!layer.indexer || inputs.formats.kv != "bfloat16") return WholeSelections{};
  DSAPERF_TRY_ASSIGN(const double rate, system.rate("bfloat16"));
  const double heads = std::max(static_cast<double>(inputs.shape.heads) / inputs.layout.tp,
                                least_heads(system.sm_version));
  const double flops = 2 * heads * (2.0 * layer.geometry.kv_lora + layer.geometry.rope);
  return WholeSelections{
      .topk = static_cast<double>(layer.indexer->topk),
      .row_ms = inputs.shape.layers * flops / (kSparsePrefillShare * rate) * 1000};
}

PrefillLaunches::PrefillLaunches(const PassModel& model, const HostCosts& host)
    // A pass without an answer there has none for its steps either, and says why then.
    : attention_ms_(model.context_attention_ms(1, kFewTokens, 0).value_or(0)),
      all_ms_(attention_ms_ + host.launch_us / 1000 * model.inputs().shape.layers),
      factor_(host.prefill_factor) {
}

double PrefillLaunches::kernels_ms(double attention_ms) const {
  return predict::stages::without_host_time(attention_ms_, attention_ms);
}

double PrefillLaunches::step_ms(double kernels_ms) const {
  return predict::stages::with_host_time(all_ms_, factor_ * kernels_ms);
}

// Of decode's attention: a whole selection takes what one of topk rows does.
double WorkerSteps::length_priced(double total) const {
  return std::max(std::round(total) + 1, whole_.topk);
}

Result<double> WorkerSteps::step_ms(std::span<const RankLoad> ranks) const {
  const bool is_mixed = std::any_of(ranks.begin(), ranks.end(),
                                    [](const RankLoad& rank) { return !rank.chunks.empty(); });
  return is_mixed ? mixed_ms(ranks) : decode_ms(ranks);
}

Result<double> WorkerSteps::attention_ms(const RankLoad& rank) const {
  double kernels = 0;
  if (!rank.chunks.empty()) {
    double fresh = 0;
    double past = 0;
    double missing = 0;
    for (const Chunk& chunk : rank.chunks) {
      fresh += chunk.new_tokens;
      past += chunk.past;
      missing += missing_rows(chunk.past, chunk.new_tokens, whole_.topk);
    }
    const auto n = static_cast<double>(rank.chunks.size());
    DSAPERF_TRY_ASSIGN(const double prefill,
                       model_.context_attention_ms(n, std::ceil(fresh / n), std::round(past / n)));
    kernels += launches_.kernels_ms(prefill) + missing * whole_.row_ms;
  }
  if (rank.decoding > 0) {
    DSAPERF_TRY_ASSIGN(
        const double decode,
        model_.generation_attention_ms(rank.decoding * draft_share(), length_priced(rank.total)));
    kernels += decode;
  }
  return kernels;
}

Result<double> WorkerSteps::mixed_ms(std::span<const RankLoad> ranks) const {
  StepTokens tokens;
  double rows_out = 0;
  double attention = 0;
  for (const RankLoad& rank : ranks) {
    const double decoded = rank.decoding * draft_share();
    double all = decoded;
    for (const Chunk& chunk : rank.chunks) all += chunk.new_tokens;
    tokens.most = std::max(tokens.most, all);
    tokens.mean += all / static_cast<double>(ranks.size());
    rows_out = std::max(rows_out, static_cast<double>(rank.chunks.size()) + decoded);
    DSAPERF_TRY_ASSIGN(const double own, attention_ms(rank));
    attention = std::max(attention, own);
  }
  DSAPERF_TRY_ASSIGN(const double rest, model_.rest_ms(tokens, rows_out));
  return launches_.step_ms(rest + attention);
}

Result<double> WorkerSteps::decode_ms(std::span<const RankLoad> ranks) const {
  StepTokens tokens;
  double attention = 0;
  for (const RankLoad& rank : ranks) {
    const double own = rank.decoding * draft_share();
    tokens.most = std::max(tokens.most, own);
    tokens.mean += own / static_cast<double>(ranks.size());
    if (own == 0) continue;
    DSAPERF_TRY_ASSIGN(const double ms,
                       model_.generation_attention_ms(own, length_priced(rank.total)));
    attention = std::max(attention, ms);
  }
  DSAPERF_TRY_ASSIGN(const double rest, model_.decode_rest_ms(tokens));
  return rest + attention + host_.graph_gap_us / 1000 * model_.inputs().shape.layers;
}

}  // namespace dsaperf::serving
