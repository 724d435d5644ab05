/* dsaperf's C interface: a selection and attention over it by single stages, then a whole layer over a paged cache.
 * Builds as C99 against libdsaperf.so; runs on any machine. */
#include <dsaperf/dsaperf.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static dsaperf_error error;

static void must(dsaperf_status status, const char* what) {
  if (status == DSAPERF_OK) return;
  fprintf(stderr, "%s: %s: %s\n", what, dsaperf_status_name(status), error.message);
  exit(1);
}

static uint16_t bf16(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return (uint16_t)(bits >> 16); /* exact for what is used here */
}

/* The 3 highest of 6 scores; attention of 8 heads over those rows of a cache. */
static void stages(void) {
  enum { kRows = 6, kTopk = 3, kHeads = 8, kKey = 576, kLatent = 512 };
  static const float scores[kRows] = {0.5F, 2.0F, -1.0F, 3.0F, 0.0F, 1.0F};
  int32_t selected[kTopk];
  dsaperf_topk_params top = DSAPERF_INIT(dsaperf_topk_params);
  top.scores = scores;
  top.indices = selected;
  top.rows = 1;
  top.columns = kRows;
  top.topk = kTopk;
  top.scores_stride = kRows;
  top.indices_stride = kTopk;
  must(dsaperf_topk(&top, NULL, &error), "topk");
  printf("selected:");
  for (int i = 0; i < kTopk; ++i) printf(" %d", (int)selected[i]);
  printf("\n");

  static uint16_t cache[kRows * kKey], query[kHeads * kKey], out[kHeads * kLatent];
  float lse[kHeads];
  for (int row = 0; row < kRows; ++row)
    for (int d = 0; d < kKey; ++d) cache[row * kKey + d] = bf16((float)row);
  dsaperf_sparse_mla_params mla = DSAPERF_INIT(dsaperf_sparse_mla_params);
  mla.q = query; /* zero: every selected row weighs the same */
  mla.kv = cache;
  mla.indices = selected;
  mla.out = out;
  mla.lse = lse;
  mla.tokens = 1;
  mla.kv_rows = kRows;
  mla.kv_row_stride_bytes = 2 * kKey;
  mla.kv_format = DSAPERF_KV_BF16;
  mla.heads = kHeads;
  mla.topk = kTopk;
  mla.scale = 1;
  mla.q_token_stride = kHeads * kKey;
  mla.q_head_stride = kKey;
  mla.indices_stride = kTopk;
  mla.out_token_stride = kHeads * kLatent;
  mla.out_head_stride = kLatent;
  mla.lse_stride = kHeads;
  must(dsaperf_sparse_mla(&mla, NULL, &error), "sparse_mla");
  if (fabsf(lse[0] - logf(3)) > 1e-6F || out[0] != bf16(3)) { /* (1 + 3 + 5) / 3 */
    fprintf(stderr, "attention: wrong result\n");
    exit(1);
  }
  printf("attention: lse %.4f\n", lse[0]);

  mla.heads = 7;
  printf("refused: %s\n", dsaperf_sparse_mla(&mla, NULL, &error) == DSAPERF_OK ? "no" : error.message);
}

/* Decode of one token after 2100 by 8 heads of a DeepSeek-V3.2 layer, random weights. */
static void layer(const char* config) {
  dsaperf_layer_options options = DSAPERF_INIT(dsaperf_layer_options);
  options.config = config;
  options.layer = -1;
  options.heads = 8;
  options.seed = 1;
  dsaperf_layer* layer = NULL;
  must(dsaperf_layer_create(&options, &layer, &error), "layer");
  dsaperf_layer_info info = DSAPERF_INIT(dsaperf_layer_info);
  must(dsaperf_layer_get_info(layer, &info, &error), "info");

  dsaperf_cache_options cache_options = DSAPERF_INIT(dsaperf_cache_options);
  cache_options.pages = 40;
  cache_options.kv = DSAPERF_KV_FP8;
  dsaperf_cache* cache = NULL;
  must(dsaperf_cache_create(layer, &cache_options, &cache, &error), "cache");
  int64_t request = 0;
  const int64_t one = 1;
  must(dsaperf_cache_add_request(cache, &request, &error), "request");
  must(dsaperf_cache_fill(cache, layer, request, 2100, 1, &error), "past");

  uint16_t* x = calloc((size_t)info.hidden, sizeof *x);
  uint16_t* y = calloc((size_t)info.hidden, sizeof *y);
  int32_t* selection = calloc((size_t)info.topk, sizeof *selection);
  if (x == NULL || y == NULL || selection == NULL) exit(1);
  for (int i = 0; i < info.hidden; ++i) x[i] = bf16(i % 3 == 0 ? 1.0F : -0.5F);
  dsaperf_batch batch = DSAPERF_INIT(dsaperf_batch);
  batch.requests = &request;
  batch.new_tokens = &one;
  batch.count = 1;
  batch.x = x;
  batch.x_count = info.hidden;
  batch.y = y;
  batch.selection_out = selection;
  must(dsaperf_layer_forward(layer, cache, &batch, &error), "forward");
  int chosen = 0;
  for (int i = 0; i < info.topk; ++i) chosen += selection[i] >= 0;
  printf("layer: hidden %d, %d of 2101 tokens attended to\n", (int)info.hidden, chosen);

  free(selection);
  free(y);
  free(x);
  dsaperf_layer_destroy(layer); /* in any order */
  dsaperf_cache_destroy(cache);
}

int main(int argc, char** argv) {
  printf("dsaperf %s, ABI %d\n", dsaperf_version(), dsaperf_abi());
  stages();
  if (argc > 1) layer(argv[1]);
  return 0;
}
