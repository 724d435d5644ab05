#include "dsaperf/collect/gemm_timing.hpp"

#include "dsaperf/core/ceil_div.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/op/layer_timing.hpp"
#include "dsaperf/op/layer_weights.hpp"
#include "dsaperf/op/random_normal.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace dsaperf::collect {
namespace {

constexpr std::int64_t kDrawn = std::int64_t{8} << 20;          // values of a piece, at most
constexpr std::int64_t kCopiesBytes = std::int64_t{128} << 20;  // an H200's L2 holds 50 MB
constexpr std::int64_t kMostCopies = 128;
constexpr std::uint64_t kSeed = 1;
constexpr std::uint64_t kWeightStream = 101;
constexpr std::uint64_t kInputStream = 102;

// How many times `bytes` are enough that the first is out of the L2 when it is its turn again.
std::int64_t copies_of(std::int64_t bytes) {
  return std::clamp(ceil_div(kCopiesBytes, bytes), std::int64_t{1}, kMostCopies);
}

// Rows that are drawn of a matrix: whole blocks of scales, or all of them.
std::int64_t drawn_rows(std::int64_t rows, std::int64_t columns) {
  const auto whole = kDrawn / columns / kernels::kQuantGroup * kernels::kQuantGroup;
  return std::min(rows, std::max<std::int64_t>(whole, kernels::kQuantGroup));
}

// `piece` again and again until `bytes` are full.
template <typename T>
Result<op::Buffer> repeated(op::Backend& backend, const std::vector<T>& piece,
                            std::int64_t elements) {
  const auto bytes = static_cast<std::size_t>(elements) * sizeof(T);
  const auto step = piece.size() * sizeof(T);
  DSAPERF_TRY_ASSIGN(auto buffer, backend.allocate(bytes));
  for (std::size_t at = 0; at < bytes; at += step) {
    DSAPERF_TRY(
        backend.upload(piece.data(), std::min(step, bytes - at), buffer.template as<char>() + at));
  }
  return buffer;
}

std::vector<std::uint16_t> drawn(std::uint64_t stream, std::int64_t count, double sigma) {
  std::vector<std::uint16_t> values(static_cast<std::size_t>(count));
  op::fill_normal_bf16(kSeed, stream, 0, count, static_cast<float>(sigma), values.data());
  return values;
}

}  // namespace

Result<GemmWeights> GemmWeights::make(op::Backend& backend, std::int64_t n, std::int64_t k,
                                      model::WeightFormat format) {
  const auto rows = drawn_rows(n, k);
  op::Matrix piece{.rows = rows, .columns = k};
  piece.bf16 = drawn(kWeightStream, rows * k, 1 / std::sqrt(static_cast<double>(k)));
  if (format != model::WeightFormat::kBf16 && format != model::WeightFormat::kFp8Block) {
    return fail(Errc::kUnsupported, "no kernel here multiplies weights of {}", model::name(format));
  }
  const bool fp8 = format == model::WeightFormat::kFp8Block;
  if (fp8) op::quantise_blocks(piece);
  const std::int64_t bytes = n * k * (fp8 ? 1 : 2);
  GemmWeights weights{.n = n, .k = k, .format = format, .copies = {}};
  const auto copies = copies_of(bytes);
  for (std::int64_t i = 0; i < copies; ++i) {
    auto& copy = weights.copies.emplace_back();
    if (!fp8) {
      DSAPERF_TRY_ASSIGN(copy.values, repeated(backend, piece.bf16, n * k));
      continue;
    }
    DSAPERF_TRY_ASSIGN(copy.values, repeated(backend, piece.fp8, n * k));
    DSAPERF_TRY_ASSIGN(copy.scales,
                       repeated(backend, piece.scales, op::scale_groups(n) * op::scale_groups(k)));
  }
  return weights;
}

GemmTimer::GemmTimer(op::Backend& backend, const GemmWeights& weights, std::int64_t m)
    : backend_(backend),
      weights_(weights),
      m_(m),
      turns_(static_cast<int>(std::min<std::int64_t>(
          std::ssize(weights.copies),
          copies_of(static_cast<std::int64_t>(weights.copies.front().values.bytes()) +
                    2 * m * (weights.n + weights.k))))) {
}

Result<std::unique_ptr<GemmTimer>> GemmTimer::create(op::Backend& backend,
                                                     const GemmWeights& weights, std::int64_t m,
                                                     Launch launch) {
  std::unique_ptr<GemmTimer> timer(new GemmTimer(backend, weights, m));
  const auto piece = drawn(kInputStream, drawn_rows(m, weights.k) * weights.k, 1);
  DSAPERF_TRY_ASSIGN(timer->x_, repeated(backend, piece, m * weights.k));
  if (weights.format == model::WeightFormat::kFp8Block) {
    const auto values = static_cast<std::size_t>(m * weights.k);
    const auto scales = static_cast<std::size_t>(m * op::scale_groups(weights.k)) * sizeof(float);
    DSAPERF_TRY_ASSIGN(timer->x_values_, backend.allocate(values));
    DSAPERF_TRY_ASSIGN(timer->x_scales_, backend.allocate(scales));
  }
  DSAPERF_TRY_ASSIGN(timer->y_, backend.allocate(static_cast<std::size_t>(2 * m * weights.n)));
  DSAPERF_TRY(timer->run());
  if (launch == Launch::kEager) return timer;
  auto* const raw = timer.get();
  DSAPERF_TRY_ASSIGN(
      timer->one_, backend.record([raw, &weights] { return raw->launch(weights.copies.front()); }));
  DSAPERF_TRY_ASSIGN(timer->round_, backend.record([raw] { return raw->launch_round(); }));
  return timer;
}

Result<void> GemmTimer::launch(const GemmWeights::Copy& weights) {
  const auto n = weights_.n;
  const auto k = weights_.k;
  if (weights.scales.data() == nullptr) {
    return backend_.gemm({.x = x_.data(),
                          .w = weights.values.data(),
                          .y = y_.data(),
                          .m = m_,
                          .n = n,
                          .k = k,
                          .x_stride = k,
                          .w_stride = k,
                          .y_stride = n});
  }
  DSAPERF_TRY(backend_.quantise_groups({.x = x_.data(),
                                        .values = x_values_.as<std::uint8_t>(),
                                        .scales = x_scales_.as<float>(),
                                        .rows = m_,
                                        .dim = static_cast<int>(k),
                                        .x_stride = k,
                                        .values_stride = k,
                                        .scales_stride = op::scale_groups(k)}));
  return backend_.fp8_gemm({.x = x_values_.as<std::uint8_t>(),
                            .x_scales = x_scales_.as<float>(),
                            .w = weights.values.as<std::uint8_t>(),
                            .w_scales = weights.scales.as<float>(),
                            .y = y_.data(),
                            .m = m_,
                            .n = n,
                            .k = k,
                            .x_stride = k,
                            .x_scales_stride = op::scale_groups(k),
                            .w_stride = k,
                            .w_scales_stride = op::scale_groups(k),
                            .y_stride = n});
}

Result<void> GemmTimer::launch_round() {
  for (int i = 0; i < turns_; ++i) {
    DSAPERF_TRY(launch(weights_.copies[static_cast<std::size_t>(i)]));
  }
  return {};
}

Result<void> GemmTimer::enqueue() {
  return one_ ? one_->replay() : launch(weights_.copies.front());
}

Result<void> GemmTimer::enqueue_round() {
  return round_ ? round_->replay() : launch_round();
}

Result<void> GemmTimer::run() {
  DSAPERF_TRY(launch(weights_.copies.front()));
  return backend_.synchronise();
}

Result<void> GemmTimer::replay() {
  DSAPERF_TRY(enqueue());
  return backend_.synchronise();
}

Result<Micros> GemmTimer::cold() {
  DSAPERF_TRY(backend_.flush_caches());
  DSAPERF_TRY(backend_.stamp(0));
  DSAPERF_TRY(enqueue());
  DSAPERF_TRY(backend_.stamp(1));
  DSAPERF_TRY_ASSIGN(const double micros, backend_.between_us(0, 1));
  return Micros{micros};
}

Result<Micros> GemmTimer::warm(int passes) {
  const int rounds = std::max(1, passes / turns_);
  // Keeps the device busy while the timed ones are launched.
  if (!is_long_) DSAPERF_TRY(enqueue_round());
  DSAPERF_TRY(backend_.stamp(0));
  for (int i = 0; i < rounds; ++i) DSAPERF_TRY(enqueue_round());
  DSAPERF_TRY(backend_.stamp(1));
  DSAPERF_TRY_ASSIGN(const double micros, backend_.between_us(0, 1));
  is_long_ = micros / rounds > op::LayerTimer::kLongPassUs;
  return Micros{micros / (rounds * turns_)};
}

}  // namespace dsaperf::collect
