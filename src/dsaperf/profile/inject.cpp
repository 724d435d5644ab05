// The library that the CUDA driver loads into a profiled process (CUDA_INJECTION64_PATH) when CUDA
// is initialised, and NVTX when the first range is opened (NVTX_INJECTION64_PATH). It records
// kernels, copies, fills, launching calls and ranges with CUPTI into
// $DSAPERF_PROFILE_DIR/PID.activity.
//
// Recording begins with CUDA, not with the first range: CUPTI would initialise CUDA, which then no
// child that the process forks could use. So ranges that are opened before are not seen, nor are
// processes that only open ranges.
//
// It lives in a foreign process: it links neither CUPTI nor CUDA but takes the libcupti that the
// process has loaded, else another (cupti_library.hpp). Whatever fails is said once on stderr, and
// the process goes on without being profiled.

#include "dsaperf/profile/activity_log.hpp"
#include "dsaperf/profile/cupti_library.hpp"

#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

#include <cupti.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <type_traits>

namespace {

using dsaperf::profile::Activity;
using dsaperf::profile::ActivityLogWriter;

// Records are read by the newest structures; what is read here lies where CUDA 12's CUPTI puts it.
static_assert(offsetof(CUpti_ActivityKernel10, correlationId) ==
              offsetof(CUpti_ActivityKernel9, correlationId));
static_assert(offsetof(CUpti_ActivityKernel10, name) == offsetof(CUpti_ActivityKernel9, name));
static_assert(offsetof(CUpti_ActivityKernel10, graphNodeId) ==
              offsetof(CUpti_ActivityKernel9, graphNodeId));
static_assert(offsetof(CUpti_ActivityMemcpy6, graphNodeId) ==
              offsetof(CUpti_ActivityMemcpy5, graphNodeId));
static_assert(offsetof(CUpti_ActivityMemset4, graphNodeId) ==
              offsetof(CUpti_ActivityMemset3, graphNodeId));
static_assert(offsetof(CUpti_ActivityDevice5, name) == offsetof(CUpti_ActivityDevice4, name));
static_assert(offsetof(CUpti_ActivityDevice5, uuid) == offsetof(CUpti_ActivityDevice4, uuid));
static_assert(offsetof(CUpti_ActivityOverhead3, end) == offsetof(CUpti_ActivityOverhead2, end));

constexpr std::size_t kBufferBytes = std::size_t{8} << 20;
constexpr std::uint32_t kFlushPeriodMs = 500;  // a process that is killed loses no more

// The functions of the libcupti that is used.
struct Cupti {
  decltype(&cuptiActivityRegisterCallbacks) register_callbacks = nullptr;
  decltype(&cuptiActivityEnable) enable = nullptr;
  decltype(&cuptiActivityFlushAll) flush_all = nullptr;
  decltype(&cuptiActivityFlushPeriod) flush_period = nullptr;
  decltype(&cuptiActivityGetNextRecord) next_record = nullptr;
  decltype(&cuptiActivityGetNumDroppedRecords) dropped = nullptr;
  decltype(&cuptiGetTimestamp) timestamp = nullptr;
  decltype(&cuptiGetResultString) result_string = nullptr;
  decltype(&cuptiActivityEnableRuntimeApi) enable_runtime_api = nullptr;
  decltype(&cuptiActivityEnableDriverApi) enable_driver_api = nullptr;
  int (*initialize_nvtx)(void*) = nullptr;
};

struct Session {
  Cupti cupti;
  std::mutex mutex;  // CUPTI completes buffers from several threads
  std::FILE* file = nullptr;
  ActivityLogWriter* log = nullptr;
  std::uint64_t dropped = 0;
  pid_t process = 0;
};

// Never destroyed: CUPTI's threads may still call in while the process ends.
Session& session() {
  static auto* const kTheOne = new Session;
  return *kTheOne;
}

void say(const char* what, const char* why) {
  std::fprintf(stderr, "dsaperf: this process is not profiled: %s: %s\n", what, why);
}

bool load(Cupti& cupti) {
  void* library = dsaperf::profile::open_cupti();
  if (library == nullptr) {
    say("libcupti", dlerror());
    return false;
  }
  const auto find = [&](auto& function, const char* name) {
    return dsaperf::profile::find_function(library, function, name);
  };
  const bool complete = find(cupti.register_callbacks, "cuptiActivityRegisterCallbacks") &
                        find(cupti.enable, "cuptiActivityEnable") &
                        find(cupti.flush_all, "cuptiActivityFlushAll") &
                        find(cupti.next_record, "cuptiActivityGetNextRecord") &
                        find(cupti.dropped, "cuptiActivityGetNumDroppedRecords") &
                        find(cupti.timestamp, "cuptiGetTimestamp") &
                        find(cupti.result_string, "cuptiGetResultString");
  find(cupti.flush_period, "cuptiActivityFlushPeriod");
  find(cupti.enable_runtime_api, "cuptiActivityEnableRuntimeApi");
  find(cupti.enable_driver_api, "cuptiActivityEnableDriverApi");
  if (!find(cupti.initialize_nvtx, "InitializeInjectionNvtx2")) {
    find(cupti.initialize_nvtx, "cuptiNvtxInitialize2");
  }
  if (!complete) say("libcupti", "lacks functions of the activity interface");
  return complete;
}

template <typename Record>
Activity gpu_work(Activity::Kind kind, const Record& record) {
  Activity activity;
  activity.kind = kind;
  activity.start_ns = record.start;
  activity.end_ns = record.end;
  activity.device = record.deviceId;
  activity.stream = record.streamId;
  activity.correlation = record.correlationId;
  activity.graph_node = record.graphNodeId;
  return activity;
}

void take_marker(ActivityLogWriter& log, const CUpti_ActivityMarker2& marker) {
  const bool starts = (marker.flags & CUPTI_ACTIVITY_FLAG_MARKER_START) != 0;
  const bool ends = (marker.flags & CUPTI_ACTIVITY_FLAG_MARKER_END) != 0;
  if (!starts && !ends) return;
  Activity activity;
  activity.kind = starts ? Activity::Kind::kRangeStart : Activity::Kind::kRangeEnd;
  activity.start_ns = activity.end_ns = marker.timestamp;
  activity.range = marker.id;
  activity.thread = marker.objectId.pt.threadId;
  if (starts) activity.name = marker.name != nullptr ? marker.name : "";
  log.write(activity);
}

void take_device(ActivityLogWriter& log, const CUpti_ActivityDevice5& device) {
  std::string uuid;
  for (const char byte : device.uuid.bytes) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned char>(byte));
    uuid += digits;
  }
  log.device(device.id, uuid, device.name != nullptr ? device.name : "");
}

void take(ActivityLogWriter& log, const CUpti_Activity* record) {
  switch (record->kind) {
    case CUPTI_ACTIVITY_KIND_KERNEL:
    case CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL: {
      const auto& kernel = *reinterpret_cast<const CUpti_ActivityKernel10*>(record);
      auto activity = gpu_work(Activity::Kind::kKernel, kernel);
      activity.name = kernel.name != nullptr ? kernel.name : "";
      log.write(activity);
      break;
    }
    case CUPTI_ACTIVITY_KIND_MEMCPY:
      log.write(
          gpu_work(Activity::Kind::kCopy, *reinterpret_cast<const CUpti_ActivityMemcpy6*>(record)));
      break;
    case CUPTI_ACTIVITY_KIND_MEMSET:
      log.write(
          gpu_work(Activity::Kind::kFill, *reinterpret_cast<const CUpti_ActivityMemset4*>(record)));
      break;
    case CUPTI_ACTIVITY_KIND_RUNTIME:
    case CUPTI_ACTIVITY_KIND_DRIVER: {
      const auto& call = *reinterpret_cast<const CUpti_ActivityAPI*>(record);
      Activity activity;
      activity.kind = Activity::Kind::kCall;
      activity.start_ns = call.start;
      activity.end_ns = call.end;
      activity.thread = call.threadId;
      activity.correlation = call.correlationId;
      log.write(activity);
      break;
    }
    case CUPTI_ACTIVITY_KIND_MARKER:
      take_marker(log, *reinterpret_cast<const CUpti_ActivityMarker2*>(record));
      break;
    case CUPTI_ACTIVITY_KIND_OVERHEAD: {
      const auto& overhead = *reinterpret_cast<const CUpti_ActivityOverhead3*>(record);
      Activity activity;
      activity.kind = Activity::Kind::kOverhead;
      activity.start_ns = overhead.start;
      activity.end_ns = overhead.end;
      log.write(activity);
      break;
    }
    case CUPTI_ACTIVITY_KIND_DEVICE:
      take_device(log, *reinterpret_cast<const CUpti_ActivityDevice5*>(record));
      break;
    default:
      break;
  }
}

void CUPTIAPI buffer_requested(std::uint8_t** buffer, std::size_t* size, std::size_t* records) {
  dsaperf::profile::give_buffer(kBufferBytes, buffer, size, records);
}

void CUPTIAPI buffer_completed(CUcontext context, std::uint32_t stream, std::uint8_t* buffer,
                               std::size_t, std::size_t valid) {
  auto& state = session();
  {
    const std::lock_guard lock(state.mutex);
    if (state.log != nullptr) {
      CUpti_Activity* record = nullptr;
      while (state.cupti.next_record(buffer, valid, &record) == CUPTI_SUCCESS) {
        take(*state.log, record);
      }
      std::size_t lost = 0;
      if (state.cupti.dropped(context, stream, &lost) == CUPTI_SUCCESS && lost > 0) {
        state.dropped += lost;
        state.log->dropped(state.dropped);
      }
      std::fflush(state.file);
    }
  }
  std::free(buffer);
}

void finish() {
  auto& state = session();
  if (state.process != getpid() || state.cupti.flush_all == nullptr) return;
  state.cupti.flush_all(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED);
  std::uint64_t now = 0;
  state.cupti.timestamp(&now);
  const std::lock_guard lock(state.mutex);
  if (state.log == nullptr) return;
  state.log->end(now);
  state.log = nullptr;
  std::fclose(state.file);
}

// A child forked while this records shares the file. CUDA does not work in it, and it must write
// nothing: not even at its exit what another thread had in the file's buffer.
void before_fork() {
  auto& state = session();
  state.mutex.lock();
  if (state.log != nullptr) std::fflush(state.file);
}

void in_parent() {
  session().mutex.unlock();
}

void in_forked_child() {
  session().log = nullptr;
  session().mutex.unlock();
}

std::string command_line() {
  std::string text;
  if (std::FILE* file = std::fopen("/proc/self/cmdline", "rb")) {
    char buffer[1024];
    const std::size_t got = std::fread(buffer, 1, sizeof buffer, file);
    std::fclose(file);
    for (std::size_t i = 0; i < got; ++i) text += buffer[i] == '\0' ? ' ' : buffer[i];
    while (text.ends_with(' ')) text.pop_back();
  }
  return text;
}

// Calls that launch work; of all others there are many more, and nothing hangs on them.
void enable_launching_calls(const Cupti& cupti) {
  if (cupti.enable_runtime_api == nullptr || cupti.enable_driver_api == nullptr) {
    cupti.enable(CUPTI_ACTIVITY_KIND_RUNTIME);
    cupti.enable(CUPTI_ACTIVITY_KIND_DRIVER);
    return;
  }
  for (const auto call : {CUPTI_RUNTIME_TRACE_CBID_cudaLaunchKernel_v7000,
                          CUPTI_RUNTIME_TRACE_CBID_cudaLaunchKernel_ptsz_v7000,
                          CUPTI_RUNTIME_TRACE_CBID_cudaLaunchKernelExC_v11060,
                          CUPTI_RUNTIME_TRACE_CBID_cudaLaunchKernelExC_ptsz_v11060,
                          CUPTI_RUNTIME_TRACE_CBID_cudaLaunchCooperativeKernel_v9000,
                          CUPTI_RUNTIME_TRACE_CBID_cudaLaunchCooperativeKernel_ptsz_v9000,
                          CUPTI_RUNTIME_TRACE_CBID_cudaGraphLaunch_v10000,
                          CUPTI_RUNTIME_TRACE_CBID_cudaGraphLaunch_ptsz_v10000,
                          CUPTI_RUNTIME_TRACE_CBID_cudaMemcpyAsync_v3020,
                          CUPTI_RUNTIME_TRACE_CBID_cudaMemsetAsync_v3020}) {
    cupti.enable_runtime_api(call, 1);
  }
  for (const auto call :
       {CUPTI_DRIVER_TRACE_CBID_cuLaunchKernel, CUPTI_DRIVER_TRACE_CBID_cuLaunchKernel_ptsz,
        CUPTI_DRIVER_TRACE_CBID_cuLaunchKernelEx, CUPTI_DRIVER_TRACE_CBID_cuLaunchKernelEx_ptsz,
        CUPTI_DRIVER_TRACE_CBID_cuLaunchCooperativeKernel, CUPTI_DRIVER_TRACE_CBID_cuGraphLaunch,
        CUPTI_DRIVER_TRACE_CBID_cuGraphLaunch_ptsz}) {
    cupti.enable_driver_api(call, 1);
  }
}

// The libcupti, opened when CUDA or NVTX first asks.
bool loaded() {
  static const bool kComplete = load(session().cupti);
  return kComplete;
}

void start() {
  auto& state = session();
  const char* folder = std::getenv("DSAPERF_PROFILE_DIR");
  if (folder == nullptr || !loaded()) return;
  state.process = getpid();
  state.file = dsaperf::profile::create_activity_log(folder, state.process);
  if (state.file == nullptr) {
    say(folder, std::strerror(errno));
    return;
  }
  state.log = new ActivityLogWriter(state.file);
  state.log->begin(state.process, command_line());
  std::fflush(state.file);
  const auto& cupti = state.cupti;
  CUptiResult result = cupti.register_callbacks(buffer_requested, buffer_completed);
  for (const auto kind : {CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL, CUPTI_ACTIVITY_KIND_MEMCPY,
                          CUPTI_ACTIVITY_KIND_MEMSET, CUPTI_ACTIVITY_KIND_MARKER,
                          CUPTI_ACTIVITY_KIND_OVERHEAD, CUPTI_ACTIVITY_KIND_DEVICE}) {
    if (result == CUPTI_SUCCESS) result = cupti.enable(kind);
  }
  if (result != CUPTI_SUCCESS) {
    const char* why = "unknown error";
    cupti.result_string(result, &why);
    say("CUPTI", why);
    state.log = nullptr;
    return;
  }
  enable_launching_calls(cupti);
  if (cupti.flush_period != nullptr) cupti.flush_period(kFlushPeriodMs);
  pthread_atfork(before_fork, in_parent, in_forked_child);
  std::atexit(finish);
}

}  // namespace

// Names that the CUDA driver and NVTX look for.
// NOLINTBEGIN(readability-identifier-naming)
extern "C" {

// Called by the CUDA driver; 1 is success.
__attribute__((visibility("default"))) int InitializeInjection() {
  // The driver calls once; a flag, since CUPTI may lead back here while it starts.
  static std::atomic_flag begun;
  if (!begun.test_and_set()) start();
  return 1;
}

// Called by NVTX with its table of functions, which CUPTI fills.
__attribute__((visibility("default"))) int InitializeInjectionNvtx2(void* get_export_table) {
  if (!loaded()) return 0;
  const auto initialize = session().cupti.initialize_nvtx;
  return initialize != nullptr ? initialize(get_export_table) : 0;
}
}
// NOLINTEND(readability-identifier-naming)
