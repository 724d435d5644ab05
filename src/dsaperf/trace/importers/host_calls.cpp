#include "dsaperf/trace/importers/host_calls.hpp"

#include <algorithm>
#include <tuple>

namespace dsaperf::trace {

void HostCalls::index() {
  std::stable_sort(calls_.begin(), calls_.end(), [](const HostCall& a, const HostCall& b) {
    return std::tie(a.thread, a.start_ns, b.end_ns) < std::tie(b.thread, b.start_ns, a.end_ns);
  });
  outer_.resize(calls_.size());
  parent_.resize(calls_.size());
  by_id_.reserve(calls_.size());
  std::vector<std::uint32_t> open;
  for (std::uint32_t i = 0; i < calls_.size(); ++i) {
    const auto& call = calls_[i];
    while (!open.empty() && (calls_[open.back()].thread != call.thread ||
                             calls_[open.back()].end_ns <= call.start_ns)) {
      open.pop_back();
    }
    outer_[i] = open.empty() ? i : outer_[open.front()];
    parent_[i] = open.empty() ? i : open.back();
    open.push_back(i);
    if (call.id != 0) by_id_[call.id] = i;
  }
}

const HostCall* HostCalls::by_id(std::int64_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() || id == 0 ? nullptr : &calls_[found->second];
}

const HostCall* HostCalls::outermost_of(std::int64_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() || id == 0 ? nullptr : &calls_[outer_[found->second]];
}

const HostCall* HostCalls::innermost_at(std::int64_t thread, double time_ns) const {
  auto after = std::upper_bound(calls_.begin(), calls_.end(), std::tie(thread, time_ns),
                                [](const auto& at, const HostCall& call) {
                                  return at < std::tie(call.thread, call.start_ns);
                                });
  if (after == calls_.begin()) return nullptr;
  auto i = static_cast<std::uint32_t>(after - calls_.begin() - 1);
  while (true) {
    const auto& call = calls_[i];
    if (call.thread != thread) return nullptr;
    if (time_ns < call.end_ns) return &call;
    if (parent_[i] == i) return nullptr;
    i = parent_[i];
  }
}

}  // namespace dsaperf::trace
