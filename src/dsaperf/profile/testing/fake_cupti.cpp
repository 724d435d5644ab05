// A libcupti without a GPU, for inject_test: when it is flushed it hands over one kernel, named
// after $FAKE_KERNEL. It says through $FAKE_CUPTI_STARTED, a file, that recording was asked for,
// which is where the real one initialises CUDA.

#include <cupti.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace {

CUpti_BuffersCallbackRequestFunc g_requested = nullptr;
CUpti_BuffersCallbackCompleteFunc g_completed = nullptr;
bool g_given = false;

}  // namespace

extern "C" {

CUptiResult CUPTIAPI cuptiActivityRegisterCallbacks(CUpti_BuffersCallbackRequestFunc requested,
                                                    CUpti_BuffersCallbackCompleteFunc completed) {
  g_requested = requested;
  g_completed = completed;
  return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiActivityEnable(CUpti_ActivityKind) {
  if (const char* path = std::getenv("FAKE_CUPTI_STARTED")) {
    if (std::FILE* file = std::fopen(path, "w")) std::fclose(file);
  }
  return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiActivityFlushAll(std::uint32_t) {
  std::uint8_t* buffer = nullptr;
  std::size_t size = 0;
  std::size_t records = 0;
  g_requested(&buffer, &size, &records);
  g_given = false;
  g_completed(nullptr, 0, buffer, size, sizeof(CUpti_ActivityKernel10));
  return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiActivityGetNextRecord(std::uint8_t* buffer, std::size_t,
                                                CUpti_Activity** record) {
  if (g_given) return CUPTI_ERROR_MAX_LIMIT_REACHED;
  g_given = true;
  auto* kernel = reinterpret_cast<CUpti_ActivityKernel10*>(buffer);
  *kernel = {};
  kernel->kind = CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL;
  kernel->start = 1000;
  kernel->end = 2000;
  kernel->name = std::getenv("FAKE_KERNEL");
  *record = reinterpret_cast<CUpti_Activity*>(kernel);
  return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiActivityGetNumDroppedRecords(CUcontext, std::uint32_t,
                                                       std::size_t* lost) {
  *lost = 0;
  return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiGetTimestamp(std::uint64_t* now) {
  *now = 3000;
  return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiGetResultString(CUptiResult, const char** text) {
  *text = "fake";
  return CUPTI_SUCCESS;
}

// NOLINTNEXTLINE(readability-identifier-naming): the name that the real one exports
__attribute__((visibility("default"))) int InitializeInjectionNvtx2(void*) {
  return 1;
}
}
