#pragma once

#include <string>

namespace dsaperf::op {

// A range that profilers see around what this thread launches while it lives. Nothing happens where
// none is attached, or in a build without CUDA.
class HostRange {
 public:
  explicit HostRange(const std::string& name);
  HostRange(const HostRange&) = delete;
  HostRange& operator=(const HostRange&) = delete;
  ~HostRange();
};

}  // namespace dsaperf::op
