// Runs the encoders without Node, for profilers and debuggers:
//
//   encode MODEL.gguf MMPROJ.gguf [--image SIDE] [--audio SECONDS] [--isa NAME] [--threads N] [--runs N]
//          [--compare yes]
//
// A picture or a sound of noise; --image 768 when neither is asked for. Prints the time of each run, also as the sum
// over its threads, the peak of the resident memory above what it was when the model was loaded, and with --compare how
// close the soft tokens are to those in float32.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "addon/runtime.h"

namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

int Fail(const hearth::Status& status) {
  std::fprintf(stderr, "%s: %s\n", hearth::CodeName(status.code()), status.message().c_str());
  return EXIT_FAILURE;
}

// Of all threads.
double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double PeakMegabytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

// What the encoders are given: smooth shapes under noise, as pictures and sounds have.
std::vector<uint8_t> Picture(int64_t side) {
  std::mt19937 random(1);
  std::vector<uint8_t> rgb(static_cast<size_t>(side * side * 3));
  for (size_t i = 0; i < rgb.size(); ++i) {
    const double x = static_cast<double>(i / 3 % side), y = static_cast<double>(i / 3 / side);
    rgb[i] = static_cast<uint8_t>(128 + 80 * std::sin(x / (17.0 + i % 3)) * std::cos(y / 29) +
                                  static_cast<double>(random() % 47) - 23);
  }
  return rgb;
}

std::vector<float> Sound(int64_t samples) {
  std::mt19937 random(1);
  std::vector<float> values(static_cast<size_t>(samples));
  for (size_t i = 0; i < values.size(); ++i) {
    const double t = static_cast<double>(i) / 16000;
    values[i] = static_cast<float>(0.3 * std::sin(2 * M_PI * (200 + 90 * std::sin(3 * t)) * t) +
                                   0.02 * (static_cast<double>(random() % 2001) / 1000 - 1));
  }
  return values;
}

struct Task {
  int64_t side = 0;
  double seconds = 0;
};

hearth::StatusOr<hearth::SoftTokens> Encode(const hearth::Engine& engine, const Task& task) {
  if (task.side > 0) {
    static const std::vector<uint8_t> rgb = Picture(1024);
    return engine.EncodeImage(rgb.data(), 1024, 1024, task.side);
  }
  static const std::vector<float> samples = Sound(static_cast<int64_t>(task.seconds * 16000));
  return engine.EncodeAudio(samples);
}

// Least and mean cosine of the rows.
void PrintCosine(const hearth::SoftTokens& a, const hearth::SoftTokens& b) {
  const size_t width = a.rows.size() / static_cast<size_t>(a.count);
  double least = 1, sum = 0;
  for (int64_t t = 0; t < a.count; ++t) {
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = static_cast<size_t>(t) * width; i < (static_cast<size_t>(t) + 1) * width; ++i) {
      ab += static_cast<double>(a.rows[i]) * b.rows[i];
      aa += static_cast<double>(a.rows[i]) * a.rows[i];
      bb += static_cast<double>(b.rows[i]) * b.rows[i];
    }
    const double cosine = ab / std::sqrt(aa * bb);
    least = std::min(least, cosine);
    sum += cosine;
  }
  std::printf("cosine with float32: least %.5f, mean %.5f\n", least, sum / static_cast<double>(a.count));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || argc % 2 == 0) {
    std::fprintf(stderr,
                 "usage: %s MODEL.gguf MMPROJ.gguf [--image SIDE] [--audio SECONDS] [--isa NAME] [--threads N]"
                 " [--runs N] [--compare yes]\n",
                 argv[0]);
    return EXIT_FAILURE;
  }
  hearth::EngineOptions options;
  options.model_path = argv[1];
  options.multimodal_path = argv[2];
  Task task;
  int runs = 5;
  bool compare = false;
  for (int i = 3; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    const char* value = argv[i + 1];
    if (flag == "--image") {
      task.side = std::atoll(value);
    } else if (flag == "--audio") {
      task.seconds = std::atof(value);
    } else if (flag == "--isa") {
      options.isa = value;
    } else if (flag == "--threads") {
      options.threads = std::atoi(value);
    } else if (flag == "--runs") {
      runs = std::atoi(value);
    } else if (flag == "--compare") {
      compare = std::strcmp(value, "yes") == 0;
    } else {
      std::fprintf(stderr, "no such option: %s\n", argv[i]);
      return EXIT_FAILURE;
    }
  }
  if (task.side == 0 && task.seconds == 0) task.side = 768;

  hearth::SoftTokens tokens;
  {
    options.prefix_cache_bytes = 0;  // what was encoded before is encoded again
    const Clock::time_point loading = Clock::now();
    hearth::StatusOr<std::shared_ptr<hearth::Engine>> engine = hearth::Engine::Open(options);
    if (!engine.ok()) return Fail(engine.status());
    std::printf("loaded in %.2f s, %s\n", SecondsSince(loading), (*engine)->info().isa.c_str());
    const double before = PeakMegabytes();
    for (int run = 0; run < runs; ++run) {
      const Clock::time_point start = Clock::now();
      const double cpu = CpuSeconds();
      hearth::StatusOr<hearth::SoftTokens> soft = Encode(**engine, task);
      if (!soft.ok()) return Fail(soft.status());
      std::printf("%.3f s, %.3f s of processors\n", SecondsSince(start), CpuSeconds() - cpu);
      tokens = std::move(*soft);
    }
    std::printf("peak %.0f MB above what loading took\n", PeakMegabytes() - before);
  }
  if (!compare) return EXIT_SUCCESS;
  options.exact = true;
  hearth::StatusOr<std::shared_ptr<hearth::Engine>> exact = hearth::Engine::Open(options);
  if (!exact.ok()) return Fail(exact.status());
  const Clock::time_point start = Clock::now();
  hearth::StatusOr<hearth::SoftTokens> reference = Encode(**exact, task);
  if (!reference.ok()) return Fail(reference.status());
  std::printf("%.3f s in float32\n", SecondsSince(start));
  PrintCosine(tokens, *reference);
  return EXIT_SUCCESS;
}
