#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/core/units.hpp"

#include <utility>

struct CUevent_st;
struct CUstream_st;

namespace dsaperf::gpu {

// An owned timing event of the current device.
class Event {
 public:
  static Result<Event> create();

  Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  Event& operator=(Event&& other) noexcept {
    std::swap(event_, other.event_);
    return *this;
  }
  ~Event();

  CUevent_st* get() const { return event_; }
  Result<void> record(CUstream_st* stream) const;
  // While the stream is captured: each launch of the graph records the event anew, for the host to
  // read after it.
  Result<void> record_in_graph(CUstream_st* stream) const;
  Result<void> synchronize() const;

 private:
  explicit Event(CUevent_st* event) : event_(event) {}

  CUevent_st* event_ = nullptr;
};

// Time between two events that have both happened.
Result<Micros> elapsed(const Event& start, const Event& stop);

}  // namespace dsaperf::gpu
