#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/perfdb/systems_tree.hpp"
#include "dsaperf/predict/compatible/dsa_bound.hpp"
#include "dsaperf/predict/layer_query.hpp"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::predict::compatible {

class DsaTables;

// One kind of layer, its rows found: the object to ask many times. Costs about 1 us a point on the
// grid or inside, 3 us outside. Safe to use from several threads.
class DsaLayer {
 public:
  // Fails with kNotFound for what the tables cannot answer, as aiconfigurator does.
  Result<LayerLatency> at(const LayerShape& shape) const;
  BoundParts bound(const LayerShape& shape) const;

 private:
  friend class DsaTables;
  struct Grids;
  struct Exchange;  // what context parallelism adds
  Result<LayerLatency> context_parallel(const LayerShape& shape) const;

  std::shared_ptr<const Grids> grids_;
  std::shared_ptr<const Exchange> exchange_;
};

// The samples of one kind that an ordinary query is answered from, on the axes of its grid: heads,
// past, new, batch in prefill; heads, batch, total in decode. `sources`: how many of the table's
// sources take part.
std::vector<LatencyGrid::Sample> samples_of(const perfdb::DsaTable& table, const LayerKind& kind,
                                            bool shares_selection, std::size_t sources);
// The grid of such samples.
LatencyGrid grid_of(const DsaBound& bound, perfdb::Phase phase, bool shares_selection,
                    std::vector<LatencyGrid::Sample> samples);

// DSA latencies of one system, backend and version as aiconfigurator 0.12 answers them: its tables,
// its choice of rows, its interpolation. Agrees with it to 1e-6, its quirks included
// (docs/predict.md names them). Tables are read when first asked for.
class DsaTables {
 public:
  // `version`: "", a slot's name or a number. Fails where the tree has no such system, backend or
  // version.
  static Result<DsaTables> open(std::shared_ptr<const perfdb::SystemsTree> tree,
                                std::string_view system, std::string_view backend,
                                std::string_view version);
  DsaTables(DsaTables&&) noexcept;
  DsaTables& operator=(DsaTables&&) noexcept;
  ~DsaTables();

  const std::string& version() const;

  // Fails with kNotFound where no row has the kind.
  Result<DsaLayer> layer(const LayerKind& kind, perfdb::Phase phase);

 private:
  struct State;
  explicit DsaTables(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace dsaperf::predict::compatible
