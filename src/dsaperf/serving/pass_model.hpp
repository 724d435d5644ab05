#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/model/model_spec.hpp"
#include "dsaperf/serving/deployment.hpp"
#include "dsaperf/serving/pass_bounds.hpp"
#include "dsaperf/serving/pass_operators.hpp"
#include "dsaperf/serving/quirks.hpp"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace dsaperf::serving {

// What of a model the composition of a pass reads: DeepSeek-V3.2, GLM-5/5.1/5.2/5.3 and
// DeepSeek-V3.
struct ModelShape {
  enum class Attention { kDsa, kMla };
  Attention attention = Attention::kDsa;
  std::string architecture;  // the key of the DSA tables
  int layers = 0;
  int dense_layers = 0;  // of them with a dense MLP
  int heads = 0;
  int head_dim = 0;  // of config.json; where it says none, hidden / heads
  int hidden = 0;
  int dense_inter = 0;
  int moe_inter = 0;
  int topk = 0;
  int experts = 0;
  int vocab = 0;
  int mtp_layers = 0;
  double full_layer_share = 1;  // layers that run an indexer of their own

  // Fails with kUnsupported, and says why, for models of other families.
  static Result<ModelShape> of(const model::ModelSpec& spec);
};

struct LineTime {
  std::string name;
  OperatorTime time;
  std::optional<LineBound> bound;  // where it was asked for
};

// A pass as a list of lines; attention apart from the rest, since a mixed step runs it on its own
// sizes.
struct PassTime {
  double ms = 0;
  double attention_ms = 0;  // of it; in a mixed step that of prefill
  std::vector<LineTime> lines;
};

struct DraftTokens {
  int count = 0;             // a step verifies 1 + count tokens a request
  double tokens_a_step = 1;  // of them kept, on average
};

// Of a step: of the attention rank that has most and, what experts and exchanges share out, of the
// mean one.
struct StepTokens {
  double most = 0;
  double mean = 0;
};

// Experts behind DeepEP's exchanges: whole shared experts and, on SGLang, attention between a
// gather and a scatter and, as aiconfigurator has it, no router and logits, and no embedding and
// norms but DeepSeek-V3's. A worker of one phase may have them for that phase alone: one of prefill
// then has no decode, and one of decode no prefill but its weights, which are those without
// exchanges. Without any, experts over several nodes are refused, but for kNever, which moves their
// tokens by collectives.
enum class DeepEp { kNone, kNever, kBoth, kPrefill, kDecode };

// The forward passes of one worker: which operators run how often, resolved once. Safe to use from
// several threads.
class PassModel {
 public:
  struct Inputs {
    ModelShape shape;
    Layout layout;
    Formats formats;
    Engine engine = Engine::kSglang;
    Quirks quirks = Quirks::all();
    int draft_tokens = 0;
    DeepEp deepep = DeepEp::kNone;
    // Of the rows that stand for sparse attention in formats.attention, where tables lack those.
    std::string nearest_attention = {};

    bool exchanges() const { return deepep != DeepEp::kNone && deepep != DeepEp::kNever; }
    // The format of attention's rows: SGLang's of DeepSeek-V3 beside exchanges have one alone.
    std::string_view attention_rows() const;
  };
  // Whether a layout may have its experts behind DeepEP's exchanges: pure expert parallelism, but
  // for what TensorRT-LLM and these tables do not know. Whether they were measured, make says.
  static bool may_exchange(const Inputs& inputs);
  // Fails with kNotFound, naming the operator, where the tables lack what the model needs. Without
  // quirks, rows of fp8_block stand for sparse attention with NVFP4 products that was not measured:
  // checkpoints that have some keep the others in bf16, about as many bytes and FLOPs' time in all.
  static Result<PassModel> make(const Inputs& inputs, predict::compatible::OperatorSet& operators);

  const Inputs& inputs() const { return inputs_; }

  // Prefill of `batch` requests of `new_tokens` each.
  Result<PassTime> context(double batch, double new_tokens, double past) const;
  // One decode step of `batch` requests whose total length, the new token counted, is `total`.
  Result<PassTime> generation(double batch, double total) const;
  // The bound of every line of such passes, at these sizes.
  void bind_context(PassTime& pass, double batch, double new_tokens, double past) const;
  void bind_generation(PassTime& pass, double batch, double total) const;
  // One step that holds prefill of `chunk` tokens of prompts of `isl` and decode of `decoding`
  // requests.
  struct Mixed {
    double chunk = 0;
    double decoding = 0;
    double isl = 0;
    double osl = 0;
    double past = 0;  // cached prefix of each prompt
  };
  Result<PassTime> mixed(const Mixed& step) const;

  // The same without the lines, for a simulation that asks a million times. Sizes may differ
  // between requests: attention is asked with the mean length of those that decode.
  Result<double> rest_ms(const StepTokens& tokens, double rows_out) const;
  Result<double> decode_rest_ms(const StepTokens& tokens) const;
  Result<double> context_attention_ms(double batch, double new_tokens, double past) const;
  Result<double> generation_attention_ms(double batch, double total) const;

  // Bytes of weights on one GPU, as aiconfigurator counts them.
  double weight_bytes() const { return weight_bytes_; }

 private:
  static Result<PassModel> of_rows(const Inputs& inputs,
                                   predict::compatible::OperatorSet& operators);
  PassSizes generation_sizes(double batch, double total) const;
  explicit PassModel(Inputs inputs) : inputs_(std::move(inputs)) {}

  Inputs inputs_;
  std::vector<PassItem> context_;
  std::vector<PassItem> generation_;
  double weight_bytes_ = 0;
};

}  // namespace dsaperf::serving
