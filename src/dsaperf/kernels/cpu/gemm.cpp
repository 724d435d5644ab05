#include "dsaperf/core/ceil_div.hpp"
#include "dsaperf/kernels/cpu/cpu.hpp"
#include "dsaperf/kernels/cpu/parallel.hpp"
#include "dsaperf/kernels/cpu/sgemm.hpp"
#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/kernels/layout.hpp"

#include <array>
#include <functional>
#include <vector>

namespace dsaperf::kernels::cpu {
namespace {

// Rows of x and columns of y per task. A panel of weights of 256 x 7168 is 7 MB in f32 and is used
// for all rows of x before it is dropped; rows are split only so that the buffers stay bounded.
constexpr std::int64_t kPanelColumns = 256;
constexpr std::int64_t kPanelRows = 1024;

const std::array<float, 256>& e4m3_table() {
  static const std::array<float, 256> kTable = [] {
    std::array<float, 256> values{};
    for (int i = 0; i < 256; ++i) values[i] = e4m3_to_float(static_cast<std::uint8_t>(i));
    return values;
  }();
  return kTable;
}

void widen(const std::uint16_t* bits, std::int64_t count, float* values) {
  for (std::int64_t i = 0; i < count; ++i) values[i] = bf16_to_float(bits[i]);
}

void narrow(const float* values, std::int64_t count, std::uint16_t* bits) {
  for (std::int64_t i = 0; i < count; ++i) bits[i] = bf16_from_float(values[i]);
}

void dequantise(const std::uint8_t* values, const float* scales, std::int64_t count, float* out) {
  const auto& table = e4m3_table();
  for (std::int64_t i = 0; i < count; ++i) out[i] = table[values[i]] * scales[i / kQuantGroup];
}

struct Panel {
  std::int64_t batch, row, rows, column, columns;
};

// Splits y into panels, columns outermost so that neighbours share x.
void for_each_panel(std::int64_t batch, std::int64_t m, std::int64_t n, int threads,
                    const std::function<void(const Panel&)>& task) {
  const std::int64_t row_panels = ceil_div(m, kPanelRows);
  const std::int64_t column_panels = ceil_div(n, kPanelColumns);
  parallel_for(batch * row_panels * column_panels, threads, [&](std::int64_t i) {
    const std::int64_t row = i / column_panels % row_panels * kPanelRows;
    const std::int64_t column = i % column_panels * kPanelColumns;
    task({.batch = i / (row_panels * column_panels),
          .row = row,
          .rows = std::min(kPanelRows, m - row),
          .column = column,
          .columns = std::min(kPanelColumns, n - column)});
  });
}

}  // namespace

Result<void> gemm(const GemmParams& params, int threads) {
  DSAPERF_TRY(gemm_check(params));
  DSAPERF_TRY(open_blas());
  const auto& p = params;
  const bool out_in = p.w_layout == WeightLayout::kOutIn;
  for_each_panel(p.batch, p.m, p.n, threads, [&](const Panel& panel) {
    std::vector<float> x(panel.rows * p.k);
    std::vector<float> w(panel.columns * p.k);
    std::vector<float> y(panel.rows * panel.columns);
    const auto* x_bits = static_cast<const std::uint16_t*>(p.x) + panel.batch * p.x_batch_stride +
                         panel.row * p.x_stride;
    const auto* w_bits = static_cast<const std::uint16_t*>(p.w) + panel.batch * p.w_batch_stride;
    for (std::int64_t i = 0; i < panel.rows; ++i)
      widen(x_bits + i * p.x_stride, p.k, x.data() + i * p.k);
    if (out_in) {
      for (std::int64_t j = 0; j < panel.columns; ++j)
        widen(w_bits + (panel.column + j) * p.w_stride, p.k, w.data() + j * p.k);
      multiply_by_rows(panel.rows, panel.columns, p.k, x.data(), p.k, w.data(), p.k, y.data(),
                       panel.columns);
    } else {
      for (std::int64_t l = 0; l < p.k; ++l)
        widen(w_bits + l * p.w_stride + panel.column, panel.columns, w.data() + l * panel.columns);
      multiply_by_columns(panel.rows, panel.columns, p.k, x.data(), p.k, w.data(), panel.columns,
                          y.data(), panel.columns);
    }
    for (std::int64_t i = 0; i < panel.rows; ++i) {
      const std::int64_t at =
          panel.batch * p.y_batch_stride + (panel.row + i) * p.y_stride + panel.column;
      const float* row = y.data() + i * panel.columns;
      if (p.output == GemmOutput::kBf16)
        narrow(row, panel.columns, static_cast<std::uint16_t*>(p.y) + at);
      else
        std::copy_n(row, panel.columns, static_cast<float*>(p.y) + at);
    }
  });
  return {};
}

Result<void> fp8_gemm(const Fp8GemmParams& params, int threads) {
  DSAPERF_TRY(fp8_gemm_check(params));
  DSAPERF_TRY(open_blas());
  const auto& p = params;
  for_each_panel(1, p.m, p.n, threads, [&](const Panel& panel) {
    std::vector<float> x(panel.rows * p.k);
    std::vector<float> w(panel.columns * p.k);
    std::vector<float> y(panel.rows * panel.columns);
    for (std::int64_t i = 0; i < panel.rows; ++i)
      dequantise(p.x + (panel.row + i) * p.x_stride,
                 p.x_scales + (panel.row + i) * p.x_scales_stride, p.k, x.data() + i * p.k);
    for (std::int64_t j = 0; j < panel.columns; ++j)
      dequantise(p.w + (panel.column + j) * p.w_stride,
                 p.w_scales + (panel.column + j) / kQuantGroup * p.w_scales_stride, p.k,
                 w.data() + j * p.k);
    multiply_by_rows(panel.rows, panel.columns, p.k, x.data(), p.k, w.data(), p.k, y.data(),
                     panel.columns);
    for (std::int64_t i = 0; i < panel.rows; ++i)
      narrow(y.data() + i * panel.columns, panel.columns,
             static_cast<std::uint16_t*>(p.y) + (panel.row + i) * p.y_stride + panel.column);
  });
  return {};
}

}  // namespace dsaperf::kernels::cpu
