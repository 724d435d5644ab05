#include "dsaperf/op/checkpoint.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/file.hpp"
#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/op/safetensors.hpp"

#include <nlohmann/json.hpp>

#include <cstring>
#include <map>

namespace dsaperf::op {
namespace {

using kernels::kIndexDim;
using kernels::kKeyDim;
using kernels::kLatentDim;
using kernels::kQuantGroup;

// Tensors of a layer by their names within it, wherever their files are.
class Checkpoint {
 public:
  static Result<Checkpoint> open(const std::filesystem::path& path, int layer) {
    Checkpoint checkpoint;
    checkpoint.prefix_ = fmt::format("model.layers.{}.self_attn.", layer);
    std::error_code ignored;
    const bool folder = std::filesystem::is_directory(path, ignored);
    const auto index = path / "model.safetensors.index.json";
    if (!folder || !std::filesystem::exists(index, ignored)) {
      DSAPERF_TRY(checkpoint.add(folder ? path / "model.safetensors" : path));
      const SafetensorsFile& only = checkpoint.files_.begin()->second;
      if (!only.has(checkpoint.prefix_ + "q_a_proj.weight") && only.has("q_a_proj.weight"))
        checkpoint.prefix_.clear();
      return checkpoint;
    }
    DSAPERF_TRY_ASSIGN(const auto text, read_file(index, Bytes{std::int64_t{64} << 20}));
    const auto document = nlohmann::json::parse(text, nullptr, false);
    if (!document.is_object() || !document.contains("weight_map") ||
        !document["weight_map"].is_object())
      return fail(Errc::kParse, "{}: no weight_map", index.native());
    for (const auto& [name, file] : document["weight_map"].items()) {
      if (!name.starts_with(checkpoint.prefix_) || !file.is_string()) continue;
      // Only a name of a file beside the index, not a way out of the folder.
      const std::filesystem::path shard = file.get<std::string>();
      if (shard != shard.filename())
        return fail(Errc::kParse, "{}: '{}' is not a file beside it", index.native(),
                    shard.native());
      DSAPERF_TRY(checkpoint.add(path / shard));
    }
    if (checkpoint.files_.empty())
      return fail(Errc::kNotFound, "{}: no tensor of layer {}", index.native(), layer);
    return checkpoint;
  }

  // Rows [0, rows) and columns [0, columns) of a projection that is stored with at least as many.
  Result<Matrix> matrix(std::string_view name, std::int64_t rows, std::int64_t columns,
                        bool keep_fp8) {
    const std::string weight = fmt::format("{}{}.weight", prefix_, name);
    DSAPERF_TRY_ASSIGN(const auto tensor, read(weight));
    if (tensor.shape.size() != 2 || tensor.shape[0] < rows || tensor.shape[1] < columns)
      return fail(Errc::kInvalidArgument, "'{}' is {}, the layer needs {} x {}", weight,
                  fmt::format("{}", fmt::join(tensor.shape, " x ")), rows, columns);
    Matrix matrix{.rows = rows, .columns = columns};
    matrix.bf16.resize(rows * columns);
    std::vector<float> scales;
    const std::int64_t scale_columns = scale_groups(tensor.shape[1]);
    if (tensor.type == DType::kE4m3) {
      DSAPERF_TRY_ASSIGN(const auto stored, read(weight + "_scale_inv"));
      if (stored.type != DType::kF32 || stored.elements() < scale_groups(rows) * scale_columns)
        return fail(Errc::kInvalidArgument, "'{}_scale_inv' has no f32 scale for each block",
                    weight);
      scales.resize(stored.bytes.size() / 4);
      std::memcpy(scales.data(), stored.bytes.data(), scales.size() * 4);
    }
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = 0; c < columns; ++c) {
        const std::int64_t at = r * tensor.shape[1] + c;
        std::uint16_t& value = matrix.bf16[r * columns + c];
        if (tensor.type == DType::kBf16) {
          std::memcpy(&value, &tensor.bytes[2 * at], 2);
        } else if (tensor.type == DType::kF32) {
          float wide = 0;
          std::memcpy(&wide, &tensor.bytes[4 * at], 4);
          value = kernels::bf16_from_float(wide);
        } else {
          value =
              kernels::bf16_from_float(kernels::e4m3_to_float(tensor.bytes[at]) *
                                       scales[r / kQuantGroup * scale_columns + c / kQuantGroup]);
        }
      }
    }
    if (!keep_fp8) return matrix;
    if (tensor.type != DType::kE4m3) {
      quantise_blocks(matrix);
      return matrix;
    }
    const std::int64_t kept_columns = scale_groups(columns);
    for (std::int64_t r = 0; r < rows; ++r) {
      const auto row = tensor.bytes.begin() + r * tensor.shape[1];
      matrix.fp8.insert(matrix.fp8.end(), row, row + columns);
      if (r % kQuantGroup != 0) continue;
      const auto row_scales = scales.begin() + r / kQuantGroup * scale_columns;
      matrix.scales.insert(matrix.scales.end(), row_scales, row_scales + kept_columns);
    }
    return matrix;
  }

  Result<std::vector<float>> vector(std::string_view name, std::int64_t size) {
    const std::string full = fmt::format("{}{}", prefix_, name);
    DSAPERF_TRY_ASSIGN(const auto tensor, read(full));
    if (tensor.shape != std::vector<std::int64_t>{size})
      return fail(Errc::kInvalidArgument, "'{}' does not have {} values", full, size);
    if (tensor.type == DType::kE4m3)
      return fail(Errc::kUnsupported, "'{}' is fp8; a vector is read as bf16 or f32", full);
    std::vector<float> values(size);
    for (std::int64_t i = 0; i < size; ++i) {
      if (tensor.type == DType::kF32) {
        std::memcpy(&values[i], &tensor.bytes[4 * i], 4);
      } else {
        std::uint16_t bits = 0;
        std::memcpy(&bits, &tensor.bytes[2 * i], 2);
        values[i] = kernels::bf16_to_float(bits);
      }
    }
    return values;
  }

 private:
  struct Read : NamedTensor {
    explicit Read(NamedTensor tensor) : NamedTensor(std::move(tensor)) {}
    std::int64_t elements() const {
      return static_cast<std::int64_t>(bytes.size()) / size_of(type);
    }
  };

  Result<void> add(const std::filesystem::path& path) {
    if (files_.contains(path)) return {};
    DSAPERF_TRY_ASSIGN(auto file, SafetensorsFile::open(path));
    files_.emplace(path, std::move(file));
    return {};
  }

  // bf16, f32 or e4m3.
  Result<Read> read(const std::string& name) {
    for (auto& [path, file] : files_) {
      if (!file.has(name)) continue;
      DSAPERF_TRY_ASSIGN(auto tensor, file.read(name));
      if (tensor.type == DType::kI32 || tensor.type == DType::kI64)
        return fail(Errc::kUnsupported, "{}: '{}' holds integers", path.native(), name);
      return Read(std::move(tensor));
    }
    return fail(Errc::kNotFound, "{}: no tensor '{}'", files_.begin()->first.native(), name);
  }

  std::string prefix_;
  std::map<std::filesystem::path, SafetensorsFile> files_;
};

}  // namespace

Result<LayerWeights> read_weights(const std::filesystem::path& path, const LayerSpec& spec) {
  DSAPERF_TRY_ASSIGN(auto checkpoint, Checkpoint::open(path, spec.layer));
  const bool fp8 = spec.projections == Projections::kFp8Block;
  const std::int64_t heads = spec.heads;
  LayerWeights w;
  DSAPERF_TRY_ASSIGN(w.q_a, checkpoint.matrix("q_a_proj", spec.q_lora, spec.hidden, fp8));
  DSAPERF_TRY_ASSIGN(w.kv_a, checkpoint.matrix("kv_a_proj_with_mqa", kKeyDim, spec.hidden, fp8));
  DSAPERF_TRY_ASSIGN(w.q_b,
                     checkpoint.matrix("q_b_proj", heads * spec.query_dim(), spec.q_lora, fp8));
  DSAPERF_TRY_ASSIGN(w.kv_b,
                     checkpoint.matrix("kv_b_proj", heads * (spec.nope + spec.v), kLatentDim, fp8));
  DSAPERF_TRY_ASSIGN(w.o, checkpoint.matrix("o_proj", spec.hidden, heads * spec.v, fp8));
  DSAPERF_TRY_ASSIGN(w.q_a_norm, checkpoint.vector("q_a_layernorm.weight", spec.q_lora));
  DSAPERF_TRY_ASSIGN(w.kv_a_norm, checkpoint.vector("kv_a_layernorm.weight", kLatentDim));
  if (!spec.has_indexer) return w;
  DSAPERF_TRY_ASSIGN(
      w.iq, checkpoint.matrix("indexer.wq_b", spec.index_heads * kIndexDim, spec.q_lora, fp8));
  DSAPERF_TRY_ASSIGN(w.ik, checkpoint.matrix("indexer.wk", kIndexDim, spec.hidden, fp8));
  DSAPERF_TRY_ASSIGN(
      w.iw, checkpoint.matrix("indexer.weights_proj", spec.index_heads, spec.hidden, false));
  DSAPERF_TRY_ASSIGN(w.k_norm, checkpoint.vector("indexer.k_norm.weight", kIndexDim));
  DSAPERF_TRY_ASSIGN(w.k_norm_bias, checkpoint.vector("indexer.k_norm.bias", kIndexDim));
  return w;
}

}  // namespace dsaperf::op
