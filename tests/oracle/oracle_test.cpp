// The layer against DeepseekV32Attention and GlmMoeDsaAttention of transformers, which run in f32
// with the same weights and inputs: latents and index keys in the caches, selected sets, the
// layer's output. Cases come from make_cases.py. $DSAPERF_GOLDEN names another folder of them.

#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/quantise.hpp"
#include "dsaperf/model/load_model.hpp"
#include "dsaperf/op/dsa_layer.hpp"
#include "dsaperf/op/layer_choice.hpp"
#include "dsaperf/op/safetensors.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>

namespace dsaperf::op {
namespace {

using kernels::bf16_to_float;
using Format = kernels::KvRows::Format;

constexpr std::uint64_t kSeed = 5;  // make_cases.py

std::filesystem::path golden(const std::string& name) {
  const char* folder = std::getenv("DSAPERF_GOLDEN");
  return std::filesystem::path(folder != nullptr ? folder : DSAPERF_GOLDEN_DIR) / name;
}

template <typename T>
std::vector<T> values(SafetensorsFile& file, const std::string& name) {
  auto tensor = file.read(name);
  if (!tensor) {
    ADD_FAILURE() << tensor.error().message();
    return {};
  }
  std::vector<T> result(tensor->bytes.size() / sizeof(T));
  std::memcpy(result.data(), tensor->bytes.data(), tensor->bytes.size());
  return result;
}

struct Case {
  explicit Case(const std::string& name)
      : file(SafetensorsFile::open(golden(name) / "case.safetensors").value()) {
    std::ifstream config(golden(name) / "config.json");
    steps = nlohmann::json::parse(config).at("dsaperf_steps").get<std::vector<std::int64_t>>();
    x = values<std::uint16_t>(file, "x");
  }
  SafetensorsFile file;
  std::vector<std::int64_t> steps;
  std::vector<std::uint16_t> x;
};

// Sums for relative errors: root mean square of differences over that of values.
struct Error {
  double difference = 0, size = 0;
  void add(double got, double want) {
    difference += (got - want) * (got - want);
    size += want * want;
  }
  double value() const { return std::sqrt(difference / size); }
};

// Root mean square error of one rounding, relative: to 8 significant bits at most 2^-8 of a value,
// uniform, 2^-8 / sqrt(3), three quarters of that on average over a binade: 0.0017. To 4: 0.027.
constexpr double kBf16 = 0x1p-8 / 1.732 * 0.75;
constexpr double kE4m3 = 0x1p-4 / 1.732 * 0.75;

// Two sequences of a family as one ragged batch, step by step.
class Comparison {
 public:
  Comparison(std::unique_ptr<Backend> backend, const std::string& family, Format kv)
      : backend_(std::move(backend)), kv_(kv) {
    cases_.emplace_back(family + "_long");
    cases_.emplace_back(family + "_short");
    const auto model = model::load_model((golden(family + "_long") / "config.json").native());
    EXPECT_TRUE(model) << (model ? "" : model.error().message());
    spec_ = layer_spec(*model, {}).value();
    weights_ = random_weights(spec_, kSeed, ScoreDistribution::kNormal);
    layer_ = std::make_unique<DsaLayer>(DsaLayer::create(*backend_, spec_, weights_).value());
    LayerSpec shared = spec_;
    shared.has_indexer = false;
    shared_ = std::make_unique<DsaLayer>(DsaLayer::create(*backend_, shared, weights_).value());
  }

  void run() {
    expect_same_weights();
    auto cache = CacheManager::create(*backend_, {.pages = 8, .kv = kv_}).value();
    auto shared_cache =
        CacheManager::create(*backend_, {.pages = 8, .kv = kv_, .index_keys = false}).value();
    std::vector<BatchRequest> batch, shared_batch;
    for (std::size_t c = 0; c < cases_.size(); ++c) {
      batch.push_back({.request = cache.add_request()});
      shared_batch.push_back({.request = shared_cache.add_request()});
    }
    std::vector<std::int64_t> done(cases_.size(), 0);
    for (std::size_t step = 0; step < cases_[0].steps.size(); ++step) {
      std::vector<std::uint16_t> x;
      std::vector<std::int32_t> selection;
      for (std::size_t c = 0; c < cases_.size(); ++c) {
        const std::int64_t count = cases_[c].steps[step];
        batch[c].new_tokens = shared_batch[c].new_tokens = count;
        const auto rows = cases_[c].x.begin() + done[c] * spec_.hidden;
        x.insert(x.end(), rows, rows + count * spec_.hidden);
        const auto lists = values<std::int32_t>(cases_[c].file, tensor("selection", step));
        selection.insert(selection.end(), lists.begin(), lists.end());
        done[c] += count;
      }
      auto pass = layer_->prepare(cache, batch, x).value();
      ASSERT_TRUE(layer_->run(pass, cache));
      if (!pass.dense) compare_selection(pass, step);
      auto shared_pass = shared_->prepare(shared_cache, shared_batch, x, selection).value();
      ASSERT_TRUE(shared_->run(shared_pass, shared_cache));
      compare_output(shared_pass, step);
    }
    for (std::size_t c = 0; c < cases_.size(); ++c) compare_caches(cache, batch[c].request, c);
  }

 private:
  static std::string tensor(const char* name, std::size_t step) {
    return name + std::to_string(step);
  }

  void expect_same_weights() {
    double sum = 0;
    for (const Matrix* m : {&weights_.q_a, &weights_.kv_a, &weights_.q_b, &weights_.kv_b,
                            &weights_.o, &weights_.iq, &weights_.ik, &weights_.iw})
      for (const auto bits : m->bf16) sum += bf16_to_float(bits);
    for (const auto* v : {&weights_.q_a_norm, &weights_.kv_a_norm, &weights_.k_norm})
      for (const float value : *v) sum += value;
    for (Case& each : cases_)
      ASSERT_NEAR(sum, values<float>(each.file, "weight_sum")[0], 1e-3)
          << "the generators disagree; nothing below would mean anything";
  }

  // Counts are exact. A position that the oracle did not take may be here only if e4m3 could have
  // moved its score, and that of the last one taken, past each other: five standard deviations of
  // both.
  void compare_selection(const ForwardPass& pass, std::size_t step) {
    std::vector<std::int32_t> got(pass.tokens * pass.selected);
    ASSERT_TRUE(backend_->download(pass.at("selection").i32(), got.size() * 4, got.data()));
    std::int64_t same = 0, all = 0;
    for (std::size_t c = 0; c < cases_.size(); ++c) {
      const auto& request = pass.requests[c];
      const auto want = values<std::int32_t>(cases_[c].file, tensor("selection", step));
      const auto scores = values<float>(cases_[c].file, tensor("scores", step));
      const auto sigma = values<float>(cases_[c].file, tensor("score_sigma", step));
      for (std::int64_t i = 0; i < request.new_tokens; ++i) {
        std::set<std::int32_t> ours, theirs;
        for (int j = 0; j < pass.selected; ++j) {
          const auto mine = got[(request.first_token + i) * pass.selected + j];
          if (mine >= 0) {
            EXPECT_TRUE(ours.insert(mine).second) << "twice";
          }
          if (want[i * spec_.topk + j] >= 0) theirs.insert(want[i * spec_.topk + j]);
        }
        ASSERT_EQ(ours.size(), theirs.size());
        const float* row = &scores[i * request.context()];
        const float* row_sigma = &sigma[i * request.context()];
        std::int32_t last = *theirs.begin();
        for (const auto position : theirs)
          if (row[position] < row[last]) last = position;
        for (const auto position : ours) {
          all += 1;
          same += theirs.contains(position) ? 1 : 0;
          ASSERT_LT(position, request.past + i + 1);
          EXPECT_GE(row[position], row[last] - 5 * std::hypot(row_sigma[position], row_sigma[last]))
              << "case " << c << " step " << step << " token " << i << " position " << position;
        }
      }
    }
    EXPECT_GT(same, all * 8 / 10) << "sets differ at the threshold only";
  }

  // On the oracle's selection. Roundings one after the other on the way: q_a, q_r, q, query; kv,
  // latent; attention, v, y: nine of bf16. Scores have a spread of about 2, so errors of query and
  // key enter the weights twofold: (4 + 2) * 2^2 + 2 + 3 squared errors.
  void compare_output(const ForwardPass& pass, std::size_t step) {
    std::vector<std::uint16_t> y(pass.tokens * spec_.hidden);
    ASSERT_TRUE(backend_->download(pass.at("y").bf16(), y.size() * 2, y.data()));
    Error error;
    for (std::size_t c = 0; c < cases_.size(); ++c) {
      const auto want = values<float>(cases_[c].file, tensor("y", step));
      const auto* got = &y[pass.requests[c].first_token * spec_.hidden];
      for (std::size_t i = 0; i < want.size(); ++i) error.add(bf16_to_float(got[i]), want[i]);
    }
    double tolerance = kBf16 * std::sqrt(6 * 4 + 2 + 3);
    // fp8 latents: once as values, once in scores of spread 2.
    if (kv_ == Format::kFp8) tolerance += kE4m3 * std::sqrt(1 + 4);
    EXPECT_LT(error.value(), tolerance) << "step " << step;
    record(tensor("y_error_step", step), std::to_string(error.value()));
    std::printf("    step %zu: output error %.2e (tolerance %.2e)\n", step, error.value(),
                tolerance);
  }

  void compare_caches(const CacheManager& cache, RequestId request, std::size_t c) {
    const auto latent = values<float>(cases_[c].file, "latent");
    const auto rope = values<float>(cases_[c].file, "k_rope");
    const auto key = values<float>(cases_[c].file, "index_key");
    const auto pages = cache.pool().block_table(request).value();
    const auto rows = cache.kv_rows();
    Error latent_error, rope_error, key_error;
    for (std::int64_t p = 0; p < cache.pool().length(request).value(); ++p) {
      const std::int64_t slot = std::int64_t{pages[p / 64]} * 64 + p % 64;
      const auto* row = static_cast<const std::uint8_t*>(rows.data) + slot * rows.row_stride_bytes;
      const bool fp8 = kv_ == Format::kFp8;
      for (int d = 0; d < 512; ++d) {
        float scale = 0;
        std::uint16_t bits = 0;
        std::memcpy(&scale, row + kernels::kKvFp8ScaleOffset + 4 * (d / 128), 4);
        std::memcpy(&bits, row + 2 * d, 2);
        latent_error.add(fp8 ? kernels::e4m3_to_float(row[d]) * scale : bf16_to_float(bits),
                         latent[p * 512 + d]);
      }
      for (int d = 0; d < 64; ++d) {
        std::uint16_t bits = 0;
        std::memcpy(&bits, row + (fp8 ? kernels::kKvFp8RopeOffset : 1024) + 2 * d, 2);
        rope_error.add(bf16_to_float(bits), rope[p * 64 + d]);
      }
      const std::uint8_t* page = cache.index_pages() + slot / 64 * kernels::kIndexPageBytes;
      float scale = 0;
      std::memcpy(&scale, page + kernels::kIndexPageScaleOffset + 4 * (slot % 64), 4);
      double unrotated[128];
      for (int d = 0; d < 128; ++d)
        unrotated[d] = double{kernels::e4m3_to_float(page[slot % 64 * 128 + d])} * scale;
      kernels::hadamard_128(unrotated);  // its own inverse
      for (int d = 0; d < 128; ++d) key_error.add(unrotated[d], key[p * 128 + d]);
    }
    // kv and latent, kv and rotated key: two roundings; then the cache's own.
    EXPECT_LT(latent_error.value(),
              1.2 * std::hypot(kBf16 * 1.414, kv_ == Format::kFp8 ? kE4m3 : 0));
    EXPECT_LT(rope_error.value(), 1.2 * kBf16 * 1.414);
    // W_ik x, LayerNorm, rope, then e4m3.
    EXPECT_LT(key_error.value(), 1.2 * std::hypot(kBf16 * 1.732, kE4m3));
    std::printf("    cache errors: latent %.2e, rope %.2e, index key %.2e\n", latent_error.value(),
                rope_error.value(), key_error.value());
  }

  static void record(const std::string& name, const std::string& value) {
    ::testing::Test::RecordProperty(name, value);
  }

  std::unique_ptr<Backend> backend_;
  Format kv_;
  std::vector<Case> cases_;
  LayerSpec spec_;
  LayerWeights weights_;
  std::unique_ptr<DsaLayer> layer_, shared_;
};

TEST(OracleTest, ReferenceAgreesWithDeepseekV32Attention) {
  Comparison(reference_backend(2), "v32", Format::kBf16).run();
}

TEST(OracleTest, ReferenceAgreesWithDeepseekV32AttentionThroughAnFp8Cache) {
  Comparison(reference_backend(2), "v32", Format::kFp8).run();
}

TEST(OracleTest, ReferenceAgreesWithGlmMoeDsaAttention) {
  Comparison(reference_backend(2), "glm", Format::kBf16).run();
}

TEST(OracleTest, ReferenceAgreesWithGlmMoeDsaAttentionThroughAnFp8Cache) {
  Comparison(reference_backend(2), "glm", Format::kFp8).run();
}

TEST(OracleTest, FastPathAgreesWithBothModules) {
  for (const char* family : {"v32", "glm"}) {
    SCOPED_TRACE(family);
    Comparison(cpu_backend(2), family, Format::kBf16).run();
    Comparison(cpu_backend(2), family, Format::kFp8).run();
  }
}

}  // namespace
}  // namespace dsaperf::op
