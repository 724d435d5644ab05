#include "dsaperf/op/random_normal.hpp"

#include "dsaperf/kernels/cpu/cpu.hpp"
#include "dsaperf/kernels/cpu/parallel.hpp"
#include "dsaperf/kernels/formats.hpp"

namespace dsaperf::op {

void fill_normal_bf16(std::uint64_t seed, std::uint64_t stream, std::int64_t first,
                      std::int64_t count, float sigma, std::uint16_t* values) {
  constexpr std::int64_t kValuesPerTask = 1 << 18;
  kernels::cpu::parallel_ranges(
      count, kValuesPerTask, kernels::cpu::available_threads(),
      [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i)
          values[i] = kernels::bf16_from_float(sigma * normal_at(seed, stream, first + i));
      });
}

}  // namespace dsaperf::op
