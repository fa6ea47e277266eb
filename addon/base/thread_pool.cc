#include "addon/base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <chrono>

#include "addon/base/cpu_placement.h"

namespace hearth {
namespace {

// How long a thread waits awake. With a core for each it bridges what one of them does alone between two loops of a
// token, and a wake-up by the kernel is saved (2 % of a token of E2B on two cores); longer gains nothing. With more
// threads than cores the wait would be taken from the time slice of the one that is waited for.
constexpr std::chrono::microseconds kSpinOwnCore{20}, kSpinSharedCore{2};
constexpr int kPausesPerLook = 32;  // at the clock

// A range is what is left, divided by so many for each thread: large ones first, whose borders cost nothing, and small
// ones at the end, so that all end at about the same time.
constexpr int64_t kPartsPerThread = 2;

inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits until `value` is no longer `old`: awake for `spin`, then asleep in the kernel.
void WaitWhile(const std::atomic<uint32_t>& value, uint32_t old, std::chrono::microseconds spin) {
  const auto start = std::chrono::steady_clock::now();
  do {
    for (int i = 0; i < kPausesPerLook; ++i) {
      if (value.load(std::memory_order_acquire) != old) return;
      Pause();
    }
  } while (std::chrono::steady_clock::now() - start < spin);
  while (value.load(std::memory_order_acquire) == old) value.wait(old, std::memory_order_acquire);
}

}  // namespace

ThreadPool::ThreadPool(int threads) : cpus_(AllowedCpus()) {
  const bool own_cores = static_cast<size_t>(threads) <= cpus_.size();
  spin_ = own_cores ? kSpinOwnCore : kSpinSharedCore;
  if (!own_cores) cpus_.clear();
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { WorkerLoop(i); });
}

ThreadPool::~ThreadPool() {
  stop_.store(true, std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::Dispatch(int64_t count, int64_t grain, RangeFn fn, void* context) {
  if (count <= 0) return;
  if (grain < 1) grain = 1;
  if (workers_.empty() || count < 2 * grain) {
    fn(context, 0, count, 0);
    return;
  }
  PlaceWorkers();
  fn_ = fn;
  context_ = context;
  count_ = count;
  grain_ = grain;
  next_.store(0, std::memory_order_relaxed);
  pending_.store(static_cast<uint32_t>(workers_.size()), std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  TakeRanges(0);
  for (uint32_t left; (left = pending_.load(std::memory_order_acquire)) != 0;) WaitWhile(pending_, left, spin_);
}

// The caller runs where the system puts it; the workers make way.
void ThreadPool::PlaceWorkers() {
  const int cpu = cpus_.empty() ? caller_cpu_ : sched_getcpu();
  if (cpu == caller_cpu_) return;
  caller_cpu_ = cpu;
  const std::vector<std::vector<int>> hands = DealCpus(cpus_, cpu, size() - 1);
  for (size_t i = 0; i < hands.size(); ++i) RunOn(workers_[i], hands[i]);
}

void ThreadPool::TakeRanges(int thread) {
  const int64_t parts = kPartsPerThread * size();
  for (int64_t begin = next_.load(std::memory_order_relaxed); begin < count_;) {
    const int64_t grains = std::max<int64_t>(1, (count_ - begin) / grain_ / parts);
    const int64_t end = std::min(count_, begin + grains * grain_);
    if (!next_.compare_exchange_weak(begin, end, std::memory_order_relaxed)) continue;
    fn_(context_, begin, end, thread);
    begin = next_.load(std::memory_order_relaxed);
  }
}

void ThreadPool::WorkerLoop(int thread) {
  uint32_t seen = 0;
  while (true) {
    WaitWhile(generation_, seen, spin_);
    ++seen;
    if (stop_.load(std::memory_order_relaxed)) return;
    TakeRanges(thread);
    if (pending_.fetch_sub(1, std::memory_order_acq_rel) == 1) pending_.notify_one();
  }
}

}  // namespace hearth
