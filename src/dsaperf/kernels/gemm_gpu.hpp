#pragma once

#include "dsaperf/gpu/device_array.hpp"
#include "dsaperf/kernels/gemm.hpp"

#include <map>
#include <memory>
#include <tuple>

struct CUstream_st;
struct cublasLtContext;

namespace dsaperf::kernels {

// bf16 projections through cuBLASLt: its handle, a workspace, and for each shape seen the algorithm
// that its heuristics chose. The first call of a shape asks for it (tens of microseconds of the
// host); later ones, and those captured in a graph, only launch. Not thread-safe; one stream at a
// time, as the workspace is shared.
class GemmLibrary {
 public:
  static constexpr std::size_t kWorkspaceBytes = std::size_t{32}
                                                 << 20;  // what NVIDIA advises for Hopper

  static Result<GemmLibrary> create();
  GemmLibrary(GemmLibrary&& other) noexcept;
  GemmLibrary& operator=(GemmLibrary&& other) noexcept;
  ~GemmLibrary();

  Result<void> gemm(const GemmParams& params, CUstream_st* stream);

 private:
  struct Plan;
  using Shape =
      std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t,
                 std::int64_t, std::int64_t, std::int64_t, std::int64_t, int, int>;

  GemmLibrary(cublasLtContext* handle, gpu::DeviceArray<unsigned char> workspace);
  Result<const Plan*> plan_for(const GemmParams& params);

  cublasLtContext* handle_ = nullptr;
  gpu::DeviceArray<unsigned char> workspace_;
  std::map<Shape, std::unique_ptr<Plan>> plans_;
};

// fp8 projections with block scales, a kernel of our own. x, w, their row strides and k must be
// multiples of 16 bytes (kUnsupported otherwise); every m and n is taken.
Result<void> fp8_gemm(const Fp8GemmParams& params, CUstream_st* stream);

}  // namespace dsaperf::kernels
