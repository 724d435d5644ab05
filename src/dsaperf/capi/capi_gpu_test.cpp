// The stages of the C interface on the GPU against the same structs on the CPU's double reference:
// on the caller's stream, with the workspace that was asked for, launched and captured.

#include "dsaperf/gpu/device_array.hpp"
#include "dsaperf/gpu/graph.hpp"
#include "dsaperf/gpu/stream.hpp"
#include "dsaperf/gpu/testing/require_gpu.hpp"
#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/kernels/testing/bf16_tensor.hpp"
#include <dsaperf/dsaperf.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <vector>

namespace dsaperf {
namespace {

using kernels::bf16_to_float;
using kernels::testing::normal_bf16;

// The same values in host and in device memory.
template <typename T>
class Both {
 public:
  explicit Both(std::vector<T> values)
      : host(std::move(values)), device(*gpu::DeviceArray<T>::copy_of(host)) {}
  explicit Both(std::int64_t size, T value = T()) : Both(std::vector<T>(size, value)) {}

  T* at(bool on_gpu) { return on_gpu ? device.data() : host.data(); }

  std::vector<T> host;
  gpu::DeviceArray<T> device;
};

class CApiGpuTest : public ::testing::Test {
 protected:
  void SetUp() override { DSAPERF_REQUIRE_GPU(); }

  // fill(params, on_gpu) sets pointers and sizes; check() compares after each way of running.
  template <typename Params, typename Stage, typename Workspace>
  void run(Stage stage, Workspace workspace, const std::function<void(Params&, bool)>& fill,
           const std::function<void()>& check) {
    const auto stream = *gpu::Stream::create();
    dsaperf_error error;
    Params params = DSAPERF_INIT(Params);
    dsaperf_execution where = DSAPERF_INIT(dsaperf_execution);
    where.device = DSAPERF_CPU_REFERENCE;
    fill(params, false);
    ASSERT_EQ(stage(&params, &where, &error), DSAPERF_OK) << error.message;

    where.device = DSAPERF_GPU;
    where.stream = stream.get();
    fill(params, true);
    ASSERT_EQ(workspace(&params, &where, &where.workspace_size, &error), DSAPERF_OK)
        << error.message;
    const auto scratch = *gpu::DeviceArray<unsigned char>::uninitialized(where.workspace_size);
    where.workspace = scratch.data();
    ASSERT_EQ(stage(&params, &where, &error), DSAPERF_OK) << error.message;
    ASSERT_TRUE(stream.synchronize());
    check();

    // Captured, it has neither allocated nor waited nor gone to another stream.
    const auto graph = gpu::Graph::capture(stream.get(), [&]() -> Result<void> {
      EXPECT_EQ(stage(&params, &where, &error), DSAPERF_OK) << error.message;
      return {};
    });
    ASSERT_TRUE(graph) << graph.error().message();
    ASSERT_TRUE(graph->launch(stream.get()));
    ASSERT_TRUE(stream.synchronize());
    check();
  }

  // bf16 results that were rounded from nearly the same sum: a unit of the largest value at most.
  static void expect_near(Both<std::uint16_t>& values, double units = 1) {
    const auto got = *values.device.to_host();
    double largest = 0;
    for (const auto value : values.host)
      largest = std::max(largest, std::abs(double{bf16_to_float(value)}));
    for (std::size_t i = 0; i < got.size(); ++i)
      ASSERT_NEAR(bf16_to_float(got[i]), bf16_to_float(values.host[i]), units * 0x1p-7 * largest)
          << i;
  }
  static void expect_near(Both<float>& values, double tolerance) {
    const auto got = *values.device.to_host();
    double largest = 0;
    for (const float value : values.host) largest = std::max(largest, std::abs(double{value}));
    for (std::size_t i = 0; i < got.size(); ++i)
      ASSERT_NEAR(got[i], values.host[i], tolerance * largest) << i;
  }
  template <typename T>
  static void expect_equal(Both<T>& values) {
    ASSERT_EQ(*values.device.to_host(), values.host);
  }
};

std::vector<std::uint8_t> random_e4m3(std::int64_t size, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0, 3);
  std::vector<std::uint8_t> codes(size);
  for (auto& code : codes) code = kernels::e4m3_from(normal(engine));
  return codes;
}

std::vector<float> random_floats(std::int64_t size, unsigned seed, float low, float high) {
  std::mt19937 engine(seed);
  std::uniform_real_distribution<float> uniform(low, high);
  std::vector<float> values(size);
  for (auto& value : values) value = uniform(engine);
  return values;
}

std::vector<std::int32_t> random_ints(std::int64_t size, unsigned seed, std::int32_t low,
                                      std::int32_t high) {
  std::mt19937 engine(seed);
  std::uniform_int_distribution<std::int32_t> uniform(low, high);
  std::vector<std::int32_t> values(size);
  for (auto& value : values) value = uniform(engine);
  return values;
}

TEST_F(CApiGpuTest, Gemm) {
  Both<std::uint16_t> x(normal_bf16(9 * 256, 1)), w(normal_bf16(64 * 256, 2)), y(9 * 64);
  run<dsaperf_gemm_params>(
      dsaperf_gemm, dsaperf_gemm_workspace,
      [&](auto& p, bool gpu) {
        p.x = x.at(gpu);
        p.w = w.at(gpu);
        p.y = y.at(gpu);
        p.m = 9;
        p.n = p.y_stride = 64;
        p.k = p.x_stride = p.w_stride = 256;
        p.batch = 1;
      },
      [&] { expect_near(y); });
}

TEST_F(CApiGpuTest, GemmWithoutItsWorkspaceIsRefused) {
  Both<std::uint16_t> x(16), w(16), y(16);
  dsaperf_gemm_params p = DSAPERF_INIT(dsaperf_gemm_params);
  p.x = x.at(true);
  p.w = w.at(true);
  p.y = y.at(true);
  p.m = p.n = p.k = p.x_stride = p.w_stride = p.y_stride = 4;
  p.batch = 1;
  dsaperf_execution where = DSAPERF_INIT(dsaperf_execution);
  where.device = DSAPERF_GPU;
  EXPECT_EQ(dsaperf_gemm(&p, &where, nullptr), DSAPERF_INVALID_ARGUMENT);
}

TEST_F(CApiGpuTest, Fp8Gemm) {
  Both<std::uint8_t> x(random_e4m3(5 * 256, 1)), w(random_e4m3(192 * 256, 2));
  Both<float> x_scales(random_floats(5 * 2, 3, 0.5F, 2)),
      w_scales(random_floats(2 * 2, 4, 0.5F, 2));
  Both<std::uint16_t> y(5 * 192);
  run<dsaperf_fp8_gemm_params>(
      dsaperf_fp8_gemm, dsaperf_fp8_gemm_workspace,
      [&](auto& p, bool gpu) {
        p.x = x.at(gpu);
        p.x_scales = x_scales.at(gpu);
        p.w = w.at(gpu);
        p.w_scales = w_scales.at(gpu);
        p.y = y.at(gpu);
        p.m = 5;
        p.n = p.y_stride = 192;
        p.k = p.x_stride = p.w_stride = 256;
        p.x_scales_stride = p.w_scales_stride = 2;
      },
      [&] { expect_near(y); });
}

TEST_F(CApiGpuTest, QuantiseGroups) {
  Both<std::uint16_t> x(normal_bf16(6 * 384, 1));
  Both<std::uint8_t> values(6 * 384);
  Both<float> scales(6 * 3);
  run<dsaperf_quantise_groups_params>(
      dsaperf_quantise_groups, dsaperf_quantise_groups_workspace,
      [&](auto& p, bool gpu) {
        p.x = x.at(gpu);
        p.values = values.at(gpu);
        p.scales = scales.at(gpu);
        p.rows = 6;
        p.dim = 384;
        p.x_stride = p.values_stride = 384;
        p.scales_stride = 3;
      },
      [&] {
        expect_equal(values);
        expect_equal(scales);
      });
}

TEST_F(CApiGpuTest, BothNorms) {
  Both<std::uint16_t> x(normal_bf16(6 * 512, 1)), out(6 * 512);
  Both<float> weight(random_floats(512, 2, 0.5F, 1.5F)), bias(random_floats(512, 3, -1, 1));
  for (const bool layer_norm : {false, true})
    run<dsaperf_norm_params>(
        dsaperf_norm, dsaperf_norm_workspace,
        [&](auto& p, bool gpu) {
          p.x = x.at(gpu);
          p.weight = weight.at(gpu);
          p.bias = layer_norm ? bias.at(gpu) : nullptr;
          p.out = out.at(gpu);
          p.rows = 6;
          p.dim = 512;
          p.eps = 1e-6F;
          p.x_stride = p.out_stride = 512;
        },
        [&] { expect_near(out); });
}

TEST_F(CApiGpuTest, Rope) {
  // In place: a table of quarter turns, so that two rotations (launched, then captured) are a half
  // turn; exact, as products with 0 and 1 are. Pairs (2i, 2i + 1): (a, b) becomes (-b, a).
  constexpr std::int64_t kTokens = 4;
  constexpr std::int32_t kHeads = 3;
  Both<std::uint16_t> x(normal_bf16(kTokens * kHeads * 64, 1));
  std::vector<float> quarter(64, 0.0F);
  std::fill(quarter.begin() + 32, quarter.end(), 1.0F);
  Both<float> table(quarter);
  Both<std::int32_t> positions(kTokens, 0);
  const auto before = x.host;
  int runs = 0;
  run<dsaperf_rope_params>(
      dsaperf_rope, dsaperf_rope_workspace,
      [&](auto& p, bool gpu) {
        p.x = x.at(gpu);
        p.cos_sin = table.at(gpu);
        p.positions = positions.at(gpu);
        p.tokens = kTokens;
        p.table_rows = 1;
        p.heads = kHeads;
        p.dim = 64;
        p.head_stride = 64;
        p.token_stride = kHeads * 64;
        p.pairs = DSAPERF_INTERLEAVED;
      },
      [&] {
        const auto got = *x.device.to_host();
        for (std::size_t i = 0; i < got.size(); ++i)
          ASSERT_EQ(bf16_to_float(got[i]),
                    runs == 0 ? bf16_to_float(x.host[i]) : -bf16_to_float(before[i]));
        ++runs;
      });
}

TEST_F(CApiGpuTest, IndexerQuantise) {
  Both<std::uint16_t> x(normal_bf16(10 * 128, 1));
  Both<std::uint8_t> values(10 * 128);
  Both<float> scales(10), weights(random_floats(10, 2, -1, 1)), weights_out(10);
  run<dsaperf_indexer_quantise_params>(
      dsaperf_indexer_quantise, dsaperf_indexer_quantise_workspace,
      [&](auto& p, bool gpu) {
        p.x = x.at(gpu);
        p.values = values.at(gpu);
        p.scales = scales.at(gpu);
        p.weights = weights.at(gpu);
        p.weights_out = weights_out.at(gpu);
        p.rows = 10;
        p.x_stride = 128;
        p.weight_factor = 0.125F;
      },
      [&] {
        // f32 sums of 128 signs: a value on the border of two codes may fall to either.
        const auto got = *values.device.to_host();
        for (std::size_t i = 0; i < got.size(); ++i)
          ASSERT_NEAR(got[i] & 0x7f, values.host[i] & 0x7f, 1);
        expect_near(weights_out, 0x1p-22);
      });
}

TEST_F(CApiGpuTest, CacheWritesGathersAndRows) {
  constexpr std::int64_t kTokens = 70, kPages = 3;
  Both<std::uint16_t> latent(normal_bf16(kTokens * 512, 1)), rope(normal_bf16(kTokens * 64, 2));
  std::vector<std::int64_t> places(kTokens);
  std::iota(places.begin(), places.end(), 64);
  places.back() = -1;  // skipped
  Both<std::int64_t> slots(places);
  for (const bool fp8 : {false, true}) {
    const std::int64_t row_bytes = fp8 ? 656 : 1152;
    Both<std::uint8_t> cache(kPages * 64 * row_bytes, 0xa5);
    run<dsaperf_kv_cache_write_params>(
        dsaperf_kv_cache_write, dsaperf_kv_cache_write_workspace,
        [&](auto& p, bool gpu) {
          p.latent = latent.at(gpu);
          p.rope = rope.at(gpu);
          p.slots = slots.at(gpu);
          p.cache = cache.at(gpu);
          p.tokens = kTokens;
          p.rows = kPages * 64;
          p.latent_stride = 512;
          p.rope_stride = 64;
          p.row_stride_bytes = row_bytes;
          p.format = fp8 ? DSAPERF_KV_FP8 : DSAPERF_KV_BF16;
        },
        [&] { expect_equal(cache); });
  }

  Both<std::uint8_t> keys(random_e4m3(kTokens * 128, 3)), pages(kPages * 8448, 0xa5);
  Both<float> scales(random_floats(kTokens, 4, 0.1F, 1));
  run<dsaperf_index_key_cache_write_params>(
      dsaperf_index_key_cache_write, dsaperf_index_key_cache_write_workspace,
      [&](auto& p, bool gpu) {
        p.values = keys.at(gpu);
        p.scales = scales.at(gpu);
        p.slots = slots.at(gpu);
        p.pages = pages.at(gpu);
        p.tokens = kTokens;
        p.page_count = kPages;
        p.page_stride_bytes = 8448;
      },
      [&] { expect_equal(pages); });

  Both<std::int32_t> table(std::vector<std::int32_t>{1, 2});
  Both<std::uint8_t> gathered(kTokens * 128);
  Both<float> gathered_scales(kTokens);
  run<dsaperf_gather_index_keys_params>(
      dsaperf_gather_index_keys, dsaperf_gather_index_keys_workspace,
      [&](auto& p, bool gpu) {
        p.pages = pages.at(gpu);
        p.block_table = table.at(gpu);
        p.values = gathered.at(gpu);
        p.scales = gathered_scales.at(gpu);
        p.tokens = kTokens;
        p.page_count = kPages;
        p.page_stride_bytes = 8448;
      },
      [&] {
        expect_equal(gathered);
        // Bytes of a scale that was never written need not be a number.
        const auto got = *gathered_scales.device.to_host();
        EXPECT_TRUE(std::equal(got.begin(), got.end() - 1, gathered_scales.host.begin()));
      });

  Both<std::int32_t> positions(random_ints(kTokens * 8, 5, -1, 140)), request(kTokens, 0),
      rows(kTokens * 8);
  run<dsaperf_selection_rows_params>(
      dsaperf_selection_rows, dsaperf_selection_rows_workspace,
      [&](auto& p, bool gpu) {
        p.positions = positions.at(gpu);
        p.request = request.at(gpu);
        p.block_table = table.at(gpu);
        p.rows = rows.at(gpu);
        p.tokens = kTokens;
        p.requests = 1;
        p.topk = 8;
        p.positions_stride = p.rows_stride = 8;
        p.block_table_stride = 2;
      },
      [&] { expect_equal(rows); });
}

TEST_F(CApiGpuTest, ScoresAndTopk) {
  constexpr std::int64_t kTokens = 4, kKeys = 200;
  constexpr std::int32_t kHeads = 8;
  Both<std::uint8_t> q(random_e4m3(kTokens * kHeads * 128, 1)), k(random_e4m3(kKeys * 128, 2));
  Both<float> weights(random_floats(kTokens * kHeads, 3, -1, 1)),
      k_scales(random_floats(kKeys, 4, 0.1F, 1)), scores(kTokens * kKeys);
  Both<std::int32_t> start(kTokens, 0), end(std::vector<std::int32_t>{0, 1, 150, 200});
  run<dsaperf_indexer_scores_params>(
      dsaperf_indexer_scores, dsaperf_indexer_scores_workspace,
      [&](auto& p, bool gpu) {
        p.q = q.at(gpu);
        p.weights = weights.at(gpu);
        p.k = k.at(gpu);
        p.k_scales = k_scales.at(gpu);
        p.start = start.at(gpu);
        p.end = end.at(gpu);
        p.scores = scores.at(gpu);
        p.tokens = kTokens;
        p.keys = p.scores_stride = kKeys;
        p.heads = kHeads;
        p.dim = 128;
      },
      [&] { expect_near(scores, 50 * 0x1p-13); });  // op/gpu_backend.cpp derives it

  Both<float> given(scores.host);
  Both<std::int32_t> indices(kTokens * 64);
  run<dsaperf_topk_params>(
      dsaperf_topk, dsaperf_topk_workspace,
      [&](auto& p, bool gpu) {
        p.scores = given.at(gpu);
        p.end = end.at(gpu);
        p.indices = indices.at(gpu);
        p.rows = kTokens;
        p.columns = p.scores_stride = kKeys;
        p.topk = 64;
        p.indices_stride = 64;
      },
      [&] {
        const auto got = *indices.device.to_host();
        for (std::int64_t t = 0; t < kTokens; ++t) {
          std::vector<std::int32_t> a(got.begin() + t * 64, got.begin() + (t + 1) * 64);
          std::vector<std::int32_t> b(indices.host.begin() + t * 64,
                                      indices.host.begin() + (t + 1) * 64);
          std::sort(a.begin(), a.end());
          std::sort(b.begin(), b.end());
          ASSERT_EQ(a, b) << t;
        }
      });
}

TEST_F(CApiGpuTest, SparseMla) {
  constexpr std::int32_t kHeads = 16;
  constexpr std::int64_t kTokens = 3, kRows = 256;
  constexpr std::int32_t kTopk = 64;
  Both<std::uint16_t> q(normal_bf16(kTokens * kHeads * 576, 1)), kv(normal_bf16(kRows * 576, 2)),
      out(kTokens * kHeads * 512);
  Both<float> lse(kTokens * kHeads);
  Both<std::int32_t> indices(random_ints(kTokens * kTopk, 3, -1, kRows - 1));
  for (const int decode : {0, 1})
    run<dsaperf_sparse_mla_params>(
        dsaperf_sparse_mla, dsaperf_sparse_mla_workspace,
        [&](auto& p, bool gpu) {
          p.q = q.at(gpu);
          p.kv = kv.at(gpu);
          p.indices = indices.at(gpu);
          p.out = out.at(gpu);
          p.lse = lse.at(gpu);
          p.tokens = kTokens;
          p.kv_rows = kRows;
          p.kv_row_stride_bytes = 1152;
          p.heads = kHeads;
          p.topk = kTopk;
          p.indices_stride = kTopk;
          p.scale = 0.07F;
          p.q_token_stride = kHeads * 576;
          p.q_head_stride = 576;
          p.out_token_stride = kHeads * 512;
          p.out_head_stride = 512;
          p.lse_stride = kHeads;
          p.decode = decode;
        },
        [&] {
          expect_near(out, 2);
          expect_near(lse, 1e-3);
        });
}

// Written where the test runs: it may be carried to a machine without its sources.
constexpr char kSmallModel[] = R"({
  "architectures": ["GlmMoeDsaForCausalLM"], "model_type": "glm_moe_dsa", "num_hidden_layers": 1,
  "hidden_size": 256, "intermediate_size": 256, "num_attention_heads": 16,
  "num_key_value_heads": 16, "v_head_dim": 64, "q_lora_rank": 128, "kv_lora_rank": 512,
  "qk_nope_head_dim": 64, "qk_rope_head_dim": 64, "vocab_size": 64,
  "max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
  "rope_parameters": {"rope_theta": 10000, "rope_type": "default"}, "first_k_dense_replace": 1,
  "n_routed_experts": 8, "num_experts_per_tok": 2, "n_shared_experts": 1,
  "moe_intermediate_size": 64, "index_n_heads": 8, "index_head_dim": 128, "index_topk": 64,
  "indexer_types": ["full"], "dtype": "bfloat16"})";

// That model's layer, and a cache for it.
class SmallLayer {
 public:
  SmallLayer(int device, cudaStream_t stream, std::int64_t pages) {
    const std::string config = ::testing::TempDir() + "capi_gpu_test_config.json";
    std::ofstream(config) << kSmallModel;
    dsaperf_layer_options options = DSAPERF_INIT(dsaperf_layer_options);
    options.config = config.c_str();
    options.layer = -1;
    options.device = device;
    options.stream = stream;
    dsaperf_cache_options cache_options = DSAPERF_INIT(dsaperf_cache_options);
    cache_options.pages = pages;
    made_ = dsaperf_layer_create(&options, &layer, &error) == DSAPERF_OK &&
            dsaperf_layer_get_info(layer, &info, &error) == DSAPERF_OK &&
            dsaperf_cache_create(layer, &cache_options, &cache, &error) == DSAPERF_OK;
  }
  SmallLayer(const SmallLayer&) = delete;
  SmallLayer& operator=(const SmallLayer&) = delete;
  ~SmallLayer() {
    dsaperf_cache_destroy(cache);
    dsaperf_layer_destroy(layer);
  }

  bool made() const { return made_; }  // else `error` says why not

  dsaperf_layer* layer = nullptr;
  dsaperf_cache* cache = nullptr;
  dsaperf_layer_info info = DSAPERF_INIT(dsaperf_layer_info);
  dsaperf_error error;

 private:
  bool made_ = false;
};

TEST_F(CApiGpuTest, TheLayerAnswersOnTheCallersStream) {
  const auto stream = *gpu::Stream::create();
  std::vector<std::vector<float>> outputs;
  for (const int device : {DSAPERF_CPU, DSAPERF_GPU}) {
    const SmallLayer small(device, stream.get(), 4);
    ASSERT_TRUE(small.made()) << small.error.message;
    dsaperf_error error;
    std::int64_t request = 0;
    ASSERT_EQ(dsaperf_cache_add_request(small.cache, &request, &error), DSAPERF_OK);
    const std::int64_t tokens =
        std::min(small.info.topk, 16);  // dense: nothing to select differently
    const auto x = normal_bf16(tokens * small.info.hidden, 1);
    std::vector<std::uint16_t> y(x.size());
    dsaperf_batch batch = DSAPERF_INIT(dsaperf_batch);
    batch.requests = &request;
    batch.new_tokens = &tokens;
    batch.count = 1;
    batch.x = x.data();
    batch.x_count = static_cast<std::int64_t>(x.size());
    batch.y = y.data();
    ASSERT_EQ(dsaperf_layer_forward(small.layer, small.cache, &batch, &error), DSAPERF_OK)
        << error.message;
    outputs.emplace_back();
    for (const auto value : y) outputs.back().push_back(bf16_to_float(value));
  }
  // Eight stages whose results are rounded to bf16, 2^-9 each in root mean square.
  double difference = 0;
  double size = 0;
  for (std::size_t i = 0; i < outputs[0].size(); ++i) {
    difference += std::pow(double{outputs[0][i]} - outputs[1][i], 2);
    size += std::pow(double{outputs[0][i]}, 2);
  }
  EXPECT_LT(std::sqrt(difference / size), 8 * 0x1p-9);
}

TEST_F(CApiGpuTest, OneGraphOfAPassServesGrowingLengths) {
  const auto stream = *gpu::Stream::create();
  const SmallLayer small(DSAPERF_GPU, stream.get(), 8);
  ASSERT_TRUE(small.made()) << small.error.message;
  dsaperf_error error;

  // Two requests of the same past: one grows under the graph, one by forwards of its own.
  std::int64_t request = 0;
  std::int64_t twin = 0;
  const std::int64_t one = 1;
  ASSERT_EQ(dsaperf_cache_add_request(small.cache, &request, &error), DSAPERF_OK);
  ASSERT_EQ(dsaperf_cache_fill(small.cache, small.layer, request, 125, 1, &error), DSAPERF_OK);
  ASSERT_EQ(dsaperf_cache_fork(small.cache, request, 125, &twin, &error), DSAPERF_OK);
  const auto x = normal_bf16(small.info.hidden, 1);
  std::vector<std::uint16_t> y(x.size());
  dsaperf_batch batch = DSAPERF_INIT(dsaperf_batch);
  batch.requests = &request;
  batch.new_tokens = &one;
  batch.count = 1;
  batch.x = x.data();
  batch.x_count = small.info.hidden;
  dsaperf_pass_options pass_options = DSAPERF_INIT(dsaperf_pass_options);
  pass_options.longest = 192;
  dsaperf_pass* pass = nullptr;
  ASSERT_EQ(dsaperf_pass_create(small.layer, small.cache, &batch, &pass_options, &pass, &error),
            DSAPERF_OK)
      << error.message;
  dsaperf_pass_view view = DSAPERF_INIT(dsaperf_pass_view);
  ASSERT_EQ(dsaperf_pass_get_view(pass, &view, &error), DSAPERF_OK);
  ASSERT_EQ(dsaperf_pass_enqueue(pass, &error), DSAPERF_OK) << error.message;
  ASSERT_TRUE(stream.synchronize());
  const auto graph = gpu::Graph::capture(stream.get(), [&]() -> Result<void> {
    EXPECT_EQ(dsaperf_pass_enqueue(pass, &error), DSAPERF_OK) << error.message;
    return {};
  });
  ASSERT_TRUE(graph) << graph.error().message();
  batch.requests = &twin;
  batch.y = y.data();
  for (int step = 0; step < 6; ++step) {  // over the page boundary at 128
    if (step > 0) {
      ASSERT_EQ(dsaperf_pass_advance(pass, nullptr, 0, nullptr, 0, &error), DSAPERF_OK)
          << error.message;
    }
    ASSERT_TRUE(graph->launch(stream.get()));
    ASSERT_EQ(dsaperf_layer_forward(small.layer, small.cache, &batch, &error), DSAPERF_OK)
        << error.message;
    std::vector<std::uint16_t> of_graph(y.size());
    ASSERT_EQ(cudaMemcpy(of_graph.data(), view.y, of_graph.size() * 2, cudaMemcpyDeviceToHost),
              cudaSuccess);
    // The same kernels over the same rows; how lists are split depends on `longest`, so that sums
    // may come in another order: a unit of bf16 of the largest value.
    float largest = 0;
    for (const auto value : y) largest = std::max(largest, std::abs(bf16_to_float(value)));
    for (std::size_t i = 0; i < y.size(); ++i)
      ASSERT_NEAR(bf16_to_float(of_graph[i]), bf16_to_float(y[i]), 2 * 0x1p-7 * largest)
          << "step " << step << ", " << i;
  }
  std::int64_t length = 0;
  ASSERT_EQ(dsaperf_cache_length(small.cache, request, &length, &error), DSAPERF_OK);
  EXPECT_EQ(length, 131);
  dsaperf_pass_destroy(pass);
}

}  // namespace
}  // namespace dsaperf
