#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/predict/compatible/operator_set.hpp"
#include "dsaperf/predict/layer_query.hpp"
#include "dsaperf/predict/shared_layer.hpp"
#include "dsaperf/predict/stages/usual_layer.hpp"

#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace dsaperf::serving {

// What limits an operator at best: its arithmetic at the card's peak rate, its bytes at the peak
// bandwidth, or what it sends at the speed of a link.
enum class Limit { kMath, kMemory, kLink };
std::string_view name(Limit limit);

// The sizes that a pass hands to its operators. Uniform: all requests of a pass are alike.
struct PassSizes {
  double tokens = 0;       // of one attention rank, through projections and experts
  double rows_out = 0;     // tokens whose logits are computed
  double batch = 0;        // sequences in attention (decode: with draft tokens)
  double new_tokens = 0;   // a sequence, in attention
  double past = 0;         // a sequence; decode: cached tokens
  double mean_tokens = 0;  // of the attention ranks, where they differ: what experts share out

  double shared_tokens() const { return mean_tokens > 0 ? mean_tokens : tokens; }
};

// Kernels that move memory and compute little; a fixed time for bytes.
struct MemoryOperator {
  double ms_per_token = 0;
  double ms_fixed = 0;
  double bound_ms_per_token = 0;
  Limit limit = Limit::kMemory;
  int prompt_ranks = 1;  // that a prompt is split over

  double tokens(const PassSizes& sizes) const;
};
struct GemmUse {
  predict::compatible::GemmOperator gemm;
  bool logits = false;
  int ranks = 1;         // that share the tokens
  int prompt_ranks = 1;  // that a prompt is split over

  double rows(const PassSizes& sizes) const;
};
struct DeepEpUse {
  predict::compatible::DeepEpOperator exchange;
  int ranks = 1;  // that share the tokens
};
struct MoeUse {
  predict::compatible::MoeOperator moe;
  double ranks = 1;  // attention ranks whose tokens meet in the experts
};
// Collectives in a row: elements a token each.
struct CommUse {
  struct Step {
    predict::compatible::CommOperator comm;
    double elements_per_token = 0;
  };
  std::vector<Step> steps;
};
struct DsaUse {
  std::variant<predict::compatible::DsaLayer, predict::SharedLayer> layer;
  perfdb::Phase phase = perfdb::Phase::kContext;
  int heads = 0;
  double full_layer_share = 1;
  int context_parallel = 1;
  bool stands_in = false;  // rows of another format than the layer's
  // Its stages, for a breakdown; null where the card lacks a rate.
  std::shared_ptr<const predict::stages::UsualLayer> stages = nullptr;

  predict::LayerShape shape(const PassSizes& sizes) const;
};
struct MlaContextUse {
  predict::compatible::MlaContextOperator mla;
  // Ranks that a prompt is split over: each has a piece from its beginning and one as long from its
  // end, and the rank of the first and the last is counted.
  int prompt_ranks = 1;
};
struct MlaGenerationUse {
  predict::compatible::MlaGenerationOperator mla;
};
struct MlaBmmUse {
  predict::compatible::MlaBmmOperator bmm;
};

using OperatorKind = std::variant<MemoryOperator, GemmUse, DeepEpUse, MoeUse, CommUse, DsaUse,
                                  MlaContextUse, MlaGenerationUse, MlaBmmUse>;

struct PassOperator {
  std::string name;
  double count = 1;  // how often it occurs in a pass
  OperatorKind kind;
};

// A line of a pass: operators one after the other, or two such groups at the same time.
struct PassItem {
  std::string name;
  std::vector<PassOperator> operators;
  std::vector<PassOperator> beside;  // not empty: runs beside `operators`; the longer group counts
  bool is_attention = false;         // depends on lengths, not on tokens alone
};

struct OperatorTime {
  double ms = 0;
  predict::Source source = predict::Source::kMeasured;  // the weakest of its parts
};

// Time of all occurrences of an operator, or of a line, in a pass.
Result<OperatorTime> time_of(const PassOperator& op, const PassSizes& sizes);
Result<OperatorTime> time_of(const PassItem& item, const PassSizes& sizes);

}  // namespace dsaperf::serving
