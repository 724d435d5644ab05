#pragma once

#include "dsaperf/trace/timeline.hpp"

#include <cstdint>
#include <unordered_map>
#include <vector>

namespace dsaperf::trace {

// Something that ran on a host thread: a runtime call, a framework operator, a range.
struct HostCall {
  double start_ns = 0;
  double end_ns = 0;
  std::int64_t thread = 0;
  std::int64_t id = 0;  // correlation or external id; 0: none
  std::uint32_t name = kNoName;
};

// Host calls of a recording, to be asked by id and by nesting. Add, then index() once, then ask.
class HostCalls {
 public:
  void add(const HostCall& call) { calls_.push_back(call); }
  void reserve(std::size_t calls) { calls_.reserve(calls); }
  void index();

  // The call with this id; of several the last. Null for 0 and unknown ids.
  const HostCall* by_id(std::int64_t id) const;
  // The call that encloses the one with this id and is itself enclosed by none of its thread.
  const HostCall* outermost_of(std::int64_t id) const;
  // The shortest call of the thread around the time; null if there is none.
  const HostCall* innermost_at(std::int64_t thread, double time_ns) const;

 private:
  void sort();

  std::vector<HostCall> calls_;        // by thread, start, longest first
  std::vector<std::uint32_t> outer_;   // of each call: its outermost
  std::vector<std::uint32_t> parent_;  // of each call: the one right around it, or itself
  std::unordered_map<std::int64_t, std::uint32_t> by_id_;
};

}  // namespace dsaperf::trace
