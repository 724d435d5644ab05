#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/perfdb/systems_tree.hpp"
#include "dsaperf/predict/compatible/communication.hpp"
#include "dsaperf/predict/compatible/deepep_operator.hpp"
#include "dsaperf/predict/compatible/dsa_layer.hpp"
#include "dsaperf/predict/compatible/gemm_operator.hpp"
#include "dsaperf/predict/compatible/mla_operators.hpp"
#include "dsaperf/predict/compatible/moe_operator.hpp"
#include "dsaperf/predict/shared_layer.hpp"

#include <memory>
#include <string>
#include <string_view>

namespace dsaperf::predict::compatible {

// Of GEMMs whose rows hold the host's time: as they are, or their kernels'
// (GemmSites::of_kernels).
enum class GemmTimes { kAsMeasured, kOfKernels };

// Every operator of one system, backend and version as aiconfigurator 0.12 answers it. A table is
// read when the first operator asks for it. Operators that were made stay valid on their own.
//
// The shipped tables hold attention and, of the models that they are of, GEMMs: over them
// (SystemsTree::is_shipped) experts, collectives and GEMMs of which no shape near was measured are
// modelled from the card's figures (modelled/operator_costs.hpp), and their curves say so.
//
// Not safe for use from several threads; the operators are.
class OperatorSet {
 public:
  static Result<OperatorSet> open(std::shared_ptr<const perfdb::SystemsTree> tree,
                                  std::string_view system, std::string_view backend,
                                  std::string_view version);
  OperatorSet(OperatorSet&&) noexcept;
  OperatorSet& operator=(OperatorSet&&) noexcept;
  ~OperatorSet();

  // From here on the rest beside attention is modelled although there are tables of it: what that
  // costs in accuracy is the difference.
  Result<void> model_rest();

  const perfdb::SystemFile& system() const;
  const std::string& backend() const;
  const std::string& version() const;  // resolved

  Result<DsaLayer> dsa(const LayerKind& kind, perfdb::Phase phase);
  // The same by the stage model (docs/predict.md), of kinds that have rows.
  SharedLayer dsa_by_stages(const LayerKind& kind);
  Result<GemmOperator> gemm(std::string_view dtype, int n, int k,
                            GemmTimes times = GemmTimes::kAsMeasured);
  Result<MoeOperator> moe(const MoeShape& shape);
  Result<CommOperator> all_reduce(int gpus, NodeLinks links = NodeLinks::kOfOneGpu);
  Result<CommOperator> collective(std::string_view operation, int gpus,
                                  NodeLinks links = NodeLinks::kOfOneGpu);
  Result<MlaContextOperator> mla_context(const MlaKey& key, int heads);
  Result<MlaGenerationOperator> mla_generation(const MlaKey& key, int heads);
  Result<MlaBmmOperator> mla_bmm(std::string_view dtype, MlaBmmOperator::Side side, int heads);

  // Expert parallelism by DeepEP: its exchanges (prefill: the normal mode, decode: low latency) and
  // the experts behind them, which but for SGLang's are the usual ones where they have no rows.
  Result<DeepEpOperator> deepep(perfdb::Phase phase, const DeepEpOperator::Shape& shape,
                                DeepEpSide side);
  Result<MoeOperator> deepep_experts(perfdb::Phase phase, const MoeShape& shape);

  // Moving `bytes` through memory in one kernel: norms, activations, embedding.
  double memory_ms(double bytes) const;
  // One transfer to a neighbour in a pipeline, always at the speed between nodes (a quirk).
  double point_to_point_ms(double bytes) const;

 private:
  struct State;
  explicit OperatorSet(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace dsaperf::predict::compatible
