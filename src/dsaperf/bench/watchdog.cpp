#include "dsaperf/bench/watchdog.hpp"

#include <utility>

namespace dsaperf::bench {

Watchdog::Watchdog(std::chrono::duration<double> limit,
                   std::function<void(const std::string&)> stalled)
    : limit_(std::chrono::duration_cast<Clock::duration>(limit)),
      stalled_(std::move(stalled)),
      thread_([this] { watch(); }) {
}

Watchdog::~Watchdog() {
  {
    const std::scoped_lock lock(mutex_);
    leaving_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Watchdog::begin(std::string what) {
  {
    const std::scoped_lock lock(mutex_);
    what_ = std::move(what);
    deadline_ = Clock::now() + limit_;
    working_ = true;
  }
  changed_.notify_all();
}

void Watchdog::end() {
  const std::scoped_lock lock(mutex_);
  working_ = false;
}

void Watchdog::watch() {
  std::unique_lock lock(mutex_);
  while (!leaving_) {
    if (!working_) {
      changed_.wait(lock);
      continue;
    }
    changed_.wait_until(lock, deadline_);
    if (leaving_ || !working_ || Clock::now() < deadline_) continue;
    const std::string what = what_;
    lock.unlock();
    stalled_(what);
    return;
  }
}

}  // namespace dsaperf::bench
