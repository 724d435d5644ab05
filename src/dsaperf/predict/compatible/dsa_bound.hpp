#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/perfdb/dsa_table.hpp"
#include "dsaperf/perfdb/system_file.hpp"
#include "dsaperf/predict/compatible/latency_grid.hpp"

#include <string>
#include <string_view>

// aiconfigurator's own bound of a DSA layer, kept to the letter: its interpolation outside the grid
// follows from it. It is not a good bound (docs/predict.md lists its eight flaws); cost::bound is.
namespace dsaperf::predict::compatible {

struct DsaDims {
  double hidden, q_lora, kv_lora, nope, rope, v, topk, index_dim, index_heads;
};

// Sizes that aiconfigurator holds for an architecture. Quirk: an unknown one has DeepSeek-V3.2's.
const DsaDims& dsa_dims(std::string_view architecture);
bool has_dsa_dims(std::string_view architecture);

// Bytes of a weight and name of the peak rate of a dtype ("fp8_block": 1, "fp8"). Fails with
// kNotFound for a dtype that aiconfigurator does not have.
struct DtypeTraits {
  double bytes = 2;
  std::string rate;
};
Result<DtypeTraits> dtype_traits(std::string_view dtype);

struct BoundParts {
  double math_ms = 0;
  double memory_ms = 0;
  double ms() const { return math_ms > memory_ms ? math_ms : memory_ms; }
};

// Which terms a layer has. Of layers that share a selection prefill keeps the indexer's projections
// and loses its scores; decode keeps everything (both quirks).
enum class BoundKind { kFull, kSharedSelection };

class DsaBound {
 public:
  static Result<DsaBound> make(const perfdb::SystemFile& system, std::string_view architecture,
                               std::string_view fmha, std::string_view kv, std::string_view gemm);

  BoundParts context(double heads, double prefix, double new_tokens, double batch,
                     BoundKind kind) const;
  BoundParts generation(double heads, double batch, double total) const;

 private:
  DsaBound() = default;
  double projection_flops(double tokens, double heads) const;
  double weight_bytes(double heads) const;

  DsaDims dims_{};
  double gemm_rate_ = 0, fp8_rate_ = 0, fmha_rate_ = 0, bf16_rate_ = 0, bandwidth_ = 0;
  double gemm_bytes_ = 0, kv_bytes_ = 0, fmha_bytes_ = 0;
};

// As a grid's bound: axes (heads, prefix, new tokens, batch) and (heads, batch, total).
class ContextBound final : public Bound {
 public:
  ContextBound(DsaBound bound, BoundKind kind) : bound_(bound), kind_(kind) {}
  double at(const Point& p) const override {
    return bound_.context(p[0], p[1], p[2], p[3], kind_).ms();
  }

 private:
  DsaBound bound_;
  BoundKind kind_;
};

class GenerationBound final : public Bound {
 public:
  explicit GenerationBound(DsaBound bound) : bound_(bound) {}
  double at(const Point& p) const override { return bound_.generation(p[0], p[1], p[2]).ms(); }

 private:
  DsaBound bound_;
};

}  // namespace dsaperf::predict::compatible
