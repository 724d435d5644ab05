#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/perfdb/operator_tables.hpp"
#include "dsaperf/perfdb/system_file.hpp"
#include "dsaperf/predict/compatible/latency_curve.hpp"
#include "dsaperf/predict/modelled/operator_costs.hpp"

#include <string_view>

namespace dsaperf::predict::compatible {

// What collectives over several nodes find between them: as the package has it, the link of one GPU
// for all that each sends, and the time inside a node multiplied by as much as that is slower; or
// the links of all GPUs of a node, as rings and trees use them, and a transfer's latency a
// crossing.
enum class NodeLinks { kOfOneGpu, kOfAllGpus };

// A collective among some GPUs, ready to be asked for any number of elements (of two bytes). Among
// one GPU it takes no time.
//
// Beyond what was measured (a node; for NCCL the largest group in the table) the largest group
// answers, scaled by the share of data that leaves a GPU, (n - 1) / n, and by the slower links.
class CommOperator {
 public:
  static Result<CommOperator> all_reduce(const perfdb::CommTable& table,
                                         const perfdb::SystemFile& system, int gpus,
                                         NodeLinks links = NodeLinks::kOfOneGpu);
  // `operation`: "all_gather", "reduce_scatter", "alltoall", "all_reduce".
  static Result<CommOperator> collective(const perfdb::CommTable& table,
                                         const perfdb::SystemFile& system,
                                         std::string_view operation, int gpus,
                                         NodeLinks links = NodeLinks::kOfOneGpu);

  // Without rows, over the links of all GPUs.
  static CommOperator modelled(const modelled::OperatorCost& cost, const perfdb::SystemFile& system,
                               std::string_view operation, int gpus);

  double ms(double elements) const {
    return curve_.empty()
               ? 0
               : crossings_ms_ + scale_ * curve_.at(elements, 1, [](double at) { return at; });
  }
  // What each GPU has to send, at the link's speed.
  double bound_ms(double elements) const { return elements * bound_ms_per_element_; }
  CurveRegion region(double elements) const {
    return curve_.empty() ? CurveRegion::kExact : curve_.region(elements);
  }

 private:
  void extend(std::string_view operation, const perfdb::SystemFile& system, int measured, int gpus,
              NodeLinks links);

  LatencyCurve curve_;
  double scale_ = 1;
  double crossings_ms_ = 0;
  double bound_ms_per_element_ = 0;
};

// Bytes per second between `gpus` neighbours: inside a node, a rack, or beyond.
double link_bytes_per_s(const perfdb::SystemFile& system, int gpus,
                        NodeLinks links = NodeLinks::kOfOneGpu);

}  // namespace dsaperf::predict::compatible
