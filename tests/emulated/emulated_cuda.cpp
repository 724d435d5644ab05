#include "emulated_cuda.hpp"

#include <ucontext.h>

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <thread>
#include <utility>

namespace dsaperf::kernels::sm90 {
__thread std::uint8_t dynamic_shared[kEmulatedSharedBytes] __attribute__((aligned(1024)));
}

namespace dsaperf::kernels::sm90::sparse_mla {
__thread std::byte shared_bytes[kEmulatedSharedBytes] __attribute__((aligned(1024)));
}

namespace emulated {
namespace {

using dsaperf::kernels::sm90::dynamic_shared;
using dsaperf::kernels::sm90::sparse_mla::shared_bytes;

constexpr std::size_t kStackBytes = 64 * 1024;
constexpr std::uint32_t kRankShift = 24;
constexpr int kStalledPasses = 2000;              // of all threads, until that is called a deadlock
constexpr std::uint32_t kSecondArray = 1u << 23;  // an address of shared_bytes

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
  struct Bases {
    std::uint8_t* dynamic;
    std::uint8_t* bytes;
  };
  std::vector<Bases> shared;
};

// Where threads wait for each other: a count of arrivals, and the round it belongs to.
struct Meeting {
  int arrived = 0;
  int round = 0;
  bool any[2] = {};  // of the values that those who arrive bring, by round
};

struct Context {
  ucontext_t machine{};
  std::unique_ptr<std::uint8_t[]> stack;
  bool done = false;
  int waits_for_round = 0;                   // of the cluster barrier it has arrived at
  std::deque<std::function<void()>> copies;  // issued, not complete
  std::deque<std::vector<std::function<void()>>> products;  // groups committed, not complete
  std::vector<std::function<void()>> group;                 // issued, not committed
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
  Meeting named[16];
  ucontext_t scheduler{};
  int current = 0;
  std::mt19937 engine;
  bool progress = false;  // since the last pass over all threads
};

thread_local Cta* cta = nullptr;

void finish_one_copy(Context& own) {
  const auto copy = std::move(own.copies.front());
  own.copies.pop_front();
  copy();
  cta->progress = true;
}

// Until all who take part have arrived.
void meet(Meeting& meeting, int of, const std::function<void()>& when_all = {}) {
  const int round = meeting.round;
  if (++meeting.arrived == of) {
    if (when_all) when_all();
    meeting.arrived = 0;
    ++meeting.round;
    cta->progress = true;
    return;
  }
  while (meeting.round == round) yield();
}

void run_thread() {
  (*cta->kernel)();
  finish_copies();
  Context& own = cta->threads[cta->current];
  own.done = true;
  cta->progress = true;
  --cta->running;
  --cta->warps[cta->current / 32].running;
  swapcontext(&own.machine, &cta->scheduler);
}

[[noreturn]] void report_deadlock(const Cta& own) {
  std::fprintf(stderr, "CTA %u: no thread can go on; waiting are warps", own.block);
  for (std::size_t warp = 0; warp < own.warps.size(); ++warp)
    if (own.warps[warp].running > 0) std::fprintf(stderr, " %zu", warp);
  std::fprintf(stderr, "\n");
  std::abort();
}

void run_cta(Cta& own, int threads, unsigned seed) {
  cta = &own;
  std::memset(dynamic_shared, 0xa5, sizeof dynamic_shared);
  std::memset(shared_bytes, 0xa5, sizeof shared_bytes);
  own.cluster->shared[own.rank] = {dynamic_shared, reinterpret_cast<std::uint8_t*>(shared_bytes)};
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
  own.engine.seed(seed + own.block);
  std::vector<int> order(threads);
  std::iota(order.begin(), order.end(), 0);
  int stalled = 0;
  while (own.running > 0) {
    std::shuffle(order.begin(), order.end(), own.engine);
    own.progress = false;
    for (const int thread : order) {
      if (own.threads[thread].done) continue;
      own.current = thread;
      swapcontext(&own.scheduler, &own.threads[thread].machine);
    }
    stalled = own.progress ? 0 : stalled + 1;
    if (stalled == kStalledPasses) report_deadlock(own);
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
Index block_size() {
  return {static_cast<std::uint32_t>(cta->threads.size())};
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

void yield() {
  Context& own = cta->threads[cta->current];
  // A copy arrives when it likes, but in the order of its thread.
  if (!own.copies.empty() && cta->engine() % 4 == 0) finish_one_copy(own);
  swapcontext(&own.machine, &cta->scheduler);
}

void note_progress() {
  cta->progress = true;
}

void copy_later(std::function<void()> copy) {
  Context& own = cta->threads[cta->current];
  own.copies.push_back(std::move(copy));
  if (cta->engine() % 4 == 0) finish_copies();
}

void finish_copies() {
  Context& own = cta->threads[cta->current];
  while (!own.copies.empty()) finish_one_copy(own);
}

void multiply_later(std::function<void()> product) {
  cta->threads[cta->current].group.push_back(std::move(product));
}

// At once, or when it is waited for: what is between sees either.
void commit_products() {
  Context& own = cta->threads[cta->current];
  own.products.push_back(std::exchange(own.group, {}));
  gather_warp(0);
  if (cta->engine() % 2 == 0) finish_products(0);
}

void finish_products(std::size_t pending) {
  Context& own = cta->threads[cta->current];
  while (own.products.size() > pending) {
    for (const auto& product : own.products.front()) product();
    own.products.pop_front();
  }
}

void sync_named(int id, int threads) {
  any_named(id, threads, false);
}

bool any_named(int id, int threads, bool value) {
  Meeting& meeting = cta->named[id];
  const int round = meeting.round % 2;
  meeting.any[round] |= value;
  // All have read the round before when all have arrived at this one.
  meet(meeting, threads, [&] { meeting.any[round ^ 1] = false; });
  return meeting.any[round];
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
  const auto* at = static_cast<const std::uint8_t*>(pointer);
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(shared_bytes);
  if (at >= bytes && at < bytes + kEmulatedSharedBytes)
    return static_cast<std::uint32_t>(at - bytes) | kSecondArray;
  return static_cast<std::uint32_t>(at - dynamic_shared);
}

std::uint32_t cluster_address(std::uint32_t address, std::uint32_t rank) {
  return rank << kRankShift | address;
}

void* pointer_of(std::uint32_t address) {
  const std::uint32_t offset = address & (kSecondArray - 1);
  const std::uint32_t rank = address >> kRankShift;
  if (rank >= cta->cluster_size || offset >= kEmulatedSharedBytes) {
    std::fprintf(stderr, "address %#x is outside the cluster's shared memory\n", address);
    std::abort();
  }
  const Cluster::Bases& bases = cta->cluster->shared[rank];
  return ((address & kSecondArray) != 0 ? bases.bytes : bases.dynamic) + offset;
}

void* own_pointer_of(std::uint32_t address) {
  return pointer_of(cluster_address(address, cta->rank));
}

std::vector<std::uint32_t> gather_warp(std::uint32_t value) {
  Warp& warp = cta->warps[cta->current / 32];
  std::vector<std::uint32_t>& values = warp.values[warp.meeting.round % 2];
  values[cta->current % 32] = value;
  meet(warp.meeting, warp.running);
  return values;
}

}  // namespace emulated
