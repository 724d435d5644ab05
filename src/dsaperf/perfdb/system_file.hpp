#pragma once

#include "dsaperf/core/error.hpp"

#include <filesystem>
#include <map>
#include <optional>
#include <string>

namespace dsaperf::perfdb {

// What AIConfigurator's <system>.yaml, or a SystemSpec of ours, says of a card and its node. Rates
// that the file does not name are absent: no ratio between formats is assumed.
struct SystemFile {
  std::string name;
  std::filesystem::path data;  // resolved against the file

  double mem_bw = 0;  // bytes/s
  double mem_bw_scaling = 1;
  double mem_latency_s = 0;
  double mem_capacity = 0;              // bytes
  std::map<std::string, double> rates;  // dense tensor FLOP/s: "bfloat16", "int8", "fp8", "fp4"
  double power_w = 0;
  int sm_version = 0;

  int gpus_per_node = 0;
  double intra_node_bw = 0;  // bytes/s a GPU, one direction
  double inter_node_bw = 0;
  double p2p_latency_s = 0;
  std::optional<int> gpus_per_rack;
  std::optional<double> inter_rack_bw;
  std::optional<double> inter_rack_latency_s;

  std::map<int, double> nccl_mem;  // bytes by tensor-parallel size
  double other_mem = 0;            // bytes
  std::string nccl_version;
  std::string oneccl_version;

  // Fails with kNotFound where the file names no rate of the format.
  Result<double> rate(const std::string& format) const;
};

// Fails with the key that is missing or is no number.
Result<SystemFile> read_system_file(const std::filesystem::path& path);

}  // namespace dsaperf::perfdb
