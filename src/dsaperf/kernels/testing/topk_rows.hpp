#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

// Rows that a top-k has trouble with, and what it has to select from them: the positions of a row,
// ascending, of a full sort in which the lowest position wins among equal scores and NaN is last.
namespace dsaperf::kernels::testing {

using Fill = std::function<void(std::vector<float>&, std::mt19937&)>;

struct Distribution {
  std::string name;
  Fill fill;
};

inline std::vector<Distribution> distributions() {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const auto each = [](auto draw) {
    return [draw](std::vector<float>& row, std::mt19937& engine) {
      for (auto& value : row) value = draw(engine);
    };
  };
  using Engine = std::mt19937;
  const auto normal = [](Engine& e) { return std::normal_distribution<float>()(e); };
  const auto uniform = [](Engine& e) { return std::uniform_real_distribution<float>()(e); };
  return {
      {"normal", each(normal)},
      {"relu_tied", each([=](Engine& e) { return std::max(normal(e) - 1.5f, 0.0f); })},
      {"nearly_all_zero", each([=](Engine& e) { return std::max(normal(e) - 4.0f, 0.0f); })},
      {"signed_zeros", each([=](Engine& e) {
         const float x = normal(e);
         return std::abs(x) < 1.9f ? std::copysign(0.0f, x) : x;
       })},
      {"all_equal", each([](Engine&) { return 2.5f; })},
      {"two_values", each([=](Engine& e) { return uniform(e) < 0.01f ? 1.0f : -1.0f; })},
      {"clustered", each([=](Engine& e) { return 1.0f + 0.245f * uniform(e); })},
      {"last_bits", each([=](Engine& e) {
         return std::bit_cast<float>(std::bit_cast<std::uint32_t>(1.0f) +
                                     static_cast<std::uint32_t>(e() % 64));
       })},
      {"heavy_tailed",
       each([=](Engine& e) { return std::copysign(std::exp(20 * normal(e)), normal(e)); })},
      {"denormal", each([=](Engine& e) { return 1e-40f * normal(e); })},
      {"with_nan_and_inf", each([=](Engine& e) {
         const float u = uniform(e);
         return u < 0.2f ? kNan : u < 0.22f ? kInfinity : u < 0.4f ? -kInfinity : normal(e);
       })},
      {"mostly_nan", each([=](Engine& e) { return uniform(e) < 0.999f ? kNan : normal(e); })},
      {"mostly_minus_inf",
       each([=](Engine& e) { return uniform(e) < 0.9995f ? -kInfinity : normal(e); })},
      {"ascending",
       [](std::vector<float>& row, Engine&) {
         for (std::size_t i = 0; i < row.size(); ++i) row[i] = static_cast<float>(i);
       }},
      {"descending",
       [](std::vector<float>& row, Engine&) {
         for (std::size_t i = 0; i < row.size(); ++i) row[i] = -static_cast<float>(i);
       }},
      // The large ones stand where a sparse sample does not look, or only there.
      {"one_burst",
       [=](std::vector<float>& row, Engine& e) {
         for (auto& value : row) value = normal(e);
         const std::size_t size = std::min<std::size_t>(row.size(), 3000);
         const std::size_t at = e() % (row.size() - size + 1);
         for (std::size_t i = 0; i < size; ++i) row[at + i] += 100;
       }},
      {"high_start",
       [=](std::vector<float>& row, Engine& e) {
         for (std::size_t i = 0; i < row.size(); ++i)
           row[i] = normal(e) + (i < row.size() / 3 ? 10 : 0);
       }},
  };
}

inline std::vector<std::int32_t> expected_positions(const float* scores, std::int64_t length,
                                                    int topk) {
  std::vector<std::int32_t> order(length);
  for (std::int64_t i = 0; i < length; ++i) order[i] = static_cast<std::int32_t>(i);
  const auto better = [scores](std::int32_t a, std::int32_t b) {
    const bool a_nan = std::isnan(scores[a]);
    const bool b_nan = std::isnan(scores[b]);
    if (a_nan != b_nan) return b_nan;
    if (!a_nan && scores[a] != scores[b]) return scores[a] > scores[b];
    return a < b;
  };
  const auto count = std::min<std::int64_t>(topk, length);
  if (count < length) std::nth_element(order.begin(), order.begin() + count, order.end(), better);
  order.resize(count);
  std::sort(order.begin(), order.end());
  order.resize(topk, -1);
  return order;
}

inline std::vector<std::vector<float>> rows_of(const Distribution& distribution,
                                               const std::vector<std::int64_t>& lengths) {
  std::mt19937 engine(11);
  std::vector<std::vector<float>> rows;
  for (const auto length : lengths) {
    rows.emplace_back(length);
    if (length > 0) distribution.fill(rows.back(), engine);
  }
  return rows;
}

}  // namespace dsaperf::kernels::testing
