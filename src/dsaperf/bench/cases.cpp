#include "dsaperf/bench/cases.hpp"

#include "dsaperf/kernels/layout.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace dsaperf::bench {
namespace {

using kernels::TunedKernel;
using kernels::TunedShape;

constexpr std::int64_t kTopk = 2048;

}  // namespace

std::vector<TunedShape> shapes() {
  std::vector<TunedShape> all;
  for (const int heads : {64, 128, 16, 32, 8})
    for (const std::int64_t tokens : {1, 2, 4, 8, 16, 32, 64, 128, 256})
      all.push_back({.kernel = TunedKernel::kSparseDecode,
                     .fp8 = true,
                     .heads = heads,
                     .rows = tokens,
                     .columns = kTopk});
  for (const int heads : {64, 128, 16, 8, 32})
    for (const std::int64_t tokens : {64, 256, 1024, 4096})
      all.push_back({.kernel = TunedKernel::kSparsePrefill,
                     .heads = heads,
                     .rows = tokens,
                     .columns = kTopk});
  // Lists of short contexts, for the heads that have another variant.
  for (const int heads : {16, 8, 32})
    for (const std::int64_t entries : {256, 512, 1024})
      for (const std::int64_t tokens : {256, 1024, 4096})
        all.push_back({.kernel = TunedKernel::kSparsePrefill,
                       .heads = heads,
                       .rows = tokens,
                       .columns = entries});
  constexpr std::pair<std::int64_t, std::int64_t> kTopkShapes[] = {
      {1, 4096},   {32, 4096},   {128, 4096}, {1, 32768},  {8, 32768},   {32, 32768},
      {64, 32768}, {128, 32768}, {1, 131072}, {8, 131072}, {32, 131072}, {1, 1048576}};
  for (const auto& [rows, columns] : kTopkShapes)
    all.push_back({.kernel = TunedKernel::kTopk, .rows = rows, .columns = columns});
  constexpr std::pair<std::int64_t, std::int64_t> kPagedShapes[] = {
      {1, 4096},   {128, 4096},  {64, 8192},  {1, 32768},  {8, 32768},
      {32, 32768}, {128, 32768}, {1, 131072}, {32, 131072}};
  for (const int heads : {64, 32})
    for (const int q_len : {1, 2, 3, 4})
      for (const auto& [batch, context] : kPagedShapes)
        all.push_back({.kernel = TunedKernel::kPagedScores,
                       .heads = heads,
                       .q_len = q_len,
                       .rows = batch,
                       .columns = context});
  for (const int heads : {64, 32})
    for (const std::int64_t batch : {1, 8, 32, 128})
      for (const std::int64_t context : {32768, 131072})
        all.push_back({.kernel = TunedKernel::kPagedSelect,
                       .heads = heads,
                       .rows = batch,
                       .columns = context});
  constexpr std::pair<std::int64_t, std::int64_t> kScoresShapes[] = {
      {2048, 2048}, {4096, 4096}, {64, 8192},  {256, 8192},
      {1024, 8192}, {1, 32768},   {16, 32768}, {4096, 32768}};
  for (const int heads : {64, 32})
    for (const auto& [tokens, keys] : kScoresShapes)
      all.push_back(
          {.kernel = TunedKernel::kScores, .heads = heads, .rows = tokens, .columns = keys});
  for (const int heads : {64, 128})
    for (const std::int64_t tokens : {256, 1024, 4096})
      all.push_back({.kernel = TunedKernel::kSparsePrefill,
                     .fp8 = true,
                     .heads = heads,
                     .rows = tokens,
                     .columns = kTopk});
  for (const int heads : {64, 128})
    for (const std::int64_t tokens : {1, 8, 32, 64})
      all.push_back(
          {.kernel = TunedKernel::kSparseDecode, .heads = heads, .rows = tokens, .columns = kTopk});
  return all;
}

std::vector<Values> values_for(TunedKernel kernel) {
  if (kernel == TunedKernel::kTopk) return {Values::kNormal, Values::kMostlyZero};
  return {Values::kNormal};
}

std::string label(const TunedShape& shape, Values values) {
  switch (shape.kernel) {
    case TunedKernel::kSparsePrefill:
    case TunedKernel::kSparseDecode:
      return fmt::format("{} h {}, {} tokens, {} entries", shape.fp8 ? "fp8" : "bf16", shape.heads,
                         shape.rows, shape.columns);
    case TunedKernel::kScores:
      return fmt::format("h {}, {} x {} full", shape.heads, shape.rows, shape.columns);
    case TunedKernel::kPagedScores:
    case TunedKernel::kPagedSelect:
      return fmt::format("h {}, b {}, q {}, ctx {}", shape.heads, shape.rows, shape.q_len,
                         shape.columns);
    case TunedKernel::kTopk:
      break;
  }
  return fmt::format("{}, {} x {}", values == Values::kMostlyZero ? "relu_ties" : "normal",
                     shape.rows, shape.columns);
}

Demand demand_of(const TunedShape& shape) {
  const auto rows = static_cast<double>(shape.rows);
  const auto columns = static_cast<double>(shape.columns);
  const double heads = shape.heads;
  switch (shape.kernel) {
    case TunedKernel::kSparsePrefill:
    case TunedKernel::kSparseDecode: {
      const double row_bytes = shape.fp8 ? kernels::kKvRowBytesFp8 : kernels::kKvRowBytesBf16;
      const double of_token =
          columns * (row_bytes + 4) + heads * 2 * (kernels::kKeyDim + kernels::kLatentDim);
      return {.flops = {2 * rows * heads * columns * (kernels::kKeyDim + kernels::kLatentDim)},
              .bytes = {static_cast<std::int64_t>(rows * of_token)}};
    }
    case TunedKernel::kScores:
      return {.flops = {2 * rows * heads * columns * kernels::kIndexDim},
              .bytes = {static_cast<std::int64_t>(columns * 132 + rows * heads * 132 +
                                                  4 * rows * columns)},
              .fp8_math = true};
    case TunedKernel::kPagedScores: {
      const double q_len = shape.q_len;
      return {.flops = {2 * rows * q_len * heads * columns * kernels::kIndexDim},
              .bytes = {static_cast<std::int64_t>(
                  rows * (columns * 132 + q_len * heads * 132 + 4 * q_len * columns))},
              .fp8_math = true};
    }
    case TunedKernel::kPagedSelect:  // scores need not reach memory
      return {.flops = {2 * rows * heads * columns * kernels::kIndexDim},
              .bytes = {static_cast<std::int64_t>(
                  rows * (columns * 132 + heads * 132 +
                          4 * static_cast<double>(std::min(shape.columns, kTopk))))},
              .fp8_math = true};
    case TunedKernel::kTopk:
      break;
  }
  return {.flops = {0},
          .bytes = {static_cast<std::int64_t>(
              4 * rows * (columns + static_cast<double>(std::min(shape.columns, kTopk))))}};
}

}  // namespace dsaperf::bench
