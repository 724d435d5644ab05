#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/kernels/layout.hpp"
#include <dsaperf/dsaperf.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace dsaperf {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

dsaperf_topk_params topk_of(const std::vector<float>& scores, std::vector<std::int32_t>& indices) {
  dsaperf_topk_params p = DSAPERF_INIT(dsaperf_topk_params);
  p.scores = scores.data();
  p.indices = indices.data();
  p.rows = 1;
  p.columns = static_cast<std::int64_t>(scores.size());
  p.topk = static_cast<std::int32_t>(indices.size());
  p.scores_stride = p.columns;
  p.indices_stride = p.topk;
  return p;
}

TEST(CApiTest, AStageAnswersOnBothHostPaths) {
  const std::vector<float> scores = {1, 5, 3};
  for (const std::int32_t device : {DSAPERF_CPU, DSAPERF_CPU_REFERENCE}) {
    std::vector<std::int32_t> indices(2);
    const auto params = topk_of(scores, indices);
    dsaperf_execution where = DSAPERF_INIT(dsaperf_execution);
    where.device = device;
    where.threads = 2;
    ASSERT_EQ(dsaperf_topk(&params, &where, nullptr), DSAPERF_OK);
    EXPECT_THAT(indices, ::testing::UnorderedElementsAre(1, 2));
    std::size_t bytes = 7;
    EXPECT_EQ(dsaperf_topk_workspace(&params, &where, &bytes, nullptr), DSAPERF_OK);
    EXPECT_EQ(bytes, 0U);
  }
}

TEST(CApiTest, AWrongArgumentIsACodeAndASentence) {
  const std::vector<float> scores = {1, 5, 3};
  std::vector<std::int32_t> indices(2);
  auto params = topk_of(scores, indices);
  dsaperf_error error;
  params.scores = nullptr;
  EXPECT_EQ(dsaperf_topk(&params, nullptr, &error), DSAPERF_INVALID_ARGUMENT);
  EXPECT_THAT(error.message, HasSubstr("scores is null"));
  EXPECT_EQ(dsaperf_topk(nullptr, nullptr, &error), DSAPERF_INVALID_ARGUMENT);
  EXPECT_EQ(dsaperf_topk(nullptr, nullptr, nullptr), DSAPERF_INVALID_ARGUMENT);
  EXPECT_EQ(dsaperf_topk_workspace(&params, nullptr, nullptr, &error), DSAPERF_INVALID_ARGUMENT);
}

TEST(CApiTest, StructSizesAreTheVersion) {
  const std::vector<float> scores = {1, 5, 3};
  std::vector<std::int32_t> indices(2);
  auto params = topk_of(scores, indices);
  params.struct_size = 0;
  EXPECT_EQ(dsaperf_topk(&params, nullptr, nullptr), DSAPERF_INVALID_ARGUMENT);
  params.struct_size = sizeof params + 8;
  dsaperf_error error;
  EXPECT_EQ(dsaperf_topk(&params, nullptr, &error), DSAPERF_UNSUPPORTED);
  EXPECT_THAT(error.message, HasSubstr("struct_size"));
  EXPECT_EQ(dsaperf_abi(), DSAPERF_ABI);
}

TEST(CApiTest, SizesThatOverflowAreRefused) {
  const std::vector<float> scores = {1, 5, 3};
  std::vector<std::int32_t> indices(2);
  for (const std::int64_t absurd :
       {std::int64_t{-1}, INT64_MAX, INT64_MIN, std::int64_t{1} << 41}) {
    auto params = topk_of(scores, indices);
    params.rows = absurd;
    EXPECT_EQ(dsaperf_topk(&params, nullptr, nullptr), DSAPERF_INVALID_ARGUMENT) << absurd;
    params = topk_of(scores, indices);
    params.scores_stride = absurd;
    EXPECT_EQ(dsaperf_topk(&params, nullptr, nullptr), DSAPERF_INVALID_ARGUMENT) << absurd;
  }
}

TEST(CApiTest, UnknownEnumeratorsAreRefused) {
  dsaperf_gemm_params gemm = DSAPERF_INIT(dsaperf_gemm_params);
  gemm.batch = 1;
  EXPECT_EQ(dsaperf_gemm(&gemm, nullptr, nullptr), DSAPERF_OK) << "empty";
  gemm.w_layout = 2;
  EXPECT_EQ(dsaperf_gemm(&gemm, nullptr, nullptr), DSAPERF_INVALID_ARGUMENT);
  gemm.w_layout = 0;
  dsaperf_execution where = DSAPERF_INIT(dsaperf_execution);
  where.device = 3;
  EXPECT_EQ(dsaperf_gemm(&gemm, &where, nullptr), DSAPERF_INVALID_ARGUMENT);
  where.device = DSAPERF_CPU;
  where.threads = -1;
  EXPECT_EQ(dsaperf_gemm(&gemm, &where, nullptr), DSAPERF_INVALID_ARGUMENT);
}

TEST(CApiTest, EveryStageRefusesNullParameters) {
  const auto refused = [](auto stage, auto workspace) {
    std::size_t bytes = 0;
    return stage(nullptr, nullptr, nullptr) == DSAPERF_INVALID_ARGUMENT &&
           workspace(nullptr, nullptr, &bytes, nullptr) == DSAPERF_INVALID_ARGUMENT;
  };
  EXPECT_TRUE(refused(dsaperf_gemm, dsaperf_gemm_workspace));
  EXPECT_TRUE(refused(dsaperf_fp8_gemm, dsaperf_fp8_gemm_workspace));
  EXPECT_TRUE(refused(dsaperf_quantise_groups, dsaperf_quantise_groups_workspace));
  EXPECT_TRUE(refused(dsaperf_norm, dsaperf_norm_workspace));
  EXPECT_TRUE(refused(dsaperf_rope, dsaperf_rope_workspace));
  EXPECT_TRUE(refused(dsaperf_indexer_quantise, dsaperf_indexer_quantise_workspace));
  EXPECT_TRUE(refused(dsaperf_kv_cache_write, dsaperf_kv_cache_write_workspace));
  EXPECT_TRUE(refused(dsaperf_index_key_cache_write, dsaperf_index_key_cache_write_workspace));
  EXPECT_TRUE(refused(dsaperf_gather_index_keys, dsaperf_gather_index_keys_workspace));
  EXPECT_TRUE(refused(dsaperf_indexer_scores, dsaperf_indexer_scores_workspace));
  EXPECT_TRUE(refused(dsaperf_paged_indexer_scores, dsaperf_paged_indexer_scores_workspace));
  EXPECT_TRUE(refused(dsaperf_topk, dsaperf_topk_workspace));
  EXPECT_TRUE(refused(dsaperf_selection_rows, dsaperf_selection_rows_workspace));
  EXPECT_TRUE(refused(dsaperf_sparse_mla, dsaperf_sparse_mla_workspace));
}

TEST(CApiTest, NormIsRmsNormWithoutABias) {
  const std::vector<std::uint16_t> x = {kernels::bf16_from(3), kernels::bf16_from(1)};
  const std::vector<float> weight = {1, 1};
  const std::vector<float> bias = {0, 0};
  std::vector<std::uint16_t> out(2);
  dsaperf_norm_params p = DSAPERF_INIT(dsaperf_norm_params);
  p.x = x.data();
  p.weight = weight.data();
  p.out = out.data();
  p.rows = 1;
  p.dim = 2;
  p.x_stride = p.out_stride = 2;
  ASSERT_EQ(dsaperf_norm(&p, nullptr, nullptr), DSAPERF_OK);
  EXPECT_EQ(out[0], kernels::bf16_from(3 / std::sqrt(5.0)));
  p.bias = bias.data();
  ASSERT_EQ(dsaperf_norm(&p, nullptr, nullptr), DSAPERF_OK);
  EXPECT_EQ(out[0], kernels::bf16_from(1));
}

TEST(CApiTest, AForeignPageOrRequestNumberIsRefused) {
  const std::vector<std::int32_t> positions = {0}, request = {1}, table = {0};
  std::vector<std::int32_t> rows(1);
  dsaperf_selection_rows_params p = DSAPERF_INIT(dsaperf_selection_rows_params);
  p.positions = positions.data();
  p.request = request.data();
  p.block_table = table.data();
  p.rows = rows.data();
  p.tokens = p.requests = p.topk = 1;
  p.positions_stride = p.rows_stride = p.block_table_stride = 1;
  EXPECT_EQ(dsaperf_selection_rows(&p, nullptr, nullptr), DSAPERF_INVALID_ARGUMENT);

  std::vector<std::uint8_t> q(8 * 128), pages(8448);
  std::vector<float> weights(8), scores(64);
  const std::vector<std::int32_t> far_table = {1}, context = {3};
  dsaperf_paged_indexer_scores_params s = DSAPERF_INIT(dsaperf_paged_indexer_scores_params);
  s.q = q.data();
  s.weights = weights.data();
  s.pages = pages.data();
  s.block_table = far_table.data();
  s.context_length = context.data();
  s.scores = scores.data();
  s.batch = s.q_len = 1;
  s.heads = 8;
  s.dim = 128;
  s.max_context = s.scores_stride = 64;
  s.page_count = s.block_table_stride = 1;
  s.page_stride_bytes = 8448;
  EXPECT_EQ(dsaperf_paged_indexer_scores(&s, nullptr, nullptr), DSAPERF_INVALID_ARGUMENT);
}

#if !DSAPERF_WITH_CUDA
TEST(CApiTest, WithoutAGpuPartTheGpuIsAnErrorCode) {
  const std::vector<float> scores = {1, 5, 3};
  std::vector<std::int32_t> indices(2);
  const auto params = topk_of(scores, indices);
  dsaperf_execution where = DSAPERF_INIT(dsaperf_execution);
  where.device = DSAPERF_GPU;
  EXPECT_EQ(dsaperf_topk(&params, &where, nullptr), DSAPERF_UNSUPPORTED);
}
#endif

// A layer small enough to run in a moment: a config of our own making.
class CApiLayerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    dsaperf_layer_options options = DSAPERF_INIT(dsaperf_layer_options);
    const std::string config = DSAPERF_SOURCE_DIR "/tests/oracle/golden/v32_short/config.json";
    options.config = config.c_str();
    options.layer = -1;
    options.seed = 3;
    options.threads = 2;
    ASSERT_EQ(dsaperf_layer_create(&options, &layer, &error), DSAPERF_OK) << error.message;
    dsaperf_cache_options cache_options = DSAPERF_INIT(dsaperf_cache_options);
    cache_options.pages = 4;
    ASSERT_EQ(dsaperf_cache_create(layer, &cache_options, &cache, &error), DSAPERF_OK);
    ASSERT_EQ(dsaperf_layer_get_info(layer, &info, &error), DSAPERF_OK);
  }
  void TearDown() override {
    dsaperf_layer_destroy(layer);
    dsaperf_cache_destroy(cache);  // after its layer: fine
  }

  dsaperf_status forward(std::int64_t request, std::int64_t tokens) {
    x.assign(tokens * info.hidden, 0x3f80);
    y.assign(tokens * info.hidden, 0);
    selection.assign(tokens * info.topk, 77);
    dsaperf_batch batch = DSAPERF_INIT(dsaperf_batch);
    batch.requests = &request;
    batch.new_tokens = &tokens;
    batch.count = 1;
    batch.x = x.data();
    batch.x_count = static_cast<std::int64_t>(x.size());
    batch.y = y.data();
    batch.selection_out = selection.data();
    return dsaperf_layer_forward(layer, cache, &batch, &error);
  }

  std::int64_t free_pages() {
    dsaperf_cache_view view = DSAPERF_INIT(dsaperf_cache_view);
    EXPECT_EQ(dsaperf_cache_get_view(cache, &view, nullptr), DSAPERF_OK);
    return view.free_pages;
  }

  dsaperf_error error = {};
  dsaperf_layer* layer = nullptr;
  dsaperf_cache* cache = nullptr;
  dsaperf_layer_info info = DSAPERF_INIT(dsaperf_layer_info);
  std::vector<std::uint16_t> x, y;
  std::vector<std::int32_t> selection;
};

TEST_F(CApiLayerTest, RunsAndSelects) {
  std::int64_t request = 0;
  ASSERT_EQ(dsaperf_cache_add_request(cache, &request, &error), DSAPERF_OK);
  ASSERT_EQ(forward(request, 5), DSAPERF_OK) << error.message;
  EXPECT_THAT(std::vector(selection.begin(), selection.begin() + 2), ElementsAre(0, -1));
  ASSERT_EQ(forward(request, 40), DSAPERF_OK) << error.message;
  EXPECT_EQ(std::count(selection.end() - info.topk, selection.end(), -1), 0);
  std::int64_t length = 0;
  EXPECT_EQ(dsaperf_cache_length(cache, request, &length, &error), DSAPERF_OK);
  EXPECT_EQ(length, 45);
}

TEST_F(CApiLayerTest, ForksShareAndOutOfMemoryChangesNothing) {
  std::int64_t parent = 0, child = 0;
  ASSERT_EQ(dsaperf_cache_add_request(cache, &parent, &error), DSAPERF_OK);
  ASSERT_EQ(dsaperf_cache_fill(cache, layer, parent, 100, 1, &error), DSAPERF_OK) << error.message;
  ASSERT_EQ(dsaperf_cache_fork(cache, parent, 90, &child, &error), DSAPERF_OK);
  EXPECT_EQ(free_pages(), 2);
  EXPECT_EQ(forward(child, 300), DSAPERF_OUT_OF_MEMORY);
  EXPECT_EQ(free_pages(), 2);
  ASSERT_EQ(forward(child, 1), DSAPERF_OK) << error.message;
  EXPECT_EQ(free_pages(), 1) << "the half-full page was copied";
  std::int32_t table[8] = {};
  std::int64_t pages = 0;
  ASSERT_EQ(dsaperf_cache_block_table(cache, child, table, 1, &pages, &error), DSAPERF_OK);
  EXPECT_EQ(pages, 2);
  EXPECT_EQ(dsaperf_cache_remove_request(cache, parent, &error), DSAPERF_OK);
  EXPECT_EQ(dsaperf_cache_remove_request(cache, parent, &error), DSAPERF_NOT_FOUND);
  EXPECT_EQ(dsaperf_cache_fill(cache, layer, child, 1, 1, &error), DSAPERF_INVALID_ARGUMENT);
}

TEST_F(CApiLayerTest, NullHandlesAreErrorCodes) {
  std::int64_t number = 0;
  dsaperf_batch batch = DSAPERF_INIT(dsaperf_batch);
  dsaperf_layer* none =
      layer;  // a failed create clears its out parameter, which is not ours to free
  EXPECT_EQ(dsaperf_layer_create(nullptr, &none, &error), DSAPERF_INVALID_ARGUMENT);
  EXPECT_EQ(none, nullptr);
  EXPECT_EQ(dsaperf_layer_forward(nullptr, cache, &batch, &error), DSAPERF_INVALID_ARGUMENT);
  EXPECT_EQ(dsaperf_cache_add_request(nullptr, &number, &error), DSAPERF_INVALID_ARGUMENT);
  EXPECT_EQ(dsaperf_cache_add_request(cache, nullptr, &error), DSAPERF_INVALID_ARGUMENT);
  EXPECT_EQ(dsaperf_cache_create(nullptr, nullptr, nullptr, nullptr), DSAPERF_INVALID_ARGUMENT);
  dsaperf_layer_destroy(nullptr);
  dsaperf_cache_destroy(nullptr);
}

// A pass prepared for one request of `past` tokens, one new token a step.
class CApiPassTest : public CApiLayerTest {
 protected:
  void SetUp() override {
    CApiLayerTest::SetUp();
    ASSERT_EQ(dsaperf_cache_add_request(cache, &request, &error), DSAPERF_OK);
    ASSERT_EQ(dsaperf_cache_fill(cache, layer, request, 60, 1, &error), DSAPERF_OK);
    x.assign(info.hidden, 0x3f80);
    batch.requests = &request;
    batch.new_tokens = &one;
    batch.count = 1;
    batch.x = x.data();
    batch.x_count = info.hidden;
    options.longest = 70;
  }
  void TearDown() override {
    dsaperf_pass_destroy(pass);
    CApiLayerTest::TearDown();
  }
  dsaperf_status create() {
    return dsaperf_pass_create(layer, cache, &batch, &options, &pass, &error);
  }
  std::int64_t length() {
    std::int64_t tokens = 0;
    EXPECT_EQ(dsaperf_cache_length(cache, request, &tokens, nullptr), DSAPERF_OK);
    return tokens;
  }

  std::int64_t request = 0;
  const std::int64_t one = 1;
  dsaperf_batch batch = DSAPERF_INIT(dsaperf_batch);
  dsaperf_pass_options options = DSAPERF_INIT(dsaperf_pass_options);
  dsaperf_pass* pass = nullptr;
};

TEST_F(CApiPassTest, GrowsAsFreshPassesDo) {
  // The same past in a second request, over which each step is a forward of its own.
  std::int64_t twin = 0;
  ASSERT_EQ(dsaperf_cache_fork(cache, request, 60, &twin, &error), DSAPERF_OK);
  ASSERT_EQ(create(), DSAPERF_OK) << error.message;
  dsaperf_pass_view view = DSAPERF_INIT(dsaperf_pass_view);
  ASSERT_EQ(dsaperf_pass_get_view(pass, &view, &error), DSAPERF_OK) << error.message;
  EXPECT_EQ(view.tokens, 1);
  EXPECT_EQ(view.selected, info.topk);
  for (int step = 0; step < 6; ++step) {  // over the page boundary at 64
    if (step > 0) {
      ASSERT_EQ(dsaperf_pass_advance(pass, nullptr, 0, nullptr, 0, &error), DSAPERF_OK)
          << error.message;
    }
    ASSERT_EQ(dsaperf_pass_enqueue(pass, &error), DSAPERF_OK) << error.message;
    ASSERT_EQ(forward(twin, 1), DSAPERF_OK) << error.message;
    EXPECT_EQ(std::vector(view.y, view.y + info.hidden), y) << "step " << step;
    EXPECT_THAT(std::vector(view.selection, view.selection + info.topk),
                ::testing::UnorderedElementsAreArray(selection));
  }
  EXPECT_EQ(length(), 66);
}

TEST_F(CApiPassTest, TakesItsInputsLater) {
  batch.x = nullptr;
  batch.x_count = 0;
  ASSERT_EQ(create(), DSAPERF_OK) << error.message;
  dsaperf_pass_view view = DSAPERF_INIT(dsaperf_pass_view);
  ASSERT_EQ(dsaperf_pass_get_view(pass, &view, &error), DSAPERF_OK);
  ASSERT_EQ(dsaperf_pass_enqueue(pass, &error), DSAPERF_OK) << error.message;
  const std::vector<std::uint16_t> of_zeros(view.y, view.y + info.hidden);
  std::copy(x.begin(), x.end(), view.x);
  ASSERT_EQ(dsaperf_pass_enqueue(pass, &error), DSAPERF_OK) << error.message;
  EXPECT_NE(std::vector(view.y, view.y + info.hidden), of_zeros);
}

TEST_F(CApiPassTest, GoingTooFarIsAnErrorCodeAndChangesNothing) {
  options.longest = 62;
  ASSERT_EQ(create(), DSAPERF_OK) << error.message;
  ASSERT_EQ(dsaperf_pass_advance(pass, x.data(), info.hidden, nullptr, 0, &error), DSAPERF_OK);
  EXPECT_EQ(dsaperf_pass_advance(pass, nullptr, 0, nullptr, 0, &error), DSAPERF_INVALID_ARGUMENT);
  EXPECT_THAT(error.message, HasSubstr("62 were planned for"));
  EXPECT_EQ(length(), 62);
  EXPECT_EQ(dsaperf_pass_enqueue(pass, &error), DSAPERF_OK) << "it still runs";
}

TEST_F(CApiPassTest, WrongArgumentsAreErrorCodes) {
  EXPECT_EQ(dsaperf_pass_create(nullptr, cache, &batch, &options, &pass, &error),
            DSAPERF_INVALID_ARGUMENT);
  EXPECT_EQ(dsaperf_pass_create(layer, nullptr, &batch, &options, &pass, &error),
            DSAPERF_INVALID_ARGUMENT);
  EXPECT_EQ(dsaperf_pass_create(layer, cache, nullptr, &options, &pass, &error),
            DSAPERF_INVALID_ARGUMENT);
  EXPECT_EQ(dsaperf_pass_create(layer, cache, &batch, &options, nullptr, &error),
            DSAPERF_INVALID_ARGUMENT);
  EXPECT_EQ(dsaperf_pass_enqueue(nullptr, &error), DSAPERF_INVALID_ARGUMENT);
  EXPECT_EQ(dsaperf_pass_advance(nullptr, nullptr, 0, nullptr, 0, &error),
            DSAPERF_INVALID_ARGUMENT);
  dsaperf_pass_view view = DSAPERF_INIT(dsaperf_pass_view);
  EXPECT_EQ(dsaperf_pass_get_view(nullptr, &view, &error), DSAPERF_INVALID_ARGUMENT);

  for (const std::int64_t longest : {std::int64_t{-1}, std::int64_t{30}, INT64_MAX}) {
    options.longest = longest;
    EXPECT_EQ(create(), DSAPERF_INVALID_ARGUMENT) << longest;
    EXPECT_EQ(pass, nullptr);
  }
  options.longest = 70;
  options.score_bytes = 8;
  EXPECT_EQ(create(), DSAPERF_INVALID_ARGUMENT) << "no row of scores fits";
  options.score_bytes = 0;
  batch.x_count = 5;
  EXPECT_EQ(create(), DSAPERF_INVALID_ARGUMENT);
  batch.x_count = info.hidden;
  options.longest = 1 << 20;
  ASSERT_EQ(create(), DSAPERF_OK) << error.message;
  EXPECT_EQ(dsaperf_pass_advance(pass, nullptr, 7, nullptr, 0, &error), DSAPERF_INVALID_ARGUMENT);
  EXPECT_EQ(dsaperf_pass_advance(pass, x.data(), 7, nullptr, 0, &error), DSAPERF_INVALID_ARGUMENT);
  EXPECT_EQ(dsaperf_pass_advance(pass, x.data(), -1, nullptr, 0, &error), DSAPERF_INVALID_ARGUMENT);
  EXPECT_EQ(length(), 61);
  dsaperf_pass_destroy(nullptr);
}

TEST(CApiLayerOptionsTest, NamesWhatIsNotThere) {
  dsaperf_layer_options options = DSAPERF_INIT(dsaperf_layer_options);
  dsaperf_layer* layer = nullptr;
  dsaperf_error error;
  EXPECT_EQ(dsaperf_layer_create(&options, &layer, &error), DSAPERF_INVALID_ARGUMENT);
  options.config = "/nowhere/config.json";
  EXPECT_EQ(dsaperf_layer_create(&options, &layer, &error), DSAPERF_NOT_FOUND);
  EXPECT_THAT(error.message, HasSubstr("nowhere"));
}

}  // namespace
}  // namespace dsaperf
