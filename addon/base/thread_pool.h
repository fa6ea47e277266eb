// A fixed set of workers for data-parallel loops. The caller's thread takes part, so a pool of one has no workers.
// Work is split into contiguous ranges, ever smaller ones, which threads take as they get to them: one that the system
// has put aside holds nobody up for longer than its range. Each output element is computed by one thread in one order,
// so results do not depend on the number of threads, nor on who took what.
#ifndef HEARTH_BASE_THREAD_POOL_H_
#define HEARTH_BASE_THREAD_POOL_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

namespace hearth {

class ThreadPool {
 public:
  // `threads` >= 1 counts the caller's own.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(begin, end, thread) on ranges that cover [0, count), `thread` in [0, size()). Range borders are
  // multiples of `grain` (but for the last); with less than two grains of work it runs on the caller alone.
  // Not reentrant, and for one caller at a time.
  template <typename Body>
  void For(int64_t count, int64_t grain, Body&& body) {
    using Fn = std::remove_reference_t<Body>;
    Dispatch(
        count, grain,
        [](void* context, int64_t begin, int64_t end, int thread) { (*static_cast<Fn*>(context))(begin, end, thread); },
        const_cast<void*>(static_cast<const void*>(std::addressof(body))));
  }

 private:
  using RangeFn = void (*)(void* context, int64_t begin, int64_t end, int thread);

  void Dispatch(int64_t count, int64_t grain, RangeFn fn, void* context);
  void PlaceWorkers();
  void TakeRanges(int thread);
  void WorkerLoop(int thread);

  std::chrono::microseconds spin_;  // how long a thread waits before it sleeps
  std::vector<std::thread> workers_;
  std::vector<int> cpus_;  // that the workers may be dealt; empty when there are more threads than CPUs
  int caller_cpu_ = -1;    // what they were dealt for
  // The loop in hand; written by the caller before `generation_` moves on.
  RangeFn fn_ = nullptr;
  void* context_ = nullptr;
  int64_t count_ = 0;
  int64_t grain_ = 1;
  alignas(64) std::atomic<int64_t> next_{0};  // where the next range begins
  alignas(64) std::atomic<uint32_t> generation_{0};
  alignas(64) std::atomic<uint32_t> pending_{0};
  std::atomic<bool> stop_{false};
};

}  // namespace hearth

#endif  // HEARTH_BASE_THREAD_POOL_H_
