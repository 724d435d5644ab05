#pragma once

#include "dsaperf/kernels/sm90/topk/select.cuh"

#include <cstdint>

// The set of selected positions of a long row as bits in shared memory, and its output in ascending
// order.
namespace dsaperf::kernels::sm90 {

struct Bitmap {
  std::uint32_t* words;
  std::uint32_t first;   // position of bit 0; a multiple of 32
  std::uint32_t window;  // bits; a multiple of 128

  __device__ void set(std::uint32_t position) const {
    const std::uint32_t bit = position - first;
    if (bit < window) atomicOr(&words[bit / 32], 1u << (bit % 32));
  }

  // The bits of 32 neighbours at once; nobody else sets bits among them.
  __device__ void put(std::uint32_t position, std::uint32_t bits) const {
    const std::uint32_t bit = position - first;
    if (bit < window) words[bit / 32] = bits;
  }
};

// What one lane takes of the bitmap at a time: a byte, a word or four words.
template <class Unit>
__device__ std::uint32_t bits_set(Unit unit) {
  return static_cast<std::uint32_t>(__popc(unit));
}
template <>
__device__ inline std::uint32_t bits_set(uint4 unit) {
  return static_cast<std::uint32_t>(__popc(unit.x) + __popc(unit.y) + __popc(unit.z) +
                                    __popc(unit.w));
}

__device__ inline std::int32_t* write_bits(std::uint32_t bits, std::uint32_t position,
                                           std::int32_t* out) {
  while (bits != 0) {
    *out++ = static_cast<std::int32_t>(position) + __ffs(static_cast<int>(bits)) - 1;
    bits &= bits - 1;
  }
  return out;
}
__device__ inline std::int32_t* write_bits(const uint4& bits, std::uint32_t position,
                                           std::int32_t* out) {
  out = write_bits(bits.x, position, out);
  out = write_bits(bits.y, position + 32, out);
  out = write_bits(bits.z, position + 64, out);
  return write_bits(bits.w, position + 96, out);
}

// Each warp takes a run of neighbouring units, 32 a step, so that shared memory is read without
// bank conflicts and what is written stands together.
template <int kThreads, class Unit>
__device__ std::uint32_t write_units(const Bitmap& bitmap, std::uint32_t bits, std::int32_t* out,
                                     TopkShared& shared) {
  constexpr std::uint32_t kBits = 8 * sizeof(Unit);
  const std::uint32_t lane = threadIdx.x % 32;
  const std::uint32_t warp = threadIdx.x / 32;
  const std::uint32_t units = (bits + kBits - 1) / kBits;
  const std::uint32_t steps = (units + kThreads - 1) / kThreads;
  const std::uint32_t first = warp * steps * 32 + lane;
  auto* data = reinterpret_cast<Unit*>(bitmap.words);
  std::uint32_t own = 0;
  for (std::uint32_t i = 0; i < steps; ++i) {
    const std::uint32_t unit = first + 32 * i;
    if (unit < units) own += bits_set(data[unit]);
  }
  const std::uint32_t of_warp = __reduce_add_sync(~0u, own);
  if (lane == 0) shared.warp_sum[warp] = of_warp;
  __syncthreads();
  const std::uint32_t sums = lane < kThreads / 32 ? shared.warp_sum[lane] : 0;
  const std::uint32_t total = __reduce_add_sync(~0u, sums);
  std::int32_t* at = out + __reduce_add_sync(~0u, lane < warp ? sums : 0);
  for (std::uint32_t i = 0; i < steps; ++i) {
    const std::uint32_t unit = first + 32 * i;
    const Unit value = unit < units ? data[unit] : Unit{};
    const std::uint32_t through = warp_sum_through(bits_set(value));
    write_bits(value, bitmap.first + unit * kBits, at + (through - bits_set(value)));
    if (unit < units) data[unit] = Unit{};
    at += __shfl_sync(~0u, through, 31);
  }
  return total;
}

// Copies positions that all threads have put into shared memory. One block barrier before.
template <int kThreads>
__device__ void write_staged(const std::int32_t* staged, std::uint32_t count, std::int32_t* out) {
  __syncthreads();
  for (std::uint32_t i = threadIdx.x; i < count; i += kThreads) out[i] = staged[i];
}

// Writes the positions of the set bits among the first `bits`, ascending, and clears them; returns
// how many. Lanes find them one by one, so they go through `staged`, shared memory for as many that
// is free after the first barrier; null, or many words: straight away. Two or three block barriers,
// the first before anything is read; the caller's next barrier comes before it sets bits again.
template <int kThreads>
__device__ std::uint32_t write_positions(const Bitmap& bitmap, std::uint32_t bits,
                                         std::int32_t* staged, std::int32_t* out,
                                         TopkShared& shared) {
  __syncthreads();
  if (staged == nullptr || bits > 128 * kThreads)
    return write_units<kThreads, uint4>(bitmap, bits, out, shared);
  const std::uint32_t total = write_units<kThreads, std::uint32_t>(bitmap, bits, staged, shared);
  write_staged<kThreads>(staged, total, out);
  return total;
}

}  // namespace dsaperf::kernels::sm90
