#pragma once

#include "dsaperf/core/host_ranges.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/op/dsa_layer.hpp"
#include "dsaperf/op/host_range.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace dsaperf::op {

// One pass through the stages: parameters of each out of the pass's tensors, nothing else. A member
// a stage; they are defined where the stage's subject is: projection_stages.cpp,
// indexer_stages.cpp, attention_stages.cpp.
class StageRunner {
 public:
  StageRunner(const DsaLayer& layer, ForwardPass& pass, const CacheManager& cache,
              DsaLayer::Observer& observer)
      : layer_(layer),
        backend_(*layer.backend_),
        spec_(pass.spec),
        pass_(pass),
        cache_(cache),
        observer_(observer),
        n_(pass.tokens) {}

  Result<void> run(std::span<const model::Stage> stages);

 private:
  Result<void> run(model::Stage stage);
  template <typename Work>
  Result<void> timed(model::Stage stage, const Work& work) {
    DSAPERF_TRY(observer_.before(stage));
    {
      // `dsaperf profile` and `trace show` tell by it exactly which kernels are whose.
      const HostRange range(std::string(kStageRange).append(model::name(stage)));
      DSAPERF_TRY(work());
    }
    return observer_.after(stage);
  }

  // Projections, norms and rope.
  Result<void> qkv_a_projection();
  Result<void> norm_rope();
  Result<void> q_b_projection();
  Result<void> absorb();
  Result<void> v_up();
  Result<void> o_projection();

  // Tensors of fp8 activations: of x and then of v_out; of q_r, which norm_rope fills.
  struct Quantised {
    const char* values;
    const char* scales;
  };
  static constexpr Quantised kOfX = {"x_e4m3", "x_scales"};
  static constexpr Quantised kOfQueryLatent = {"q_r_e4m3", "q_r_scales"};

  // Activations of the projections that follow; without values for bf16 weights.
  kernels::QuantiseGroupsParams quantised(const Tensor& x, std::int64_t columns,
                                          const Quantised& into);
  Result<void> quantise(const Tensor& x, std::int64_t columns);
  Result<void> project(const Tensor& x, const DsaLayer::Projection& w, const Tensor& y,
                       const Quantised& quantised_x = kOfX);
  kernels::RopeParams rope(std::uint16_t* x, int heads, std::int64_t head_stride,
                           kernels::RopePairs pairs);
  // Out of rows of another tensor, which keeps them as they are.
  kernels::RopeParams rope(const std::uint16_t* source, std::int64_t source_head_stride,
                           std::uint16_t* x, int heads, std::int64_t head_stride);

  // The indexer.
  Result<void> indexer_projection();
  Result<void> indexer_quantise();
  Result<void> index_cache_write();
  kernels::LayerNormParams index_key_norm();
  kernels::RopeParams index_key_rope();
  kernels::IndexerQuantiseParams quantised_index_key();

  // Scores and top-k, part by part through one scratch. Decode: scores straight from the pages,
  // several requests at once. Prefill and mixed batches: the keys of a request out of their pages,
  // then chunks of its tokens.
  Result<void> select() { return pass_.uniform_q_len > 0 ? select_paged() : select_gathered(); }
  Result<void> select_paged();
  Result<void> select_gathered();
  Result<void> paged_scores(std::int64_t first_request, std::int64_t requests);
  Result<void> gather_keys(std::size_t request, std::int64_t keys);
  Result<void> gathered_scores(std::int64_t first, std::int64_t count, std::int64_t keys);
  // Tokens [first, first + count), whose scores lie in the scratch.
  Result<void> keep_scores(std::int64_t first, std::int64_t count);
  Result<void> take_top(std::int64_t first, std::int64_t count, std::int64_t columns);

  // The cache and attention.
  Result<void> cache_write();
  Result<void> attention();
  Result<void> selection_rows(std::int64_t first, std::int64_t count);
  const std::int32_t* list_lengths(std::int64_t first);
  Result<kernels::KvRows> attention_rows(const ForwardPass::AttentionPart& part);

  const DsaLayer& layer_;
  Backend& backend_;
  const LayerSpec& spec_;
  ForwardPass& pass_;
  const CacheManager& cache_;
  DsaLayer::Observer& observer_;
  std::int64_t n_;
};

}  // namespace dsaperf::op
