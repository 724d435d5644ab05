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
  static Result<GemmLibrary> without_workspace();  // for the second gemm() alone
  GemmLibrary(GemmLibrary&& other) noexcept;
  GemmLibrary& operator=(GemmLibrary&& other) noexcept;
  ~GemmLibrary();

  Result<void> gemm(const GemmParams& params, CUstream_st* stream);
  // In a workspace of kWorkspaceBytes of the caller's.
  Result<void> gemm(const GemmParams& params, void* workspace, CUstream_st* stream);

 private:
  struct Plan;
  using Shape =
      std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t,
                 std::int64_t, std::int64_t, std::int64_t, std::int64_t, int, int>;

  explicit GemmLibrary(cublasLtContext* handle);
  Result<const Plan*> plan_for(const GemmParams& params);

  cublasLtContext* handle_ = nullptr;
  gpu::DeviceArray<unsigned char> workspace_;
  std::map<Shape, std::unique_ptr<Plan>> plans_;
};

}  // namespace dsaperf::kernels
