#include "addon/base/thread_pool.h"

#include <doctest/doctest.h>
#include <sched.h>

#include <atomic>
#include <vector>

#include "addon/base/cpu_placement.h"

namespace hearth {
namespace {

void MoveTo(const std::vector<int>& cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : cpus) CPU_SET(cpu, &set);
  REQUIRE(sched_setaffinity(0, sizeof set, &set) == 0);
}

// Where the second thread of `pool` may run.
std::vector<int> CpusOfWorker(ThreadPool& pool) {
  std::vector<int> cpus;
  for (int i = 0; i < 100'000 && cpus.empty(); ++i) {
    pool.For(64, 1, [&](int64_t, int64_t, int thread) {
      if (thread == 1) cpus = AllowedCpus();
    });
  }
  return cpus;
}

}  // namespace

TEST_CASE("every index is visited once, ranges begin at multiples of the grain") {
  for (const int threads : {1, 2, 3, 7}) {
    ThreadPool pool(threads);
    CHECK(pool.size() == threads);
    for (const int64_t count : {0, 1, 2, 15, 16, 17, 1000}) {
      for (const int64_t grain : {1, 4, 16}) {
        std::vector<std::atomic<int>> visits(static_cast<size_t>(count));
        std::atomic<bool> aligned{true};
        pool.For(count, grain, [&](int64_t begin, int64_t end, int thread) {
          if (begin % grain != 0 || thread < 0 || thread >= threads || begin >= end) aligned = false;
          for (int64_t i = begin; i < end; ++i) ++visits[static_cast<size_t>(i)];
        });
        CHECK(aligned);
        for (const std::atomic<int>& n : visits) CHECK(n == 1);
      }
    }
  }
}

TEST_CASE("ten thousand short loops: no lost wake-up, no lost work") {
  ThreadPool pool(4);
  std::atomic<int64_t> sum{0};
  for (int i = 0; i < 10'000; ++i) {
    pool.For(8, 1, [&](int64_t begin, int64_t end, int) { sum += end - begin; });
  }
  CHECK(sum == 80'000);
}

TEST_CASE("workers are dealt the CPUs that the caller is not on, while there is one for each") {
  using Hands = std::vector<std::vector<int>>;
  CHECK(DealCpus({0, 1}, 0, 1) == Hands{{1}});
  CHECK(DealCpus({0, 1}, 1, 1) == Hands{{0}});
  CHECK(DealCpus({0, 1, 2, 3}, 2, 3) == Hands{{0}, {1}, {3}});
  CHECK(DealCpus({4, 5, 6, 7}, 4, 2) == Hands{{5, 7}, {6}});
  CHECK(DealCpus({0, 1}, 0, 2).empty());  // more threads than CPUs
  CHECK(DealCpus({0, 1}, 2, 1).empty());  // the caller was moved to where it may not stay
  CHECK(DealCpus({0}, 0, 0).empty());
}

TEST_CASE("a worker makes way for its caller wherever that goes, and keeps to what the process may use") {
  const std::vector<int> allowed = AllowedCpus();
  if (allowed.size() < 2) {
    MESSAGE("one CPU: there is nowhere to make way to");
    return;
  }
  ThreadPool pool(2);
  for (const int cpu : {allowed[0], allowed[1], allowed[0]}) {
    MoveTo({cpu});
    const std::vector<int> worker = CpusOfWorker(pool);
    std::vector<int> others = allowed;
    std::erase(others, cpu);
    CHECK(worker == others);
  }
  MoveTo(allowed);
  ThreadPool crowded(static_cast<int>(allowed.size()) + 1);
  CHECK(CpusOfWorker(crowded) == allowed);
}

}  // namespace hearth
