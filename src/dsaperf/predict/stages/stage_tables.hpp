#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/perfdb/systems_tree.hpp"
#include "dsaperf/predict/layer_query.hpp"
#include "dsaperf/predict/stages/hyperparameter_store.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::predict::stages {

// How an answer came about, for people.
struct Explanation {
  struct Share {
    std::string stage;  // a stage's name; "launches": gaps between kernels, "host": waiting for it
    Micros time;        // its part of the answer, never below its bound; parts add up to the answer
    Micros bound;       // arithmetic at peak rates or bytes at peak bandwidth
    std::string binds;  // "math", "memory"; empty: no bound
  };
  struct Neighbour {
    LayerShape shape;
    Micros measured;
    double distance = 0;  // in length scales
  };
  std::string kernel_source;
  std::string regime;
  std::string version;           // of the rows that answered
  std::string moved;             // how the question differs from the rows; empty: it does not
  std::string defects;           // what lint finds in them
  Micros stage_model;            // before the correction by what was measured near it
  Micros host_time;              // of a layer's launches where they are not replayed
  double relative_variance = 0;  // 0: measured here, 1: nothing near
  std::vector<Share> stages;
  std::vector<Neighbour> nearest;
};

// What rows are asked for that are not those of the question: another card's figures, and how far
// the interval must widen for what the rows do not know.
struct Move {
  perfdb::SystemFile card;  // that the question is about
  double doubt = 0;         // half-width in log that the move adds
  double host_launch = 1;   // time of a kernel's launch there, the rows' host has 1
  std::string text;         // "rows of h200_sxm", for people
};

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

// The hashes of a table's parts.
Result<std::vector<std::uint64_t>> part_hashes(const perfdb::SystemsTree& tree,
                                               std::string_view system, std::string_view backend,
                                               std::string_view version, perfdb::Phase phase);

// Fits every part of a table that the store does not know; how many parts there are.
Result<std::size_t> prepare(const perfdb::SystemsTree& tree, std::string_view system,
                            std::string_view backend, std::string_view version, perfdb::Phase phase,
                            HyperparameterStore& store,
                            const std::function<void(const Part&)>& note = {});

}  // namespace dsaperf::predict::stages
