#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/core/units.hpp"
#include "dsaperf/cost/stage_cost.hpp"

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace dsaperf::cost {

// Links between GPUs; bytes per second, one direction, one GPU. Absent = not known.
struct Interconnect {
  int gpus_per_node = 8;
  std::optional<int> gpus_per_rack;
  double intra_node_bytes_per_s = 0;
  double inter_node_bytes_per_s = 0;
  std::optional<double> inter_rack_bytes_per_s;
  std::optional<double> pcie_bytes_per_s;
  double latency_us = 0;  // of one point-to-point transfer

  // Bandwidth between `gpus` neighbours: the slowest link they need.
  double bytes_per_s(int gpus) const;
};

// What one GPU of a system can do at best. Read from data/systems/<name>.yaml
// (docs/formats/system.md); figures are dense rates, and each group of them names its source there.
// What no source states is absent: no rate is derived from another.
struct SystemSpec {
  std::string name;               // "h200_sxm"
  std::string device;             // "NVIDIA H200 SXM"
  std::optional<int> sm_version;  // 90; absent for GPUs that are not NVIDIA's
  std::optional<int> sms;
  double hbm_bytes_per_s = 0;
  Bytes hbm_capacity;
  std::optional<Bytes> l2_capacity;
  std::optional<double> power_w;
  std::array<std::optional<double>, kMathFormatCount> peak_flop_per_s;  // by MathFormat
  Interconnect interconnect;
  Bytes runtime_reserve;              // driver, framework, fragmentation: an estimate
  std::map<int, Bytes> nccl_buffers;  // by ranks of a communicator: an estimate
  // Time that a framework on this system's host takes to launch a layer's kernels one by one, over
  // that on an x86 server, by framework; a framework that is absent was not measured to differ.
  std::map<std::string, double> host_launch;
  std::vector<std::string> sources;  // where the figures come from, for people

  std::optional<double> peak(MathFormat format) const {
    return peak_flop_per_s[static_cast<std::size_t>(format)];
  }
  // Buffers of a communicator of `ranks`: those of the largest listed count not above it.
  Bytes nccl(int ranks) const;
};

// Errors name the file, the line and the key.
Result<SystemSpec> parse_system(const std::string& yaml);
Result<SystemSpec> read_system(const std::filesystem::path& path);

// `name`.yaml under data/systems; an unknown name fails with kNotFound and lists those that are
// known.
Result<SystemSpec> find_system(const std::filesystem::path& data_dir, const std::string& name);
Result<std::vector<std::string>> system_names(const std::filesystem::path& data_dir);

}  // namespace dsaperf::cost
