#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/op/safetensors.hpp"

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>

namespace dsaperf::op {

// The tensors of one layer's attention by their names within it, wherever in a checkpoint their
// files are: a .safetensors file, or a folder with one (model.safetensors) or with several and
// their model.safetensors.index.json. Of an index only files beside it are opened.
class LayerTensors {
 public:
  static Result<LayerTensors> open(const std::filesystem::path& path, int layer);

  // As the files have it: "q_a_proj.weight" of layer 3 is
  // "model.layers.3.self_attn.q_a_proj.weight", or as it is in a file of one attention alone.
  std::string full_name(std::string_view name) const;
  // bf16, f32 or e4m3. Fails with the file, or kNotFound.
  Result<NamedTensor> read(const std::string& full_name);

 private:
  Result<void> add(const std::filesystem::path& path);

  std::string prefix_;
  std::map<std::filesystem::path, SafetensorsFile> files_;  // never empty
};

}  // namespace dsaperf::op
