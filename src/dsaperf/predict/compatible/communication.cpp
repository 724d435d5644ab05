#include "dsaperf/predict/compatible/communication.hpp"

#include "dsaperf/core/fail.hpp"

#include <algorithm>

namespace dsaperf::predict::compatible {
namespace {

double moved_share(int gpus) {
  return static_cast<double>(gpus - 1) / gpus;
}

double beyond(const perfdb::SystemFile& system, int measured, int gpus, NodeLinks links) {
  return moved_share(gpus) / moved_share(measured) * link_bytes_per_s(system, measured, links) /
         link_bytes_per_s(system, gpus, links);
}

// An all-reduce sends everything twice, to be summed and as sums.
double rounds(std::string_view operation) {
  return operation == "all_reduce" ? 2 : 1;
}

// Of one element of two bytes.
double sent_ms(const perfdb::SystemFile& system, std::string_view operation, int gpus,
               NodeLinks links) {
  constexpr double kElementBytes = 2;
  return rounds(operation) * moved_share(gpus) * kElementBytes /
         link_bytes_per_s(system, gpus, links) * 1e3;
}

// Where nodes are joined by a network; a rack of NVLink switches is none.
double crossings_ms(const perfdb::SystemFile& system, std::string_view operation, int measured,
                    int gpus) {
  const double within = link_bytes_per_s(system, measured);
  return link_bytes_per_s(system, gpus) < within ? rounds(operation) * system.p2p_latency_s * 1e3
                                                 : 0;
}

template <typename Wanted>
LatencyCurve rows_of(const perfdb::CommTable& table, int gpus, const Wanted& wanted) {
  std::vector<LatencyCurve::Point> points;
  for (const auto& row : table.rows)
    if (row.gpus == gpus && wanted(table.kinds[static_cast<std::size_t>(row.kind)]))
      points.push_back({.size = static_cast<double>(row.elements), .ms = row.latency.millis()});
  return LatencyCurve::from_points(std::move(points));
}

bool is_eager(const perfdb::CommKind& kind) {
  return kind.variant.find("eager") != std::string::npos ||
         kind.kernel_source.find("eager") != std::string::npos;
}

}  // namespace

double link_bytes_per_s(const perfdb::SystemFile& system, int gpus, NodeLinks links) {
  if (gpus <= system.gpus_per_node) return system.intra_node_bw;
  const auto of = [&](int together, double one) {
    return links == NodeLinks::kOfOneGpu ? one : std::min(system.intra_node_bw, together * one);
  };
  if (system.gpus_per_rack && gpus > *system.gpus_per_rack)
    return of(*system.gpus_per_rack, system.inter_rack_bw.value_or(system.inter_node_bw));
  return of(system.gpus_per_node, system.inter_node_bw);
}

Result<CommOperator> CommOperator::all_reduce(const perfdb::CommTable& table,
                                              const perfdb::SystemFile& system, int gpus,
                                              NodeLinks links) {
  CommOperator comm;
  if (gpus == 1) return comm;
  // Measurements without a CUDA graph hold launch time; the one system that has no others keeps
  // them.
  const bool keep_eager = system.name == "b60";
  const int measured = std::min(gpus, system.gpus_per_node);
  comm.curve_ = rows_of(
      table, measured, [&](const perfdb::CommKind& kind) { return keep_eager || !is_eager(kind); });
  if (comm.curve_.empty()) return fail(Errc::kNotFound, "no all-reduce rows for {} GPUs", measured);
  comm.extend("all_reduce", system, measured, gpus, links);
  return comm;
}

Result<CommOperator> CommOperator::collective(const perfdb::CommTable& table,
                                              const perfdb::SystemFile& system,
                                              std::string_view operation, int gpus,
                                              NodeLinks links) {
  CommOperator comm;
  if (gpus == 1) return comm;
  const auto wanted = [&](const perfdb::CommKind& kind) {
    return kind.operation == operation && kind.dtype == "half";
  };
  int largest = 0;
  for (const auto& row : table.rows)
    if (wanted(table.kinds[static_cast<std::size_t>(row.kind)]))
      largest = std::max(largest, row.gpus);
  const int measured = std::min(gpus, largest);
  comm.curve_ = rows_of(table, measured, wanted);
  if (comm.curve_.empty()) return fail(Errc::kNotFound, "no {} rows for {} GPUs", operation, gpus);
  comm.extend(operation, system, measured, gpus, links);
  return comm;
}

void CommOperator::extend(std::string_view operation, const perfdb::SystemFile& system,
                          int measured, int gpus, NodeLinks links) {
  bound_ms_per_element_ = sent_ms(system, operation, gpus, links);
  if (gpus <= measured) return;
  scale_ = beyond(system, measured, gpus, links);
  if (links == NodeLinks::kOfAllGpus)
    crossings_ms_ = crossings_ms(system, operation, measured, gpus);
}

CommOperator CommOperator::modelled(const modelled::OperatorCost& cost,
                                    const perfdb::SystemFile& system, std::string_view operation,
                                    int gpus) {
  CommOperator comm;
  if (gpus == 1) return comm;
  comm.bound_ms_per_element_ = sent_ms(system, operation, gpus, NodeLinks::kOfAllGpus);
  if (gpus > system.gpus_per_node)
    comm.crossings_ms_ = crossings_ms(system, operation, system.gpus_per_node, gpus);
  comm.curve_ = LatencyCurve::modelled(
      [&](double elements) { return cost.link_ms(comm.bound_ms(elements)); });
  return comm;
}

}  // namespace dsaperf::predict::compatible
