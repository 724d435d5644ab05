#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/perfdb/operator_tables.hpp"
#include "dsaperf/perfdb/system_file.hpp"
#include "dsaperf/predict/compatible/dsa_bound.hpp"
#include "dsaperf/predict/compatible/latency_curve.hpp"
#include "dsaperf/predict/modelled/operator_costs.hpp"

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace dsaperf::predict::compatible {

// y[m, n] = x[m, k] w[n, k]: its bound as aiconfigurator states it, every operand in the weights'
// bytes.
struct GemmBound {
  double flop_per_s = 0, bytes_per_s = 0, bytes_per_value = 0;
  static Result<GemmBound> make(const perfdb::SystemFile& system, std::string_view dtype);
  BoundParts parts(double m, double n, double k) const {
    return {.math_ms = 2 * m * n * k / flop_per_s * 1e3,
            .memory_ms = bytes_per_value * (m * n + m * k + n * k) / bytes_per_s * 1e3};
  }
  double ms(double m, double n, double k) const { return parts(m, n, k).ms(); }
};

// The GEMMs of one dtype: a curve over m for each (n, k) that was measured. Rows faster than the
// bound are raised to it.
class GemmSites {
 public:
  struct Site {
    double n = 0, k = 0;
    LatencyCurve over_m;
  };

  GemmSites(const perfdb::GemmTable& table, std::string_view dtype, GemmBound bound);
  // Without the host's time: some kernels' rows are how long it takes to launch them one by one
  // (vLLM's block-scaled ones, 57 to 500 us whatever the shape; docs/serving.md), which a pass
  // replayed from a graph does not wait for. What such rows hide is modelled.
  static GemmSites of_kernels(const perfdb::GemmTable& table, std::string_view dtype,
                              GemmBound bound, const modelled::OperatorCost& cost);
  // One shape without rows.
  static GemmSites modelled(const modelled::OperatorCost& cost, GemmBound bound, double n,
                            double k);

  const std::vector<Site>& sites() const { return sites_; }  // in order of first appearance
  const GemmBound& bound() const { return bound_; }

 private:
  explicit GemmSites(GemmBound bound) : bound_(bound) {}
  template <typename PointOf>  // of a row
  void add_rows(const perfdb::GemmTable& table, std::string_view dtype, const PointOf& point_of);

  GemmBound bound_;
  std::vector<Site> sites_;
};

// One GEMM of a model, ready to be asked for any m. A shape that was not measured takes the
// utilisation of the four nearest that were, weighted by distance in log2(n), log2(k).
class GemmOperator {
 public:
  // Fails with kNotFound where no measured shape is within two doublings (or beyond it on one side
  // only).
  static Result<GemmOperator> make(std::shared_ptr<const GemmSites> sites, double n, double k);

  double ms(double m) const;
  BoundParts bound(double m) const { return sites_->bound().parts(m, n_, k_); }
  CurveRegion region(double m) const;

 private:
  struct Neighbour {
    const GemmSites::Site* site;
    double distance;
    bool eligible;  // near enough to answer
  };
  GemmOperator(std::shared_ptr<const GemmSites> sites, double n, double k)
      : sites_(std::move(sites)), n_(n), k_(k) {}
  double site_ms(const GemmSites::Site& site, double m) const;
  double neighbours_ms(double m) const;

  std::shared_ptr<const GemmSites> sites_;
  double n_ = 0, k_ = 0;
  const GemmSites::Site* own_ = nullptr;
  std::vector<Neighbour> neighbours_;  // by distance; only where there is no own site
};

}  // namespace dsaperf::predict::compatible
