#include "dsaperf/serving/closed_form.hpp"

#include "dsaperf/core/fail.hpp"

#include <algorithm>
#include <cmath>

namespace dsaperf::serving {
namespace {

constexpr double kTrtllmStepTokens = 8192;  // max_num_tokens of its build

void add(PassTime& sum, const PassTime& pass, double count) {
  sum.ms += count * pass.ms;
  if (sum.lines.empty()) {
    sum.lines = pass.lines;
    for (LineTime& line : sum.lines) line.time.ms *= count;
    return;
  }
  for (std::size_t i = 0; i < sum.lines.size(); ++i) {
    sum.lines[i].time.ms += count * pass.lines[i].time.ms;
    sum.lines[i].time.source = std::max(sum.lines[i].time.source, pass.lines[i].time.source);
  }
}

Result<void> check(const Workload& work, double batch) {
  DSAPERF_TRY(check_workload(work));
  if (!(batch >= 1)) return fail(Errc::kInvalidArgument, "batch {}: sizes start at 1", batch);
  return {};
}

// How requests wait for their prefill, as a factor on it.
double queue_factor(const PassModel& model, double batch, double steps) {
  if (!model.inputs().quirks.has(Quirk::kQueueFactor)) return 1;
  if (model.inputs().engine == Engine::kVllm)
    return batch <= 1 ? 1 : std::min(1 + std::log2(batch) / 8, 2.0);
  return std::min(2 + (steps - 3) / 2 / 10, 4.0);
}

// vLLM's Python work for a prompt, a layer.
double dispatch_ms(const PassModel& model) {
  const auto& in = model.inputs();
  return in.engine == Engine::kVllm ? in.shape.layers * 0.8 : 0;
}

double mixed_decode_requests(Engine engine, double batch, double chunk, double isl,
                             double iterations) {
  const double prompts = std::ceil(chunk / isl);
  const double steps = std::ceil(isl * batch / chunk);
  if (engine != Engine::kVllm && steps >= iterations)
    return std::max(1.0, std::floor(batch / (steps / iterations)));
  return std::max(1.0, batch - prompts);
}

MemoryUse peak_memory(const PassModel& model, const perfdb::SystemFile& system,
                      const Workload& work, double batch, double chunk,
                      const EngineOptions& options) {
  const Engine engine = model.inputs().engine;
  const double sequence = options.max_sequence.value_or(work.isl + work.osl);
  const double decoding = batch - std::ceil(chunk / work.isl);
  if (engine == Engine::kTrtllm)
    return memory_use(model, system,
                      {.sequences = batch,
                       .sequence_tokens = sequence,
                       .step_tokens = kTrtllmStepTokens,
                       .draft_share = kTrtllmStepTokens});
  // One request decodes only when its prefill is over.
  MemoryLoad load{.sequences = batch,
                  .sequence_tokens = work.isl + work.osl,
                  .step_tokens = batch > 1 ? decoding + chunk : chunk,
                  .draft_share = batch > 1 ? decoding : 0};
  const MemoryUse prefill = memory_use(model, system, load);
  if (batch > 1 || work.osl <= 1) return prefill;
  load.step_tokens = load.draft_share = 1;
  const MemoryUse decode = memory_use(model, system, load);
  return decode.total() > prefill.total() ? decode : prefill;
}

}  // namespace

Result<void> check_workload(const Workload& work) {
  const auto is_size = [](double tokens) { return tokens >= 1 && tokens <= predict::kLargestSize; };
  // NaN is none of these.
  const bool is_prefix = work.prefix >= 0 && work.prefix < work.isl;
  if (!is_size(work.isl) || !is_size(work.osl) || !is_prefix)
    return fail(Errc::kInvalidArgument,
                "isl {}, osl {}, prefix {}: sizes are from 1 to {} tokens, and a prefix is "
                "shorter than the prompt",
                work.isl, work.osl, work.prefix, predict::kLargestSize);
  return {};
}

double three_decimals(double value) {
  return std::nearbyint(value * 1000) / 1000;
}

Result<ClosedForm> static_batch(const PassModel& model, const perfdb::SystemFile& system,
                                const std::string& version, const Workload& work, double batch,
                                StaticPhase phase, const EngineOptions& options, double stride) {
  DSAPERF_TRY(check(work, batch));
  const auto& in = model.inputs();
  ClosedForm result;
  const double fresh = work.isl - work.prefix;
  if (phase != StaticPhase::kGeneration) {
    DSAPERF_TRY_ASSIGN(result.context, model.context(batch, fresh, work.prefix));
  }
  if (phase != StaticPhase::kContext) {
    double done = 0;
    while (done < work.osl - 1) {
      DSAPERF_TRY_ASSIGN(const auto step, model.generation(batch, work.isl + done + 1));
      add(result.generation, step, std::min(stride, work.osl - 1 - done));
      done += stride;
    }
  }
  MemoryLoad load{.sequences = batch,
                  .sequence_tokens = options.max_sequence.value_or(
                      work.isl + (phase == StaticPhase::kContext ? 1 : work.osl)),
                  .step_tokens = phase == StaticPhase::kGeneration ? batch : fresh * batch,
                  .draft_share = phase == StaticPhase::kGeneration ? batch : 0};
  result.memory = memory_use(model, system, load);
  result.fit = fit(result.memory, system.mem_capacity,
                   cache_budget(in.engine, version, in.layout, system.mem_capacity,
                                BudgetUse::kStatic, options.memory_fraction));
  result.ttft_ms = result.context.ms;
  result.tpot_ms =
      work.osl <= 1 ? 0 : result.generation.ms / (work.osl - 1) / options.tokens_a_step;
  result.request_ms = result.ttft_ms + result.tpot_ms * (work.osl - 1);
  result.concurrency = batch * in.layout.dp;
  if (result.request_ms > 0)
    result.request_s = result.concurrency / result.request_ms * 1000 * in.layout.pp;
  const double tokens = phase == StaticPhase::kContext      ? 1
                        : phase == StaticPhase::kGeneration ? work.osl - 1
                                                            : work.osl;
  result.output_tok_s = result.request_s * tokens;
  return result;
}

Result<ClosedForm> in_flight(const PassModel& model, const perfdb::SystemFile& system,
                             const std::string& version, const Workload& work, double batch,
                             double chunk, const EngineOptions& options) {
  DSAPERF_TRY(check(work, batch));
  const auto& in = model.inputs();
  const bool one = batch == 1;
  const double iterations = 1 + std::max(work.osl - 1, 0.0) / options.tokens_a_step;
  const double steps = std::ceil(work.isl * batch / chunk);

  ClosedForm result;
  result.mixed_decode_requests =
      one ? 0 : mixed_decode_requests(in.engine, batch, chunk, work.isl, iterations);
  result.mixed_steps = one ? 1 : steps;
  result.decode_steps = one ? std::max(iterations - 1, 0.0) : std::max(iterations - steps, 0.0);
  const bool decodes_alone = one || steps < iterations;

  DSAPERF_TRY_ASSIGN(result.context, model.mixed({.chunk = chunk,
                                                  .decoding = result.mixed_decode_requests,
                                                  .isl = work.isl,
                                                  .osl = work.osl,
                                                  .past = work.prefix}));
  if (decodes_alone) {
    DSAPERF_TRY_ASSIGN(result.generation,
                       model.generation(batch, work.isl + std::floor(work.osl / 2) + 1));
  }

  double counted = result.mixed_steps;  // of the mixed steps, in TPOT
  if (one)
    counted = 0;
  else if (decodes_alone && in.engine != Engine::kVllm && in.quirks.has(Quirk::kThreeStepsLess))
    counted = std::max(1.0, counted - 3);
  result.ttft_ms = (result.context.ms * std::ceil(work.isl / chunk) + dispatch_ms(model)) *
                   queue_factor(model, batch, steps);
  const double tpot_steps = counted + result.decode_steps;
  if (tpot_steps > 0)
    result.tpot_ms = (result.context.ms * counted + result.generation.ms * result.decode_steps) /
                     tpot_steps / options.tokens_a_step;
  result.request_ms = result.ttft_ms + result.tpot_ms * std::max(work.osl - 1, 0.0);

  const double all =
      result.mixed_steps * result.context.ms + result.decode_steps * result.generation.ms;
  double tok_s = work.osl > 1 && all > 0 ? 1000 / all * batch * (work.osl - 1) : 0;
  if (in.engine == Engine::kVllm && result.request_ms > 0)  // Little's law
    tok_s = std::min(tok_s, batch * std::max(work.osl - 1, 0.0) * 1000 / result.request_ms);
  const double copies = in.layout.pp * in.layout.dp;
  result.output_tok_s = tok_s * copies;
  result.concurrency = batch * copies;
  result.request_s = work.osl > 1 ? result.output_tok_s / (work.osl - 1) : 0;
  result.memory = peak_memory(model, system, work, batch, chunk, options);
  result.fit = fit(result.memory, system.mem_capacity,
                   cache_budget(in.engine, version, in.layout, system.mem_capacity,
                                BudgetUse::kInFlight, options.memory_fraction));
  return result;
}

}  // namespace dsaperf::serving
