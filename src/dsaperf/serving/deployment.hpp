#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/model/model_spec.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace dsaperf::serving {

// How one worker is laid over GPUs: tp * dp = moe_tp * moe_ep, times pp.
struct Layout {
  int tp = 1;
  int pp = 1;
  int dp = 1;  // copies of the attention
  int moe_tp = 1;
  int moe_ep = 1;
  int cp = 1;  // prefill sharded over the sequence

  int gpus() const { return tp * pp * dp * cp; }
  std::string text() const;  // "tp8pp1dp1etp8ep1"
};
// Fails, with the numbers, where the layout contradicts itself or does not divide the model.
Result<void> check_layout(const model::ModelSpec& spec, const Layout& layout);

enum class Engine { kSglang, kVllm, kTrtllm };
std::string_view name(Engine engine);
Result<Engine> engine_from_name(std::string_view name);

// Formats by aiconfigurator's names, which are also those of the tables: "bfloat16", "fp8_block",
// ...
struct Formats {
  std::string gemm;       // dense projections outside attention
  std::string attention;  // projections of attention: the key of its tables
  std::string shared;     // shared experts
  std::string moe;
  std::string kv;
  std::string fmha = "bfloat16";
};

// What a user may fix; empty = what the checkpoint says.
struct FormatChoice {
  std::string gemm;
  std::string kv;
};
Formats formats_of(const model::ModelSpec& spec, const FormatChoice& choice,
                   bool glm_fp8_attention_as_bf16);

// Name of a weight format in the tables.
std::string table_dtype(model::WeightFormat format);

}  // namespace dsaperf::serving
