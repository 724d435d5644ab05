#include "dsaperf/op/layer_check.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/quantise.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>

namespace dsaperf::op {
namespace {

using kernels::kKeyDim;
using kernels::kLatentDim;
using kernels::kPageTokens;
using model::Stage;

// Tolerances of a bf16 result. Both sides round to 8 significant bits: apart by one unit at most,
// 2^-7 of the largest value of the row at worst; a rotation after another rounding adds a
// unit of two values: sqrt(2) * 2^-7. Root mean square: if every value were rounded the other way
// round it would be sqrt(2) * 2^-8 / sqrt(3) / 1.4 = 2^-9 or so; what sums in f32 stays below.
constexpr double kUnit = 0x1p-7;
constexpr double kRmsUnit = 0x1p-9;

// Rows of values in double with their reference.
struct Rows {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::vector<double> got = {};
  std::vector<double> want = {};
};

// A range of the last dimension; end 0: all of it.
struct Columns {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

class Comparison {
 public:
  explicit Comparison(Stage stage) { result_.stage = stage; }

  // Adds rows to what the stage is judged by.
  void add(const std::string& what, const Rows& rows, double tolerance, double largest_tolerance) {
    double difference = 0;
    double size = 0;
    for (std::int64_t r = 0; r < rows.rows; ++r) {
      double row_largest = 0;
      double row_difference = 0;
      for (std::int64_t c = 0; c < rows.columns; ++c) {
        const double got = rows.got[r * rows.columns + c];
        const double want = rows.want[r * rows.columns + c];
        if (!std::isfinite(want) || !std::isfinite(got)) {
          const bool same = (std::isnan(got) && std::isnan(want)) || got == want;
          if (!same)
            fail_with(
                fmt::format("{}: row {}, column {}: {} instead of {}", what, r, c, got, want));
          continue;
        }
        difference += (got - want) * (got - want);
        size += want * want;
        row_largest = std::max(row_largest, std::abs(want));
        row_difference = std::max(row_difference, std::abs(got - want));
      }
      if (row_difference == 0) continue;
      const double largest =
          row_largest > 0 ? row_difference / row_largest : std::numeric_limits<double>::infinity();
      if (largest > largest_tolerance)
        fail_with(fmt::format("{}: row {}: off by {:.2e} of its largest value, {:.2e} is allowed",
                              what, r, largest, largest_tolerance));
      result_.largest = std::max(result_.largest, largest);
    }
    const double error = difference == 0 ? 0 : std::sqrt(difference / size);
    if (!(error <= tolerance))
      fail_with(fmt::format("{}: root mean square error {:.2e}, {:.2e} is allowed", what, error,
                            tolerance));
    result_.error = std::max(result_.error, error);
    result_.tolerance = std::max(result_.tolerance, tolerance);
    result_.largest_tolerance = std::max(result_.largest_tolerance, largest_tolerance);
  }

  // The first failure is the one worth reading.
  void fail_with(std::string detail) {
    if (result_.detail.empty()) result_.detail = std::move(detail);
  }

  StageCheck result() const {
    StageCheck result = result_;
    result.passed = result.detail.empty();
    return result;
  }

 private:
  StageCheck result_;
};

// The caches of the tested pass, copied to the host: what the reference reads.
Result<CacheManager> copy_of(Backend& from, const CacheManager& cache, Backend& host) {
  DSAPERF_TRY_ASSIGN(auto copy, CacheManager::create(host, cache.options()));
  const auto rows = cache.kv_rows();
  DSAPERF_TRY(from.download(rows.data, rows.rows * rows.row_stride_bytes,
                            const_cast<void*>(copy.kv_rows().data)));
  if (cache.options().index_keys)
    DSAPERF_TRY(from.download(cache.index_pages(), cache.pool().pages() * kernels::kIndexPageBytes,
                              copy.index_pages()));
  return copy;
}

// Compares after each stage, then puts the tested values in place of the reference's, so that the
// next stage starts from the same input.
class Checker : public DsaLayer::Observer {
 public:
  Checker(Backend& tested_backend, const ForwardPass& tested, const CacheManager& tested_cache,
          ForwardPass& reference, const CacheManager& reference_cache,
          std::vector<std::int64_t> tokens)
      : backend_(tested_backend),
        tested_(tested),
        tested_cache_(tested_cache),
        reference_(reference),
        reference_cache_(reference_cache),
        tokens_(std::move(tokens)) {}

  Result<void> after(Stage stage) override {
    Comparison comparison(stage);
    DSAPERF_TRY(compare(stage, comparison));
    checks_.push_back(comparison.result());
    return {};
  }

  std::vector<StageCheck> checks() && { return std::move(checks_); }

 private:
  Result<void> compare(Stage stage, Comparison& c) {
    switch (stage) {
      case Stage::kQkvAProjection:
        DSAPERF_TRY(qkv_a(c));
        // f32 sums of `hidden` products: 2^-24 each of a sum of magnitudes sqrt(hidden) times the
        // result.
        return f32(c, "head_weight", 1e-5, 1e-4);
      case Stage::kNormRope:
        DSAPERF_TRY(bf16(c, "q_r", kRmsUnit, kUnit));
        DSAPERF_TRY(quantised_query_latent(c));
        DSAPERF_TRY(bf16(c, "latent", kRmsUnit, kUnit));
        return bf16(c, "k_rope", 2 * kRmsUnit, 2.5 * kUnit);
      case Stage::kQBProjection:
        DSAPERF_TRY(bf16(c, "q", kRmsUnit, kUnit));
        return bf16(c, "query", 2 * kRmsUnit, 2.5 * kUnit, {kLatentDim, kKeyDim});
      case Stage::kAbsorb:
        return bf16(c, "query", kRmsUnit, kUnit, {0, kLatentDim});
      case Stage::kCacheWrite:
        return cache_rows(c);
      case Stage::kIndexerProjection:
        DSAPERF_TRY(bf16(c, "index_query", 2 * kRmsUnit, 2.5 * kUnit));
        return bf16(c, "index_key", 2 * kRmsUnit, 2.5 * kUnit);
      case Stage::kIndexerQuantise:
        DSAPERF_TRY(e4m3(c, "index_query_e4m3", "head_weight_scaled"));
        return e4m3(c, "index_key_e4m3", "index_key_scale");
      case Stage::kIndexCacheWrite:
        if (tested_.dense) {
          DSAPERF_TRY(bf16(c, "index_key", 2 * kRmsUnit, 2.5 * kUnit));
          DSAPERF_TRY(e4m3(c, "index_key_e4m3", "index_key_scale"));
        }
        return index_rows(c);
      case Stage::kIndexerScores:
        return scores(c);
      case Stage::kTopk:
        return top(c);
      case Stage::kAttention:
        DSAPERF_TRY(bf16(c, "latent_out", backend_.arithmetic().attention_rms, 2 * kUnit));
        return lse(c);
      case Stage::kVUp:
        return bf16(c, "v_out", kRmsUnit, kUnit);
      case Stage::kOProjection:
        return bf16(c, "y", kRmsUnit, kUnit);
    }
    return {};
  }

  // Rows of the checked tokens of a tensor, copied out of the tested pass.
  template <typename T>
  Result<std::vector<T>> tested_rows(const Tensor& tensor) {
    const std::int64_t width = tensor.row_elements();
    std::vector<T> rows(tokens_.size() * width);
    for (std::size_t i = 0; i < tokens_.size(); ++i)
      DSAPERF_TRY(backend_.download(tensor.buffer.as<T>() + tokens_[i] * width, width * sizeof(T),
                                    rows.data() + i * width));
    return rows;
  }

  Result<void> bf16(Comparison& c, const char* name, double tolerance, double largest,
                    Columns columns = {}) {
    if (!reference_.has(name) || !tested_.has(name)) return {};
    const Tensor& mine = reference_.at(name);
    DSAPERF_TRY_ASSIGN(const auto got, tested_rows<std::uint16_t>(tested_.at(name)));
    const std::int64_t width = mine.shape.back();
    if (columns.end == 0) columns.end = width;
    Rows rows{.rows = mine.elements() / width, .columns = columns.end - columns.begin};
    for (std::int64_t r = 0; r < rows.rows; ++r) {
      for (std::int64_t d = columns.begin; d < columns.end; ++d) {
        std::uint16_t& reference = mine.bf16()[r * width + d];
        rows.got.push_back(kernels::bf16_to_float(got[r * width + d]));
        rows.want.push_back(kernels::bf16_to_float(reference));
        reference = got[r * width + d];
      }
    }
    c.add(name, rows, tolerance, largest);
    return {};
  }

  Result<void> f32(Comparison& c, const char* name, double tolerance, double largest) {
    if (!reference_.has(name)) return {};
    const Tensor& mine = reference_.at(name);
    DSAPERF_TRY_ASSIGN(const auto got, tested_rows<float>(tested_.at(name)));
    const std::int64_t width = mine.shape.back();
    Rows rows{.rows = mine.elements() / width,
              .columns = width,
              .got = {got.begin(), got.end()},
              .want = {mine.f32(), mine.f32() + mine.elements()}};
    std::copy(got.begin(), got.end(), mine.f32());
    c.add(name, rows, tolerance, largest);
    return {};
  }

  // Apart, since each is judged by its own largest value.
  Result<void> qkv_a(Comparison& c) {
    const auto columns = reference_.spec.qkv_a_columns();
    DSAPERF_TRY(bf16(c, "qkv_a", kRmsUnit, kUnit, {0, reference_.spec.q_lora}));
    if (reference_.spec.has_indexer)
      DSAPERF_TRY(bf16(c, "qkv_a", kRmsUnit, kUnit, {columns.index_key, columns.kv}));
    return bf16(c, "qkv_a", kRmsUnit, kUnit, {columns.kv, columns.all});
  }

  // e4m3 rows times what carries their scale. A value near the middle of two codes may fall on
  // either: a step is 2^-3 of the value at worst, 32 of 448; such values are rare.
  Result<void> e4m3(Comparison& c, const char* values, const char* scale) {
    const Tensor& mine = reference_.at(values);
    const Tensor& my_scale = reference_.at(scale);
    DSAPERF_TRY_ASSIGN(const auto got, tested_rows<std::uint8_t>(tested_.at(values)));
    DSAPERF_TRY_ASSIGN(const auto got_scale, tested_rows<float>(tested_.at(scale)));
    const std::int64_t width = mine.shape.back();
    Rows rows{.rows = mine.elements() / width, .columns = width};
    for (std::int64_t i = 0; i < mine.elements(); ++i) {
      rows.got.push_back(double{kernels::e4m3_to_float(got[i])} * got_scale[i / width]);
      rows.want.push_back(double{kernels::e4m3_to_float(mine.e4m3()[i])} *
                          my_scale.f32()[i / width]);
    }
    std::copy(got.begin(), got.end(), mine.e4m3());
    std::copy(got_scale.begin(), got_scale.end(), my_scale.f32());
    c.add(values, rows, 0.01, 32.0 / 448);
    return {};
  }

  // Exact: scales are powers of two. Of the tested pass's own q_r, which the reference now holds.
  Result<void> quantised_query_latent(Comparison& c) {
    if (!reference_.has("q_r_e4m3")) return {};
    const Tensor& q_r = reference_.at("q_r");
    const Tensor& values = reference_.at("q_r_e4m3");
    const Tensor& scales = reference_.at("q_r_scales");
    DSAPERF_TRY(kernels::quantise_groups_reference({.x = q_r.bf16(),
                                                    .values = values.e4m3(),
                                                    .scales = scales.f32(),
                                                    .rows = q_r.shape[0],
                                                    .dim = static_cast<int>(q_r.shape[1]),
                                                    .x_stride = q_r.shape[1],
                                                    .values_stride = values.shape[1],
                                                    .scales_stride = scales.shape[1]}));
    DSAPERF_TRY_ASSIGN(const auto got, tested_rows<std::uint8_t>(tested_.at("q_r_e4m3")));
    DSAPERF_TRY_ASSIGN(const auto got_scales, tested_rows<float>(tested_.at("q_r_scales")));
    if (!std::equal(got.begin(), got.end(), values.e4m3()))
      c.fail_with("q_r_e4m3 is not q_r quantised");
    if (!std::equal(got_scales.begin(), got_scales.end(), scales.f32()))
      c.fail_with("q_r_scales are not those of q_r");
    return {};
  }

  // The rows that the pass wrote against those that the reference makes of the same latents.
  Result<void> cache_rows(Comparison& c) {
    const auto tested = tested_cache_.kv_rows();
    const auto mine = reference_cache_.kv_rows();
    const std::int64_t bytes = tested.row_stride_bytes;
    std::vector<std::uint8_t> got(bytes);
    for (const auto token : tokens_) {
      const std::int64_t slot = tested_.slot[token];
      DSAPERF_TRY(backend_.download(static_cast<const std::uint8_t*>(tested.data) + slot * bytes,
                                    bytes, got.data()));
      auto* row = static_cast<std::uint8_t*>(const_cast<void*>(mine.data)) + slot * bytes;
      if (std::memcmp(row, got.data(), bytes) != 0)
        c.fail_with(fmt::format("cache row of token {} differs", token));
      std::memcpy(row, got.data(), bytes);
    }
    return {};
  }

  Result<void> index_rows(Comparison& c) {
    std::vector<std::uint8_t> page(kernels::kIndexPageBytes);
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      const std::int64_t slot = tested_.slot[tokens_[i]] % kPageTokens;
      DSAPERF_TRY(backend_.download(
          tested_cache_.index_pages() + tested_.slot[tokens_[i]] / kPageTokens * page.size(),
          page.size(), page.data()));
      const auto* values = reference_.at("index_key_e4m3").e4m3() + i * kernels::kIndexDim;
      // Equal bytes are asked for, also of a NaN.
      const auto* scale =
          reinterpret_cast<const std::uint8_t*>(reference_.at("index_key_scale").f32() + i);
      if (std::memcmp(page.data() + slot * kernels::kIndexDim, values, kernels::kIndexDim) != 0 ||
          std::memcmp(page.data() + kernels::kIndexPageScaleOffset + 4 * slot, scale, 4) != 0)
        c.fail_with(fmt::format("index key of token {} differs", tokens_[i]));
    }
    return {};
  }

  Result<void> scores(Comparison& c) {
    const Tensor& scratch = reference_.at("scores_scratch");
    const Arithmetic arithmetic = backend_.arithmetic();
    Rows rows{.rows = 1};
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      const auto& got = tested_.kept_scores.at(tokens_[i]);
      float* mine = scratch.f32() + i * scratch.shape[1];
      rows.columns = static_cast<std::int64_t>(got.size());
      rows.got.assign(got.begin(), got.end());
      rows.want.assign(mine, mine + got.size());
      std::copy(got.begin(), got.end(), mine);
      c.add(fmt::format("scores of token {}", tokens_[i]), rows, arithmetic.scores_rms,
            arithmetic.scores_largest);
    }
    return {};
  }

  // Exact: as many distinct visible positions as there can be, and none left out whose score is
  // above one that is in.
  Result<void> top(Comparison& c) {
    DSAPERF_TRY_ASSIGN(const auto got, tested_rows<std::int32_t>(tested_.at("selection")));
    const Tensor& mine = reference_.at("selection");
    const auto rank = [](float score) {  // NaN below every number
      return std::isnan(score) ? std::pair{0, 0.0F} : std::pair{1, score};
    };
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      const auto& scores = tested_.kept_scores.at(tokens_[i]);
      std::vector<bool> taken(scores.size(), false);
      std::size_t count = 0;
      for (int j = 0; j < tested_.selected; ++j) {
        const std::int32_t position = got[i * tested_.selected + j];
        if (position < 0) continue;
        if (std::cmp_greater_equal(position, scores.size()) || taken[position]) {
          c.fail_with(fmt::format("token {}: position {} is not visible or stands twice",
                                  tokens_[i], position));
          continue;
        }
        taken[position] = true;
        ++count;
      }
      if (count != std::min<std::size_t>(tested_.selected, scores.size()))
        c.fail_with(fmt::format("token {}: {} positions instead of {}", tokens_[i], count,
                                std::min<std::size_t>(tested_.selected, scores.size())));
      auto lowest_in = std::pair{2, 0.0F};
      auto highest_out = std::pair{-1, 0.0F};
      for (std::size_t p = 0; p < scores.size(); ++p) {
        if (taken[p])
          lowest_in = std::min(lowest_in, rank(scores[p]));
        else
          highest_out = std::max(highest_out, rank(scores[p]));
      }
      if (highest_out > lowest_in)
        c.fail_with(fmt::format("token {}: a higher score was left out", tokens_[i]));
      std::copy_n(got.begin() + i * tested_.selected, tested_.selected,
                  mine.i32() + i * tested_.selected);
    }
    // Rows follow from the positions, through the request's own table; the reference reads the
    // cache.
    DSAPERF_TRY_ASSIGN(const auto rows, tested_rows<std::int32_t>(tested_.at("selection_rows")));
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      const std::int64_t table = tested_.request_of[tokens_[i]] * tested_.block_table_stride;
      for (int j = 0; j < tested_.selected; ++j) {
        const std::int32_t position = got[i * tested_.selected + j];
        const auto row_by = [&](const std::vector<std::int32_t>& pages) {
          if (position < 0) return -1;
          return pages[table + position / kPageTokens] * kPageTokens + position % kPageTokens;
        };
        const std::int32_t row = row_by(tested_.attention_table());
        if (rows[i * tested_.selected + j] != row)
          c.fail_with(fmt::format("token {}: row {} instead of {}", tokens_[i],
                                  rows[i * tested_.selected + j], row));
        reference_.at("selection_rows").i32()[i * tested_.selected + j] =
            row_by(tested_.block_table);
      }
    }
    return {};
  }

  // An absolute error: a score is a sum of 576 products with f32 error, times the scale.
  Result<void> lse(Comparison& c) {
    const Tensor& mine = reference_.at("lse");
    DSAPERF_TRY_ASSIGN(const auto got, tested_rows<float>(tested_.at("lse")));
    for (std::size_t i = 0; i < got.size(); ++i) {
      const float want = mine.f32()[i];
      const bool same = got[i] == want || (std::isnan(got[i]) && std::isnan(want)) ||
                        std::abs(got[i] - want) <= 1e-3F;
      if (!same) c.fail_with(fmt::format("lse {}: {} instead of {}", i, got[i], want));
    }
    return {};
  }

  Backend& backend_;
  const ForwardPass& tested_;
  const CacheManager& tested_cache_;
  ForwardPass& reference_;
  const CacheManager& reference_cache_;
  std::vector<std::int64_t> tokens_;
  std::vector<StageCheck> checks_;
};

}  // namespace

std::vector<std::int64_t> tokens_to_check(const ForwardPass& pass, std::size_t at_most) {
  std::set<std::int64_t> chosen;
  if (pass.tokens == 0 || at_most == 0) return {};
  const auto wanted = std::min<std::int64_t>(pass.tokens, static_cast<std::int64_t>(at_most));
  for (std::int64_t i = 0; i < wanted; ++i)
    chosen.insert(wanted == 1 ? 0 : i * (pass.tokens - 1) / (wanted - 1));
  return {chosen.begin(), chosen.end()};
}

Result<LayerCheck> check_layer(const DsaLayer& layer, const LayerWeights& weights,
                               const ForwardPass& pass, const CacheManager& cache, int threads) {
  LayerCheck check;
  for (const auto& [token, scores] : pass.kept_scores) check.tokens.push_back(token);
  if (check.tokens.empty())
    return fail(Errc::kInvalidArgument, "check: the pass kept the scores of no token");
  const auto host = reference_backend(threads);
  DSAPERF_TRY_ASSIGN(const auto reference, DsaLayer::create(*host, layer.spec(), weights));
  DSAPERF_TRY_ASSIGN(auto reference_cache, copy_of(layer.backend(), cache, *host));
  DSAPERF_TRY_ASSIGN(auto reference_pass, reference.subset(layer.backend(), pass, check.tokens));
  Checker checker(layer.backend(), pass, cache, reference_pass, reference_cache, check.tokens);
  DSAPERF_TRY(reference.run(reference_pass, reference_cache, checker));
  check.stages = std::move(checker).checks();
  check.passed = std::all_of(check.stages.begin(), check.stages.end(),
                             [](const StageCheck& stage) { return stage.passed; });
  return check;
}

}  // namespace dsaperf::op
