#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace dsaperf::kernels::cpu {

// Calls task(i) for i in [0, count) from up to `threads` threads, the caller among them; tasks are
// handed out one by one, so they may differ in size. The first exception (out of memory) stops the
// rest and is thrown from here.
template <typename Task>
void parallel_for(std::int64_t count, int threads, const Task& task) {
  std::atomic<std::int64_t> next = 0;
  std::exception_ptr failure;
  std::mutex failure_mutex;
  const auto work = [&] {
    try {
      for (std::int64_t i = next++; i < count; i = next++) task(i);
    } catch (...) {
      next = count;
      const std::scoped_lock lock(failure_mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  const std::int64_t helpers = std::min<std::int64_t>(threads, count) - 1;
  {
    std::vector<std::jthread> pool;
    for (std::int64_t i = 0; i < helpers; ++i) pool.emplace_back(work);
    work();
  }
  if (failure) std::rethrow_exception(failure);
}

// The same over ranges [begin, end) of at most `grain`.
template <typename Task>
void parallel_ranges(std::int64_t count, std::int64_t grain, int threads, const Task& task) {
  parallel_for((count + grain - 1) / grain, threads,
               [&](std::int64_t i) { task(i * grain, std::min((i + 1) * grain, count)); });
}

}  // namespace dsaperf::kernels::cpu
