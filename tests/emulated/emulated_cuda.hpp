#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

// As much of CUDA C++ as our kernels need, on the host: device code is compiled by the host's
// compiler, and its logic is tested where there is no GPU. What it says about a kernel is whether
// its result is right, and whether it ends, for every order in which threads may run between two
// barriers and in which copies and products may complete (drawn at random), not whether it is fast,
// nor that memory orderings (fences) suffice.
//
// One thread of the system is one CTA, so dynamic shared memory is thread_local; the threads of a
// CTA are contexts on it, which switch where they wait for each other. CTAs of a cluster run side
// by side.

#define __device__
#define __host__
#define __global__ inline
#define __shared__ __thread
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __launch_bounds__(...)
#define __grid_constant__
#define threadIdx (::emulated::thread_index())
#define blockIdx (::emulated::block_index())
#define blockDim (::emulated::block_size())
#define gridDim (::emulated::grid_size())

struct uint2 {
  std::uint32_t x, y;
};
struct alignas(16) uint4 {
  std::uint32_t x, y, z, w;
};
struct alignas(16) int4 {
  std::int32_t x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};

inline constexpr std::size_t kEmulatedSharedBytes = 256 * 1024;

// What kernels of this namespace declare as theirs.
namespace dsaperf::kernels::sm90 {
extern __thread std::uint8_t dynamic_shared[kEmulatedSharedBytes] __attribute__((aligned(1024)));
}

namespace dsaperf::kernels::sm90::sparse_mla {
extern __thread std::byte shared_bytes[kEmulatedSharedBytes] __attribute__((aligned(1024)));
}

namespace emulated {

struct Index {
  std::uint32_t x;
};
Index thread_index();
Index block_index();
Index block_size();
Index grid_size();

// Runs kernel() as every thread of `grid` CTAs of `threads`, in clusters of `cluster`; the clusters
// one after the other. `seed` draws the orders of threads. Shared memory is filled with garbage
// first.
void launch(int grid, int threads, int cluster, unsigned seed, const std::function<void()>& kernel);

// Lets other threads of the CTA run. A CTA none of whose threads can go on ends the program, with
// the warps that wait.
void yield();
void note_progress();

// What a thread starts and something else ends: copies, at any time from now on, in order, at the
// latest in finish_copies; and products, in groups, from their commit to when they are waited for.
void copy_later(std::function<void()> copy);
void finish_copies();
void multiply_later(std::function<void()> product);
void commit_products();
void finish_products(std::size_t pending);  // all groups but the last `pending`

void sync_block();
void sync_named(int id, int threads);
bool any_named(int id, int threads, bool value);
void sync_cluster();
void arrive_cluster();
void wait_cluster();
std::uint32_t cluster_rank();
std::uint32_t cluster_size();
// Address `address` (of shared_address) in CTA `rank` of the cluster.
std::uint32_t shared_address(const void* pointer);
std::uint32_t cluster_address(std::uint32_t address, std::uint32_t rank);
void* pointer_of(std::uint32_t cluster_address);
// What an address of shared_address names in this CTA.
void* own_pointer_of(std::uint32_t address);

// All lanes of a warp give a value; each gets what `of(values of the 32 lanes, lane)` says.
std::vector<std::uint32_t> gather_warp(std::uint32_t value);

}  // namespace emulated

inline void __syncthreads() {
  emulated::sync_block();
}
inline void __syncwarp() {
  emulated::gather_warp(0);
}
inline void __nanosleep(unsigned) {
  emulated::yield();
}

template <class T>
T __shfl_sync(std::uint32_t mask, T value, int lane) {
  if constexpr (sizeof(T) == 8) {
    const auto words = std::bit_cast<uint2>(value);
    return std::bit_cast<T>(
        uint2{__shfl_sync(mask, words.x, lane), __shfl_sync(mask, words.y, lane)});
  } else {
    static_assert(sizeof(T) == 4);
    return std::bit_cast<T>(emulated::gather_warp(std::bit_cast<std::uint32_t>(value))[lane & 31]);
  }
}
template <class T>
T __shfl_up_sync(std::uint32_t mask, T value, int delta) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  return __shfl_sync(mask, value, lane >= delta ? lane - delta : lane);
}
template <class T>
T __shfl_xor_sync(std::uint32_t mask, T value, int bits) {
  return __shfl_sync(mask, value, static_cast<int>(threadIdx.x % 32) ^ bits);
}
inline std::uint32_t __ballot_sync(std::uint32_t, bool value) {
  std::uint32_t bits = 0;
  const auto lanes = emulated::gather_warp(value ? 1 : 0);
  for (int i = 0; i < 32; ++i) bits |= lanes[i] << i;
  return bits;
}
inline bool __any_sync(std::uint32_t mask, bool value) {
  return __ballot_sync(mask, value) != 0;
}
inline std::uint32_t __reduce_add_sync(std::uint32_t, std::uint32_t value) {
  std::uint32_t sum = 0;
  for (const auto lane : emulated::gather_warp(value)) sum += lane;
  return sum;
}
inline std::uint32_t __reduce_max_sync(std::uint32_t, std::uint32_t value) {
  return std::ranges::max(emulated::gather_warp(value));
}
inline std::uint32_t __reduce_min_sync(std::uint32_t, std::uint32_t value) {
  return std::ranges::min(emulated::gather_warp(value));
}

template <class T>
T __ldg(const T* at) {
  return *at;
}
inline float2 make_float2(float x, float y) {
  return {x, y};
}
inline float4 make_float4(float x, float y, float z, float w) {
  return {x, y, z, w};
}
inline uint2 make_uint2(std::uint32_t x, std::uint32_t y) {
  return {x, y};
}
inline uint4 make_uint4(std::uint32_t x, std::uint32_t y, std::uint32_t z, std::uint32_t w) {
  return {x, y, z, w};
}
inline int4 make_int4(std::int32_t x, std::int32_t y, std::int32_t z, std::int32_t w) {
  return {x, y, z, w};
}
using std::isnan;
inline float rsqrtf(float value) {
  return 1 / std::sqrt(value);
}

inline int __clz(int value) {
  return std::countl_zero(static_cast<std::uint32_t>(value));
}
inline int __ffs(int value) {
  return value == 0 ? 0 : std::countr_zero(static_cast<std::uint32_t>(value)) + 1;
}
inline int __popc(std::uint32_t value) {
  return std::popcount(value);
}
inline std::uint32_t __float_as_uint(float value) {
  return std::bit_cast<std::uint32_t>(value);
}
inline float __uint_as_float(std::uint32_t value) {
  return std::bit_cast<float>(value);
}
inline float __int_as_float(int value) {
  return std::bit_cast<float>(value);
}

// Of shared memory: the threads of a CTA never run at the same time.
inline std::uint32_t atomicAdd(std::uint32_t* at, std::uint32_t value) {
  const std::uint32_t before = *at;
  *at += value;
  return before;
}
inline std::uint32_t atomicMax(std::uint32_t* at, std::uint32_t value) {
  const std::uint32_t before = *at;
  *at = std::max(before, value);
  return before;
}
inline std::uint32_t atomicMin(std::uint32_t* at, std::uint32_t value) {
  const std::uint32_t before = *at;
  *at = std::min(before, value);
  return before;
}
inline std::uint32_t atomicOr(std::uint32_t* at, std::uint32_t value) {
  const std::uint32_t before = *at;
  *at |= value;
  return before;
}

template <class T>
constexpr T min(T a, std::type_identity_t<T> b) {
  return b < a ? b : a;
}
template <class T>
constexpr T max(T a, std::type_identity_t<T> b) {
  return a < b ? b : a;
}
