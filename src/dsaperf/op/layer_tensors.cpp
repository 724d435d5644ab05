#include "dsaperf/op/layer_tensors.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/file.hpp"

#include <nlohmann/json.hpp>

namespace dsaperf::op {

Result<LayerTensors> LayerTensors::open(const std::filesystem::path& path, int layer) {
  LayerTensors tensors;
  tensors.prefix_ = fmt::format("model.layers.{}.self_attn.", layer);
  std::error_code ignored;
  const bool folder = std::filesystem::is_directory(path, ignored);
  const auto index = path / "model.safetensors.index.json";
  if (!folder || !std::filesystem::exists(index, ignored)) {
    DSAPERF_TRY(tensors.add(folder ? path / "model.safetensors" : path));
    const SafetensorsFile& only = tensors.files_.begin()->second;
    if (!only.has(tensors.prefix_ + "q_a_proj.weight") && only.has("q_a_proj.weight"))
      tensors.prefix_.clear();
    return tensors;
  }
  DSAPERF_TRY_ASSIGN(const auto text, read_file(index, Bytes{std::int64_t{64} << 20}));
  const auto document = nlohmann::json::parse(text, nullptr, false);
  if (!document.is_object() || !document.contains("weight_map") ||
      !document["weight_map"].is_object())
    return fail(Errc::kParse, "{}: no weight_map", index.native());
  for (const auto& [name, file] : document["weight_map"].items()) {
    if (!name.starts_with(tensors.prefix_) || !file.is_string()) continue;
    // Only a name of a file beside the index, not a way out of the folder.
    const std::filesystem::path shard = file.get<std::string>();
    if (shard != shard.filename())
      return fail(Errc::kParse, "{}: '{}' is not a file beside it", index.native(), shard.native());
    DSAPERF_TRY(tensors.add(path / shard));
  }
  if (tensors.files_.empty())
    return fail(Errc::kNotFound, "{}: no tensor of layer {}", index.native(), layer);
  return tensors;
}

std::string LayerTensors::full_name(std::string_view name) const {
  return fmt::format("{}{}", prefix_, name);
}

Result<NamedTensor> LayerTensors::read(const std::string& full_name) {
  for (auto& [path, file] : files_) {
    if (!file.has(full_name)) continue;
    DSAPERF_TRY_ASSIGN(auto tensor, file.read(full_name));
    if (tensor.type == DType::kI32 || tensor.type == DType::kI64)
      return fail(Errc::kUnsupported, "{}: '{}' holds integers", path.native(), full_name);
    return tensor;
  }
  return fail(Errc::kNotFound, "{}: no tensor '{}'", files_.begin()->first.native(), full_name);
}

Result<void> LayerTensors::add(const std::filesystem::path& path) {
  if (files_.contains(path)) return {};
  DSAPERF_TRY_ASSIGN(auto file, SafetensorsFile::open(path));
  files_.emplace(path, std::move(file));
  return {};
}

}  // namespace dsaperf::op
