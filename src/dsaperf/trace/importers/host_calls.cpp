#include "dsaperf/trace/importers/host_calls.hpp"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

namespace dsaperf::trace {

void HostCalls::sort() {
  // Recordings hold a thread's calls in order, and threads mixed: taking threads apart is most of
  // the work, and costs a pass where a sort costs many.
  std::map<std::int64_t, std::size_t> at;
  for (const auto& call : calls_) ++at[call.thread];
  std::size_t begin = 0;
  for (auto& [thread, count] : at) begin += std::exchange(count, begin);
  std::vector<HostCall> sorted(calls_.size());
  for (const auto& call : calls_) sorted[at[call.thread]++] = call;
  calls_ = std::move(sorted);
  const auto earlier = [](const HostCall& a, const HostCall& b) {
    return std::tie(a.start_ns, b.end_ns) < std::tie(b.start_ns, a.end_ns);
  };
  begin = 0;
  for (const auto& [thread, end] : at) {
    const auto first = calls_.begin() + static_cast<std::ptrdiff_t>(begin);
    const auto last = calls_.begin() + static_cast<std::ptrdiff_t>(end);
    if (!std::is_sorted(first, last, earlier)) std::stable_sort(first, last, earlier);
    begin = end;
  }
}

void HostCalls::index() {
  sort();
  outer_.resize(calls_.size());
  parent_.resize(calls_.size());
  by_id_.reserve(static_cast<std::size_t>(std::count_if(
      calls_.begin(), calls_.end(), [](const HostCall& call) { return call.id != 0; })));
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
