#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace dsaperf::bench {

// Calls `stalled` with the name of what was begun last when neither another beginning nor an end
// followed within `limit`; on a thread of its own, once. For work that cannot be interrupted: a
// kernel that never ends blocks every CUDA call after it, so all `stalled` can do is end the
// program.
class Watchdog {
 public:
  Watchdog(std::chrono::duration<double> limit, std::function<void(const std::string&)> stalled);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  void begin(std::string what);
  void end();

 private:
  void watch();

  using Clock = std::chrono::steady_clock;
  Clock::duration limit_;
  std::function<void(const std::string&)> stalled_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string what_;
  Clock::time_point deadline_;
  bool working_ = false, leaving_ = false;
  std::thread thread_;
};

}  // namespace dsaperf::bench
