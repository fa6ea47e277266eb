// Measures how fast memory can be read, the bound of decoding: every thread reads its share of a buffer far larger than
// the caches, front to back, over and over.
//
//   read_bandwidth [--threads N] [--mib SIZE] [--seconds S]
//
// Prints one JSON object: bytes a second over all passes within the time, on pages of the usual size and on huge ones
// (where the kernel grants them).
#include <sys/mman.h>

#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Four chains of additions hide their latency; the compiler makes vectors of each.
uint64_t Sum(const uint64_t* words, size_t count) {
  uint64_t a = 0, b = 0, c = 0, d = 0;
  for (size_t i = 0; i + 32 <= count; i += 32) {
    for (size_t j = 0; j < 8; ++j) {
      a += words[i + j];
      b += words[i + 8 + j];
      c += words[i + 16 + j];
      d += words[i + 24 + j];
    }
  }
  return a + b + c + d;
}

// Bytes a second of all threads together, or 0 when there is no memory.
double Measure(size_t bytes, int threads, double seconds, int advice) {
  void* map = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED) return 0;
  madvise(map, bytes, advice);
  const uint64_t* words = static_cast<const uint64_t*>(map);
  const size_t share = bytes / sizeof(uint64_t) / static_cast<size_t>(threads) / 32 * 32;

  std::atomic<uint64_t> sum = 0;  // keeps the reads from being thrown away
  std::atomic<bool> stop = false;
  int64_t passes = -1;  // the first of them fills the buffer
  double elapsed = 0;
  Clock::time_point begin;
  // Runs on one thread when all have arrived, before any goes on.
  std::barrier together(threads, [&]() noexcept {
    if (++passes == 0) begin = Clock::now();
    elapsed = SecondsSince(begin);
    stop = passes > 0 && elapsed >= seconds;
  });
  std::vector<std::thread> readers;
  for (int t = 0; t < threads; ++t) {
    readers.emplace_back([&, t] {
      std::memset(static_cast<uint64_t*>(map) + share * static_cast<size_t>(t), t + 1, share * sizeof(uint64_t));
      together.arrive_and_wait();
      while (!stop) {
        sum += Sum(words + share * static_cast<size_t>(t), share);
        together.arrive_and_wait();
      }
    });
  }
  for (std::thread& reader : readers) reader.join();
  munmap(map, bytes);
  return static_cast<double>(share * sizeof(uint64_t)) * threads * static_cast<double>(passes) / elapsed;
}

}  // namespace

int main(int argc, char** argv) {
  int threads = static_cast<int>(std::thread::hardware_concurrency());
  int64_t mib = 1024;
  double seconds = 0.5;
  bool understood = argc % 2 == 1;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--threads") == 0) {
      threads = std::atoi(argv[i + 1]);
    } else if (std::strcmp(argv[i], "--mib") == 0) {
      mib = std::atoll(argv[i + 1]);
    } else if (std::strcmp(argv[i], "--seconds") == 0) {
      seconds = std::atof(argv[i + 1]);
    } else {
      understood = false;
    }
  }
  if (!understood || threads < 1 || threads > 256 || mib < 1 || mib > (1 << 20) || !(seconds > 0 && seconds <= 3600)) {
    std::fprintf(stderr, "usage: %s [--threads 1..256] [--mib SIZE] [--seconds S]\n", argv[0]);
    return EXIT_FAILURE;
  }
  const size_t bytes = static_cast<size_t>(mib) << 20;
  const double pages = Measure(bytes, threads, seconds, MADV_NOHUGEPAGE);
  const double huge = Measure(bytes, threads, seconds, MADV_HUGEPAGE);
  if (pages == 0 || huge == 0) {
    std::fprintf(stderr, "no memory for a buffer of %lld MiB\n", static_cast<long long>(mib));
    return EXIT_FAILURE;
  }
  std::printf("{\"threads\": %d, \"bytesPerSecond\": %.0f, \"bytesPerSecondHugePages\": %.0f}\n", threads, pages, huge);
  return EXIT_SUCCESS;
}
