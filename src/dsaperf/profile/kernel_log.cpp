#include "dsaperf/profile/kernel_log.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/profile/cupti_library.hpp"

#include <dlfcn.h>

#include <cupti.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <type_traits>

namespace dsaperf::profile {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{1} << 20;

struct Seen {
  std::uint64_t start_ns;
  std::string name;
};

// CUPTI's callbacks take no context of ours.
struct Session {
  decltype(&cuptiActivityRegisterCallbacks) register_callbacks = nullptr;
  decltype(&cuptiActivityEnable) enable = nullptr;
  decltype(&cuptiActivityDisable) disable = nullptr;
  decltype(&cuptiActivityFlushAll) flush_all = nullptr;
  decltype(&cuptiActivityGetNextRecord) next_record = nullptr;
  decltype(&cuptiGetResultString) result_string = nullptr;
  std::mutex mutex;  // CUPTI completes buffers from threads of its own
  std::vector<Seen> seen;
};

Session& session() {
  static auto* const kTheOne = new Session;  // never destroyed: CUPTI may call while we end
  return *kTheOne;
}

void CUPTIAPI buffer_requested(std::uint8_t** buffer, std::size_t* size, std::size_t* records) {
  give_buffer(kBufferBytes, buffer, size, records);
}

void CUPTIAPI buffer_completed(CUcontext, std::uint32_t, std::uint8_t* buffer, std::size_t,
                               std::size_t valid) {
  auto& state = session();
  {
    const std::lock_guard lock(state.mutex);
    CUpti_Activity* record = nullptr;
    while (state.next_record(buffer, valid, &record) == CUPTI_SUCCESS) {
      if (record->kind != CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL &&
          record->kind != CUPTI_ACTIVITY_KIND_KERNEL) {
        continue;
      }
      const auto& kernel = *reinterpret_cast<const CUpti_ActivityKernel10*>(record);
      state.seen.push_back({kernel.start, kernel.name != nullptr ? kernel.name : ""});
    }
  }
  std::free(buffer);
}

Result<void> check(CUptiResult result, const char* call) {
  if (result == CUPTI_SUCCESS) return {};
  const char* why = "unknown error";
  session().result_string(result, &why);
  return fail(Errc::kUnsupported, "CUPTI: {}: {}", call, why);
}

}  // namespace

Result<std::unique_ptr<KernelLog>> KernelLog::create() {
  auto& state = session();
  void* library = open_cupti();
  if (library == nullptr) {
    return fail(
        Errc::kNotFound,
        "libcupti cannot be opened ({}): $DSAPERF_CUPTI names it; it tells which kernels ran",
        dlerror());
  }
  const auto find = [&](auto& function, const char* name) {
    return find_function(library, function, name);
  };
  if (!find(state.register_callbacks, "cuptiActivityRegisterCallbacks") ||
      !find(state.enable, "cuptiActivityEnable") || !find(state.disable, "cuptiActivityDisable") ||
      !find(state.flush_all, "cuptiActivityFlushAll") ||
      !find(state.next_record, "cuptiActivityGetNextRecord") ||
      !find(state.result_string, "cuptiGetResultString")) {
    return fail(Errc::kUnsupported, "libcupti lacks functions of the activity interface");
  }
  DSAPERF_TRY(check(state.register_callbacks(buffer_requested, buffer_completed),
                    "cuptiActivityRegisterCallbacks"));
  return std::unique_ptr<KernelLog>(new KernelLog);
}

Result<std::vector<std::string>> KernelLog::kernels_of(const std::function<Result<void>()>& work) {
  auto& state = session();
  DSAPERF_TRY(check(state.flush_all(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED), "cuptiActivityFlushAll"));
  {
    const std::lock_guard lock(state.mutex);
    state.seen.clear();
  }
  DSAPERF_TRY(check(state.enable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL), "cuptiActivityEnable"));
  const auto worked = work();
  const auto flushed =
      check(state.flush_all(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED), "cuptiActivityFlushAll");
  DSAPERF_TRY(check(state.disable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL), "cuptiActivityDisable"));
  DSAPERF_TRY(worked);
  DSAPERF_TRY(flushed);
  std::vector<std::string> names;
  const std::lock_guard lock(state.mutex);
  std::ranges::stable_sort(state.seen,
                           [](const Seen& a, const Seen& b) { return a.start_ns < b.start_ns; });
  names.reserve(state.seen.size());
  for (auto& kernel : state.seen) names.push_back(std::move(kernel.name));
  return names;
}

}  // namespace dsaperf::profile
