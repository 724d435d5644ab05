#include "dsaperf/op/checkpoint.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/op/layer_tensors.hpp"

#include <cstring>

namespace dsaperf::op {
namespace {

using kernels::kIndexDim;
using kernels::kKeyDim;
using kernels::kLatentDim;
using kernels::kQuantGroup;

// A stored projection, [rows, columns].
struct Stored {
  NamedTensor tensor;
  std::vector<float> scales;  // of fp8: one a block of kQuantGroup x kQuantGroup

  std::int64_t columns() const { return tensor.shape[1]; }
  std::int64_t scale_columns() const { return scale_groups(columns()); }

  std::uint16_t bf16_at(std::int64_t row, std::int64_t column) const {
    const std::int64_t at = row * columns() + column;
    if (tensor.type == DType::kBf16) {
      std::uint16_t bits = 0;
      std::memcpy(&bits, &tensor.bytes[2 * at], 2);
      return bits;
    }
    if (tensor.type == DType::kF32) {
      float wide = 0;
      std::memcpy(&wide, &tensor.bytes[4 * at], 4);
      return kernels::bf16_from_float(wide);
    }
    return kernels::bf16_from_float(
        kernels::e4m3_to_float(tensor.bytes[at]) *
        scales[row / kQuantGroup * scale_columns() + column / kQuantGroup]);
  }
};

class Checkpoint {
 public:
  explicit Checkpoint(LayerTensors tensors) : tensors_(std::move(tensors)) {}

  // Rows [0, rows) and columns [0, columns) of a projection that is stored with at least as many.
  Result<Matrix> matrix(std::string_view name, std::int64_t rows, std::int64_t columns,
                        bool keep_fp8) {
    DSAPERF_TRY_ASSIGN(const auto stored, projection(name, rows, columns));
    Matrix matrix{.rows = rows, .columns = columns};
    matrix.bf16.resize(rows * columns);
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = 0; c < columns; ++c) {
        matrix.bf16[r * columns + c] = stored.bf16_at(r, c);
      }
    }
    if (!keep_fp8) return matrix;
    if (stored.tensor.type == DType::kE4m3) {
      keep_blocks(stored, matrix);
    } else {
      quantise_blocks(matrix);
    }
    return matrix;
  }

  Result<std::vector<float>> vector(std::string_view name, std::int64_t size) {
    const std::string full = tensors_.full_name(name);
    DSAPERF_TRY_ASSIGN(const auto tensor, tensors_.read(full));
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
  Result<Stored> projection(std::string_view name, std::int64_t rows, std::int64_t columns) {
    const std::string weight = tensors_.full_name(name) + ".weight";
    DSAPERF_TRY_ASSIGN(auto tensor, tensors_.read(weight));
    if (tensor.shape.size() != 2 || tensor.shape[0] < rows || tensor.shape[1] < columns)
      return fail(Errc::kInvalidArgument, "'{}' is {}, the layer needs {} x {}", weight,
                  fmt::format("{}", fmt::join(tensor.shape, " x ")), rows, columns);
    Stored stored{.tensor = std::move(tensor), .scales = {}};
    if (stored.tensor.type != DType::kE4m3) return stored;
    DSAPERF_TRY_ASSIGN(const auto scales, tensors_.read(weight + "_scale_inv"));
    const auto count = static_cast<std::int64_t>(scales.bytes.size()) / size_of(DType::kF32);
    if (scales.type != DType::kF32 || count < scale_groups(rows) * stored.scale_columns())
      return fail(Errc::kInvalidArgument, "'{}_scale_inv' has no f32 scale for each block", weight);
    stored.scales.resize(count);
    std::memcpy(stored.scales.data(), scales.bytes.data(), scales.bytes.size());
    return stored;
  }

  // The stored bytes and scales of the matrix's part.
  static void keep_blocks(const Stored& stored, Matrix& matrix) {
    const std::int64_t kept_columns = scale_groups(matrix.columns);
    for (std::int64_t r = 0; r < matrix.rows; ++r) {
      const auto row = stored.tensor.bytes.begin() + r * stored.columns();
      matrix.fp8.insert(matrix.fp8.end(), row, row + matrix.columns);
      if (r % kQuantGroup != 0) continue;
      const auto scales = stored.scales.begin() + r / kQuantGroup * stored.scale_columns();
      matrix.scales.insert(matrix.scales.end(), scales, scales + kept_columns);
    }
  }

  LayerTensors tensors_;
};

}  // namespace

Result<LayerWeights> read_weights(const std::filesystem::path& path, const LayerSpec& spec) {
  DSAPERF_TRY_ASSIGN(auto tensors, LayerTensors::open(path, spec.layer));
  Checkpoint checkpoint(std::move(tensors));
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
