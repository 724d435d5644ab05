// What one rank of eight holds of DeepSeek-V3.2's first sparse layer, by the C interface from C++.
// The model's config is the one that was installed.
#include <dsaperf/dsaperf.h>

#include <cstdio>

int main() {
  auto options = DSAPERF_INIT(dsaperf_layer_options);
  options.config = "deepseek-ai/DeepSeek-V3.2";
  options.layer = -1;
  options.heads = 16;
  dsaperf_layer* layer = nullptr;
  dsaperf_error error;
  if (dsaperf_layer_create(&options, &layer, &error) != DSAPERF_OK) {
    std::fprintf(stderr, "%s\n", error.message);
    return 1;
  }
  auto info = DSAPERF_INIT(dsaperf_layer_info);
  const bool ok = dsaperf_layer_get_info(layer, &info, &error) == DSAPERF_OK;
  if (ok) {
    std::printf("dsaperf %s: %d values a token, %d tokens selected\n", dsaperf_version(),
                static_cast<int>(info.hidden), static_cast<int>(info.topk));
  }
  dsaperf_layer_destroy(layer);
  return ok ? 0 : 1;
}
