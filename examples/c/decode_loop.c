/* dsaperf's C interface: a decode loop over one prepared pass, whose request grows by a token a step. On a GPU enqueue() would be
 * captured in a CUDA graph once, and that launched (see dsaperf.h).
 *
 *   decode_loop CONFIG                   CONFIG: a config.json, its folder, or a bundled name
 */
#include <dsaperf/dsaperf.h>

#include <stdio.h>
#include <stdlib.h>

static dsaperf_error error;

static void must(dsaperf_status status, const char* what) {
  if (status == DSAPERF_OK) return;
  fprintf(stderr, "%s: %s\n", what, error.message);
  exit(1);
}

int main(int argc, char** argv) {
  dsaperf_layer_options options = DSAPERF_INIT(dsaperf_layer_options);
  options.config = argc > 1 ? argv[1] : "deepseek-ai/DeepSeek-V3.2";
  options.layer = -1;
  options.heads = 8;
  dsaperf_layer* layer = NULL;
  must(dsaperf_layer_create(&options, &layer, &error), "layer");
  dsaperf_cache_options cache_options = DSAPERF_INIT(dsaperf_cache_options);
  cache_options.pages = 40;
  dsaperf_cache* cache = NULL;
  must(dsaperf_cache_create(layer, &cache_options, &cache, &error), "cache");
  int64_t request = 0;
  const int64_t one = 1;
  must(dsaperf_cache_add_request(cache, &request, &error), "request");
  must(dsaperf_cache_fill(cache, layer, request, 2100, 1, &error), "past");

  dsaperf_batch batch = DSAPERF_INIT(dsaperf_batch);
  batch.requests = &request;
  batch.new_tokens = &one;
  batch.count = 1;
  dsaperf_pass_options pass_options = DSAPERF_INIT(dsaperf_pass_options);
  pass_options.longest = 2304;
  dsaperf_pass* pass = NULL;
  must(dsaperf_pass_create(layer, cache, &batch, &pass_options, &pass, &error), "pass");
  dsaperf_pass_view view = DSAPERF_INIT(dsaperf_pass_view);
  must(dsaperf_pass_get_view(pass, &view, &error), "view");
  dsaperf_layer_info info = DSAPERF_INIT(dsaperf_layer_info);
  must(dsaperf_layer_get_info(layer, &info, &error), "info");
  for (int step = 0; step < 3; ++step) {
    if (step > 0) must(dsaperf_pass_advance(pass, NULL, 0, NULL, 0, &error), "advance");
    for (int i = 0; i < info.hidden; ++i) view.x[i] = 0x3f80; /* 1: what the layer before would leave there */
    must(dsaperf_pass_enqueue(pass, &error), "enqueue");
  }
  int64_t length = 0;
  must(dsaperf_cache_length(cache, request, &length, &error), "length");
  printf("%lld tokens after 3 steps, %lld of them attended to\n", (long long)length, (long long)view.selected);

  dsaperf_pass_destroy(pass);
  dsaperf_cache_destroy(cache);
  dsaperf_layer_destroy(layer);
  return 0;
}
