#include "dsaperf/cost/system_spec.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/file.hpp"
#include "dsaperf/core/near_name.hpp"

#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <limits>
#include <type_traits>

namespace dsaperf::cost {
namespace {

constexpr std::string_view kFormat = "dsaperf.system.1";
constexpr Bytes kLargestFile{1 << 20};

// Reads one map of the document; remembers the first thing that is wrong with it.
class Reader {
 public:
  Reader(const YAML::Node& node, std::string path) : node_(node), path_(std::move(path)) {
    if (!node_.IsMap())
      problem_ = fmt::format("{} is not a map", path_.empty() ? "the document" : path_);
  }

  Reader child(const std::string& key) {
    return Reader(problem_.empty() ? node_[key] : node_, join(key));
  }

  template <typename T>
  void optional(const std::string& key, std::optional<T>& value) {
    if (!problem_.empty()) return;
    const YAML::Node entry = node_[key];
    if (!entry || entry.IsNull()) return;
    T read{};
    if (!YAML::convert<T>::decode(entry, read))
      return describe(key, entry, "is not of the expected type");
    if constexpr (std::is_arithmetic_v<T>)
      if (!(read >= 0) || read > std::numeric_limits<T>::max())
        return describe(key, entry, "is not a finite number >= 0");
    value = read;
  }

  template <typename T>
  void required(const std::string& key, T& value) {
    std::optional<T> read;
    optional(key, read);
    if (read)
      value = *read;
    else if (problem_.empty())
      problem_ = fmt::format("{} is missing", join(key));
  }

  void positive(const std::string& key, double& value) {
    required(key, value);
    if (problem_.empty() && value <= 0) describe(key, node_[key], "is not positive");
  }

  const YAML::Node& node() const { return node_; }
  const std::string& problem() const { return problem_; }

 private:
  std::string join(const std::string& key) const { return path_.empty() ? key : path_ + "." + key; }
  void describe(const std::string& key, const YAML::Node& entry, std::string_view what) {
    problem_ = fmt::format("line {}: {} {}", entry.Mark().line + 1, join(key), what);
  }

  YAML::Node node_;
  std::string path_;
  std::string problem_;
};

Result<SystemSpec> parse_checked(const std::string& yaml) {
  const YAML::Node document = YAML::Load(yaml);
  SystemSpec spec;
  Reader root(document, "");
  std::string format;
  root.required("format", format);
  if (root.problem().empty() && format != kFormat)
    return fail(Errc::kUnsupported, "format {}: this program reads {}", format, kFormat);
  root.required("name", spec.name);
  root.required("device", spec.device);
  root.optional("sm_version", spec.sm_version);
  root.optional("sms", spec.sms);
  root.optional("power_w", spec.power_w);
  root.required("sources", spec.sources);

  Reader memory = root.child("memory");
  std::int64_t capacity = 0;
  memory.required("capacity_bytes", capacity);
  memory.positive("bytes_per_s", spec.hbm_bytes_per_s);
  std::optional<std::int64_t> l2;
  memory.optional("l2_bytes", l2);
  spec.hbm_capacity = Bytes{capacity};
  if (l2) spec.l2_capacity = Bytes{*l2};

  Reader peak = root.child("peak_flop_per_s");
  for (int i = 0; i < kMathFormatCount; ++i)
    peak.optional(std::string(cost::name(static_cast<MathFormat>(i))),
                  spec.peak_flop_per_s[static_cast<std::size_t>(i)]);

  Reader links = root.child("interconnect");
  links.required("gpus_per_node", spec.interconnect.gpus_per_node);
  links.optional("gpus_per_rack", spec.interconnect.gpus_per_rack);
  links.positive("intra_node_bytes_per_s", spec.interconnect.intra_node_bytes_per_s);
  links.positive("inter_node_bytes_per_s", spec.interconnect.inter_node_bytes_per_s);
  links.optional("inter_rack_bytes_per_s", spec.interconnect.inter_rack_bytes_per_s);
  links.optional("pcie_bytes_per_s", spec.interconnect.pcie_bytes_per_s);
  links.required("latency_us", spec.interconnect.latency_us);

  Reader reserve = root.child("reserve");
  std::int64_t runtime = 0;
  reserve.required("runtime_bytes", runtime);
  spec.runtime_reserve = Bytes{runtime};
  std::map<int, std::int64_t> buffers;
  reserve.required("nccl_bytes", buffers);
  for (const auto& [ranks, bytes] : buffers) spec.nccl_buffers[ranks] = Bytes{bytes};

  std::optional<std::map<std::string, double>> launch;
  root.optional("host_launch", launch);
  for (const auto& [framework, ratio] : launch.value_or(std::map<std::string, double>())) {
    if (!(ratio > 0) || ratio > std::numeric_limits<double>::max())
      return fail(Errc::kParse, "host_launch.{} is not a positive number", framework);
    spec.host_launch[framework] = ratio;
  }

  for (const Reader* reader : {&root, &memory, &peak, &links, &reserve})
    if (!reader->problem().empty()) return fail(Errc::kParse, "{}", reader->problem());
  return spec;
}

}  // namespace

double Interconnect::bytes_per_s(int gpus) const {
  if (gpus <= gpus_per_node) return intra_node_bytes_per_s;
  if (gpus_per_rack && gpus > *gpus_per_rack)
    return inter_rack_bytes_per_s.value_or(inter_node_bytes_per_s);
  return inter_node_bytes_per_s;
}

Bytes SystemSpec::nccl(int ranks) const {
  const auto above = nccl_buffers.upper_bound(ranks);
  return above == nccl_buffers.begin() ? Bytes{} : std::prev(above)->second;
}

Result<SystemSpec> parse_system(const std::string& yaml) {
  try {
    return parse_checked(yaml);
  } catch (const YAML::Exception& error) {
    return fail(Errc::kParse, "line {}: {}", error.mark.line + 1, error.msg);
  }
}

Result<SystemSpec> read_system(const std::filesystem::path& path) {
  DSAPERF_TRY_ASSIGN(const std::string text, read_file(path, kLargestFile));
  return parse_system(text).map_error(
      [&](Error error) { return std::move(error).with_context(path.native()); });
}

Result<std::vector<std::string>> system_names(const std::filesystem::path& data_dir) {
  std::vector<std::string> names;
  std::error_code status;
  for (const auto& entry : std::filesystem::directory_iterator(data_dir / "systems", status))
    if (entry.path().extension() == ".yaml") names.push_back(entry.path().stem().native());
  if (status)
    return fail(Errc::kNotFound, "{}: {}", (data_dir / "systems").native(), status.message());
  std::sort(names.begin(), names.end());
  return names;
}

Result<SystemSpec> find_system(const std::filesystem::path& data_dir, const std::string& name) {
  DSAPERF_TRY_ASSIGN(const auto names, system_names(data_dir));
  if (std::find(names.begin(), names.end(), name) == names.end())
    return fail(Errc::kNotFound, "system {}: not among {}{}", name, fmt::join(names, ", "),
                did_you_mean(name, names));
  return read_system(data_dir / "systems" / (name + ".yaml"));
}

}  // namespace dsaperf::cost
