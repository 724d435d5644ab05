#include "emulated_cuda.hpp"

#include <ucontext.h>

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <thread>

namespace dsaperf::kernels::sm90 {
__thread std::uint8_t dynamic_shared[kEmulatedSharedBytes] __attribute__((aligned(1024)));
}

namespace emulated {
namespace {

using dsaperf::kernels::sm90::dynamic_shared;

constexpr std::size_t kStackBytes = 64 * 1024;
constexpr std::uint32_t kRankShift = 24;

// Where the CTAs of a cluster wait for each other. (libstdc++'s std::barrier sleeps too long.)
class Barrier {
 public:
  explicit Barrier(int size) : size_(size) {}

  void wait() {
    std::unique_lock lock(mutex_);
    const int round = round_;
    if (++arrived_ == size_) {
      next_round();
    } else {
      changed_.wait(lock, [&] { return round_ != round; });
    }
  }

  // One fewer from now on.
  void leave() {
    const std::scoped_lock lock(mutex_);
    if (--size_ == arrived_ && size_ > 0) next_round();
  }

 private:
  void next_round() {
    arrived_ = 0;
    ++round_;
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  int size_, arrived_ = 0, round_ = 0;
};

struct Cluster {
  explicit Cluster(int size) : barrier(size), shared(size) {}
  Barrier barrier;
  std::vector<std::uint8_t*> shared;
};

// Where threads wait for each other: a count of arrivals, and the round it belongs to.
struct Meeting {
  int arrived = 0;
  int round = 0;
};

struct Context {
  ucontext_t machine{};
  std::unique_ptr<std::uint8_t[]> stack;
  bool done = false;
  int waits_for_round = 0;  // of the cluster barrier it has arrived at
};

struct Warp {
  Meeting meeting;
  std::vector<std::uint32_t> values[2] = {std::vector<std::uint32_t>(32),
                                          std::vector<std::uint32_t>(32)};
  int running = 32;
};

struct Cta {
  std::uint32_t block = 0, grid = 0, rank = 0, cluster_size = 1;
  Cluster* cluster = nullptr;
  const std::function<void()>* kernel = nullptr;
  std::vector<Context> threads;
  std::vector<Warp> warps;
  int running = 0;
  Meeting block_meeting, cluster_meeting;
  ucontext_t scheduler{};
  int current = 0;
};

thread_local Cta* cta = nullptr;

void yield() {
  Context& own = cta->threads[cta->current];
  swapcontext(&own.machine, &cta->scheduler);
}

// Until all who take part have arrived.
void meet(Meeting& meeting, int of, const std::function<void()>& when_all = {}) {
  const int round = meeting.round;
  if (++meeting.arrived == of) {
    if (when_all) when_all();
    meeting.arrived = 0;
    ++meeting.round;
    return;
  }
  while (meeting.round == round) yield();
}

void run_thread() {
  (*cta->kernel)();
  Context& own = cta->threads[cta->current];
  own.done = true;
  --cta->running;
  --cta->warps[cta->current / 32].running;
  swapcontext(&own.machine, &cta->scheduler);
}

void run_cta(Cta& own, int threads, unsigned seed) {
  cta = &own;
  std::memset(dynamic_shared, 0xa5, sizeof dynamic_shared);
  own.cluster->shared[own.rank] = dynamic_shared;
  own.cluster->barrier.wait();
  own.running = threads;
  own.threads.resize(threads);
  own.warps.resize(threads / 32);
  for (Context& context : own.threads) {
    context.stack = std::make_unique_for_overwrite<std::uint8_t[]>(kStackBytes);
    getcontext(&context.machine);
    context.machine.uc_stack.ss_sp = context.stack.get();
    context.machine.uc_stack.ss_size = kStackBytes;
    context.machine.uc_link = nullptr;
    makecontext(&context.machine, run_thread, 0);
  }
  std::mt19937 engine(seed + own.block);
  std::vector<int> order(threads);
  std::iota(order.begin(), order.end(), 0);
  while (own.running > 0) {
    std::shuffle(order.begin(), order.end(), engine);
    for (const int thread : order) {
      if (own.threads[thread].done) continue;
      own.current = thread;
      swapcontext(&own.scheduler, &own.threads[thread].machine);
    }
  }
  own.cluster->barrier.leave();
  cta = nullptr;
}

}  // namespace

Index thread_index() {
  return {static_cast<std::uint32_t>(cta->current)};
}
Index block_index() {
  return {cta->block};
}
Index grid_size() {
  return {cta->grid};
}
std::uint32_t cluster_rank() {
  return cta->rank;
}
std::uint32_t cluster_size() {
  return cta->cluster_size;
}

void launch(int grid, int threads, int cluster, unsigned seed,
            const std::function<void()>& kernel) {
  for (int first = 0; first < grid; first += cluster) {
    Cluster shared(cluster);
    std::vector<Cta> ctas(cluster);
    std::vector<std::jthread> workers;
    for (int rank = 0; rank < cluster; ++rank) {
      Cta& own = ctas[rank];
      own.block = static_cast<std::uint32_t>(first + rank);
      own.grid = static_cast<std::uint32_t>(grid);
      own.rank = static_cast<std::uint32_t>(rank);
      own.cluster_size = static_cast<std::uint32_t>(cluster);
      own.cluster = &shared;
      own.kernel = &kernel;
      workers.emplace_back([&own, threads, seed] { run_cta(own, threads, seed); });
    }
  }
}

// Threads that have ended no longer count, as on the device.
void sync_block() {
  meet(cta->block_meeting, cta->running);
}

void arrive_cluster() {
  Context& own = cta->threads[cta->current];
  own.waits_for_round = cta->cluster_meeting.round;
  if (++cta->cluster_meeting.arrived == cta->running) {
    cta->cluster->barrier.wait();
    cta->cluster_meeting.arrived = 0;
    ++cta->cluster_meeting.round;
  }
}

void wait_cluster() {
  while (cta->cluster_meeting.round == cta->threads[cta->current].waits_for_round) yield();
}

void sync_cluster() {
  arrive_cluster();
  wait_cluster();
}

std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(static_cast<const std::uint8_t*>(pointer) - dynamic_shared);
}

std::uint32_t cluster_address(std::uint32_t address, std::uint32_t rank) {
  return rank << kRankShift | address;
}

void* pointer_of(std::uint32_t address) {
  const std::uint32_t offset = address & ((1u << kRankShift) - 1);
  if (address >> kRankShift >= cta->cluster_size || offset >= kEmulatedSharedBytes) {
    std::fprintf(stderr, "address %#x is outside the cluster's shared memory\n", address);
    std::abort();
  }
  return cta->cluster->shared[address >> kRankShift] + offset;
}

std::vector<std::uint32_t> gather_warp(std::uint32_t value) {
  Warp& warp = cta->warps[cta->current / 32];
  std::vector<std::uint32_t>& values = warp.values[warp.meeting.round % 2];
  values[cta->current % 32] = value;
  meet(warp.meeting, warp.running);
  return values;
}

}  // namespace emulated
