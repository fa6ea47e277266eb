#include "addon/base/thread_pool.h"

#include <doctest/doctest.h>

#include <atomic>
#include <vector>

namespace hearth {

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

}  // namespace hearth
