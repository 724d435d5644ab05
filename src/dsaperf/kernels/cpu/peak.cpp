#include "dsaperf/kernels/cpu/peak.hpp"

#include "dsaperf/kernels/cpu/parallel.hpp"
#include "dsaperf/kernels/cpu/sgemm.hpp"

#include <chrono>
#include <cstring>

namespace dsaperf::kernels::cpu {
namespace {

// Best of three: what disturbs a measurement only ever slows it down.
template <typename Work>
double least_seconds(const Work& work) {
  double least = 1e30;
  for (int i = 0; i < 3; ++i) {
    const auto start = std::chrono::steady_clock::now();
    work();
    least = std::min(
        least, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return least;
}

}  // namespace

Result<double> measured_flop_per_s(int threads) {
  DSAPERF_TRY(open_blas());
  constexpr std::int64_t kSize = 768;  // 3 x 2.4 MB: near a core's cache, long enough to time
  const std::vector<float> a(kSize * kSize, 0.5F);
  const std::vector<float> b(kSize * kSize, 0.25F);
  std::vector<std::vector<float>> results(threads, std::vector<float>(kSize * kSize));
  const double seconds = least_seconds([&] {
    parallel_for(threads, threads, [&](std::int64_t i) {
      multiply_by_rows(kSize, kSize, kSize, a.data(), kSize, b.data(), kSize, results[i].data(),
                       kSize);
    });
  });
  return 2.0 * kSize * kSize * kSize * threads / seconds;
}

double measured_bytes_per_s(int threads) {
  constexpr std::size_t kBytes = std::size_t{64} << 20;  // a thread, beyond its share of any cache
  std::vector<std::vector<char>> from(threads, std::vector<char>(kBytes, 1));
  std::vector<std::vector<char>> to(threads, std::vector<char>(kBytes, 2));
  const double seconds = least_seconds([&] {
    parallel_for(threads, threads,
                 [&](std::int64_t i) { std::memcpy(to[i].data(), from[i].data(), kBytes); });
  });
  return 2.0 * kBytes * threads / seconds;
}

}  // namespace dsaperf::kernels::cpu
