#include "dsaperf/perfdb/system_file.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/file.hpp"
#include "dsaperf/perfdb/table_dtype.hpp"

#include <yaml-cpp/yaml.h>

#include <string_view>

namespace dsaperf::perfdb {
namespace {

constexpr Bytes kLongestFile{1 << 20};
constexpr std::string_view kRateSuffix = "_tc_flops";
constexpr std::string_view kOwnFormat = "dsaperf.system.1";

// A SystemSpec of ours (data/systems). What AIConfigurator's file has of a card beyond it, what
// memory reaches of its rate and the time of a first access, is not stated there: 1 and 0.
SystemFile parse_own(const std::filesystem::path& path, const YAML::Node& file) {
  SystemFile system;
  system.name = path.stem().native();
  system.mem_bw = file["memory"]["bytes_per_s"].as<double>();
  system.mem_capacity = file["memory"]["capacity_bytes"].as<double>(0);
  for (const auto& entry : file["peak_flop_per_s"]) {
    const auto format = entry.first.as<std::string>();
    system.rates[std::string(table_dtype(format))] = entry.second.as<double>();
  }
  system.power_w = file["power_w"].as<double>(0);
  system.sm_version = file["sm_version"].as<int>(0);
  if (const auto links = file["interconnect"]) {
    system.gpus_per_node = links["gpus_per_node"].as<int>(0);
    system.intra_node_bw = links["intra_node_bytes_per_s"].as<double>(0);
    system.inter_node_bw = links["inter_node_bytes_per_s"].as<double>(0);
    system.p2p_latency_s = links["latency_us"].as<double>(0) * 1e-6;
  }
  if (const auto reserve = file["reserve"]) {
    for (const auto& entry : reserve["nccl_bytes"]) {
      system.nccl_mem[entry.first.as<int>()] = entry.second.as<double>();
    }
    system.other_mem = reserve["runtime_bytes"].as<double>(0);
  }
  return system;
}

// yaml-cpp throws; everything that may throw is called from here.
SystemFile parse(const std::filesystem::path& path, const std::string& text) {
  const YAML::Node file = YAML::Load(text);
  if (file["format"].as<std::string>("") == kOwnFormat) return parse_own(path, file);
  const YAML::Node gpu = file["gpu"];
  const YAML::Node node = file["node"] ? file["node"] : YAML::Node(YAML::NodeType::Map);
  const YAML::Node misc = file["misc"] ? file["misc"] : YAML::Node(YAML::NodeType::Map);
  SystemFile system;
  system.name = path.stem().native();
  system.data = path.parent_path() / file["data_dir"].as<std::string>();
  system.mem_bw = gpu["mem_bw"].as<double>();
  system.mem_bw_scaling = gpu["mem_bw_empirical_scaling_factor"].as<double>(1);
  system.mem_latency_s = gpu["mem_empirical_constant_latency"].as<double>(0);
  system.mem_capacity = gpu["mem_capacity"].as<double>(0);
  for (const auto& entry : gpu) {
    const auto key = entry.first.as<std::string>();
    if (key.ends_with(kRateSuffix)) {
      system.rates[key.substr(0, key.size() - kRateSuffix.size())] = entry.second.as<double>();
    }
  }
  system.power_w = gpu["power"].as<double>(0);
  system.sm_version = gpu["sm_version"].as<int>(0);
  system.gpus_per_node = node["num_gpus_per_node"].as<int>(0);
  system.intra_node_bw = node["intra_node_bw"].as<double>(0);
  system.inter_node_bw = node["inter_node_bw"].as<double>(0);
  system.p2p_latency_s = node["p2p_latency"].as<double>(0);
  if (node["num_gpus_per_rack"]) system.gpus_per_rack = node["num_gpus_per_rack"].as<int>();
  if (node["inter_rack_bw"]) system.inter_rack_bw = node["inter_rack_bw"].as<double>();
  if (node["inter_rack_latency"])
    system.inter_rack_latency_s = node["inter_rack_latency"].as<double>();
  for (const auto& entry : misc["nccl_mem"]) {
    system.nccl_mem[entry.first.as<int>()] = entry.second.as<double>();
  }
  system.other_mem = misc["other_mem"].as<double>(0);
  system.nccl_version = misc["nccl_version"].as<std::string>("");
  system.oneccl_version = misc["oneccl_version"].as<std::string>("");
  return system;
}

}  // namespace

Result<double> SystemFile::rate(const std::string& format) const {
  const auto found = rates.find(format);
  if (found == rates.end()) {
    return fail(Errc::kNotFound, "{}.yaml: no {}{} given, and none is assumed", name, format,
                kRateSuffix);
  }
  return found->second;
}

Result<SystemFile> read_system_file(const std::filesystem::path& path) {
  DSAPERF_TRY_ASSIGN(const auto text, read_file(path, kLongestFile));
  try {
    return parse(path, text);
  } catch (const YAML::Exception& error) {
    return fail(Errc::kParse, "{}: {}", path.native(), error.what());
  }
}

}  // namespace dsaperf::perfdb
