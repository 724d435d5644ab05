#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/perfdb/systems_tree.hpp"
#include "dsaperf/predict/layer_query.hpp"
#include "dsaperf/predict/stages/explanation.hpp"
#include "dsaperf/predict/stages/hyperparameter_store.hpp"
#include "dsaperf/predict/stages/question.hpp"

#include <memory>
#include <string>
#include <string_view>

namespace dsaperf::predict::stages {

// DSA latencies of one system, backend and version by the stage model. Rows are read and a part is
// prepared when first asked for; parameters come from the store, fitted where it has none. Not safe
// to use from several threads.
class StageTables {
 public:
  static Result<StageTables> open(std::shared_ptr<const perfdb::SystemsTree> tree,
                                  std::string_view system, std::string_view backend,
                                  std::string_view version,
                                  std::shared_ptr<HyperparameterStore> store);
  StageTables(StageTables&&) noexcept;
  StageTables& operator=(StageTables&&) noexcept;
  ~StageTables();

  const std::string& version() const;

  // A kind of layer, and the parts that answer for it as far as they were asked for: looked up once
  // for many questions, good as long as the tables are.
  struct Kind;
  Kind& kind(const LayerKind& kind);

  // A row at the point itself answers unless its neighbours contradict it (a warning then says so);
  // elsewhere the model does. Where no row is of the kind, rows of the nearest other kind (cache
  // format, then GEMM format, then architecture) answer by the ratio of the stage models, and the
  // answer is "modelled" with a warning that says so; `move` does the same to another card's rows.
  // Fails with kNotFound where no row is of the phase and regime at all.
  Result<LayerLatency> at(Kind& kind, const LayerShape& shape, const Move* move = nullptr);

  // Of the full layer's part (and the other where share is 0).
  Result<Explanation> explain(Kind& kind, const LayerShape& shape, const Move* move = nullptr);

 private:
  struct State;
  explicit StageTables(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace dsaperf::predict::stages
