#include "dsaperf/core/fail.hpp"
#include "dsaperf/serving/pass_model.hpp"

#include <algorithm>
#include <cmath>

namespace dsaperf::serving {
namespace {

Result<PassTime> run(const std::vector<PassItem>& items, const PassSizes& sizes) {
  PassTime pass;
  pass.lines.reserve(items.size());
  for (const PassItem& item : items) {
    DSAPERF_TRY_ASSIGN(const auto time, time_of(item, sizes));
    pass.ms += time.ms;
    if (item.is_attention) pass.attention_ms += time.ms;
    pass.lines.push_back({.name = item.name, .time = time, .bound = {}});
  }
  return pass;
}

enum class Part { kAttention, kRest };

Result<double> sum_part(const std::vector<PassItem>& items, const PassSizes& sizes, Part part) {
  double sum = 0;
  for (const PassItem& item : items) {
    if (item.is_attention != (part == Part::kAttention)) continue;
    DSAPERF_TRY_ASSIGN(const auto time, time_of(item, sizes));
    sum += time.ms;
  }
  return sum;
}

PassSizes context_sizes(double batch, double new_tokens, double past) {
  return {.tokens = batch * new_tokens,
          .rows_out = batch,
          .batch = batch,
          .new_tokens = new_tokens,
          .past = past};
}

void fill_bounds(PassTime& pass, const std::vector<PassItem>& items, const PassSizes& sizes) {
  for (std::size_t i = 0; i < items.size(); ++i)
    pass.lines[i].bound = bound_of(items[i], sizes, pass.lines[i].time);
}

}  // namespace

PassSizes PassModel::generation_sizes(double batch, double total) const {
  const double tokens = batch * (1 + inputs_.draft_tokens);
  return {
      .tokens = tokens, .rows_out = tokens, .batch = tokens, .new_tokens = 1, .past = total - 1};
}

Result<PassTime> PassModel::context(double batch, double new_tokens, double past) const {
  return run(context_, context_sizes(batch, new_tokens, past));
}

Result<PassTime> PassModel::generation(double batch, double total) const {
  return run(generation_, generation_sizes(batch, total));
}

void PassModel::bind_context(PassTime& pass, double batch, double new_tokens, double past) const {
  fill_bounds(pass, context_, context_sizes(batch, new_tokens, past));
}

void PassModel::bind_generation(PassTime& pass, double batch, double total) const {
  fill_bounds(pass, generation_, generation_sizes(batch, total));
}

Result<PassTime> PassModel::mixed(const Mixed& step) const {
  const double decode_tokens = step.decoding * (1 + inputs_.draft_tokens);
  const double tokens = step.chunk + decode_tokens;
  // One request of all tokens stands for the step, with the prefixes of the prompts in it.
  const PassSizes shared{.tokens = tokens,
                         .rows_out = 1,
                         .batch = 1,
                         .new_tokens = tokens,
                         .past = step.past * std::floor(step.chunk / step.isl)};
  // aiconfigurator finds attention by its name, which the block of an MLA model does not have: it
  // is asked with the tokens of both phases there.
  const bool apart = std::any_of(context_.begin(), context_.end(), [](const PassItem& item) {
    return item.is_attention && item.name == "context_attention";
  });
  PassTime pass;
  for (const PassItem& item : context_) {
    if (apart && item.is_attention) continue;
    DSAPERF_TRY_ASSIGN(const auto time, time_of(item, shared));
    pass.ms += time.ms;
    if (item.is_attention) pass.attention_ms += time.ms;
    pass.lines.push_back({.name = item.name, .time = time, .bound = {}});
  }
  const auto add = [&](const std::string& name, const std::vector<PassItem>& items,
                       const PassSizes& sizes, double share) -> Result<void> {
    for (const PassItem& item : items) {
      if (!apart || !item.is_attention) continue;
      DSAPERF_TRY_ASSIGN(auto time, time_of(item, sizes));
      time.ms *= share;
      pass.ms += time.ms;
      pass.lines.push_back({.name = name, .time = time, .bound = {}});
    }
    return {};
  };
  DSAPERF_TRY(add("context_attention (scaled)", context_,
                  {.batch = std::ceil(step.chunk / step.isl),
                   .new_tokens = step.isl - step.past,
                   .past = step.past},
                  1 / std::ceil(step.isl / step.chunk)));
  if (apart) pass.attention_ms = pass.lines.back().time.ms;
  if (decode_tokens > 0)
    DSAPERF_TRY(add(
        "generation_attention", generation_,
        {.batch = decode_tokens, .new_tokens = 1, .past = step.isl + std::floor(step.osl / 2)}, 1));
  return pass;
}

Result<double> PassModel::rest_ms(const StepTokens& tokens, double rows_out) const {
  return sum_part(context_,
                  {.tokens = tokens.most,
                   .rows_out = rows_out,
                   .batch = 1,
                   .new_tokens = tokens.most,
                   .mean_tokens = tokens.mean},
                  Part::kRest);
}

Result<double> PassModel::decode_rest_ms(const StepTokens& tokens) const {
  return sum_part(generation_,
                  {.tokens = tokens.most,
                   .rows_out = tokens.most,
                   .batch = tokens.most,
                   .new_tokens = 1,
                   .mean_tokens = tokens.mean},
                  Part::kRest);
}

Result<double> PassModel::context_attention_ms(double batch, double new_tokens, double past) const {
  return sum_part(
      context_,
      {.tokens = batch * new_tokens, .batch = batch, .new_tokens = new_tokens, .past = past},
      Part::kAttention);
}

Result<double> PassModel::generation_attention_ms(double batch, double total) const {
  return sum_part(generation_,
                  {.tokens = batch, .batch = batch, .new_tokens = 1, .past = total - 1},
                  Part::kAttention);
}

}  // namespace dsaperf::serving
