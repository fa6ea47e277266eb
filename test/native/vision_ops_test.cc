// The vision encoder's operations against plain loops in double precision, over shapes that catch off-by-one padding.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <tuple>
#include <vector>

#include "addon/kernels/dispatch.h"
#include "addon/ops/activation.h"
#include "addon/ops/conv.h"
#include "addon/ops/multi_query_attention.h"
#include "addon/ops/panel_attention.h"
#include "addon/ops/pixel_tiles.h"
#include "addon/ops/resample2d.h"
#include "addon/ops/vector_math.h"

namespace hearth {
namespace {

std::vector<float> Random(int64_t n, uint32_t seed = 1) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(n));
  for (float& v : values) v = normal(engine);
  return values;
}

AlignedBuffer<float> Buffer(const std::vector<float>& values) {
  AlignedBuffer<float> buffer;
  REQUIRE(buffer.Reset(values.size()).ok());
  std::copy(values.begin(), values.end(), buffer.data());
  return buffer;
}

// One output value of a convolution with TensorFlow's padding; `weight(ky, kx, i)`.
template <typename Weight>
double ConvolveAt(FeatureMap in, int64_t kernel, int64_t stride, int64_t y, int64_t x, int64_t first, int64_t last,
                  Weight weight) {
  const auto before = [&](int64_t side) {
    const int64_t outputs = (side + stride - 1) / stride;
    return std::max<int64_t>(0, (outputs - 1) * stride + kernel - side) / 2;
  };
  double sum = 0;
  for (int64_t ky = 0; ky < kernel; ++ky) {
    for (int64_t kx = 0; kx < kernel; ++kx) {
      const int64_t iy = y * stride + ky - before(in.height), ix = x * stride + kx - before(in.width);
      if (iy < 0 || iy >= in.height || ix < 0 || ix >= in.width) continue;
      for (int64_t i = first; i < last; ++i) sum += static_cast<double>(in.pixel(iy, ix)[i]) * weight(ky, kx, i);
    }
  }
  return sum;
}

struct Shape {
  int64_t height, width, in, out, kernel, stride;
};
const Shape kShapes[] = {{8, 8, 3, 5, 3, 2},  {7, 9, 4, 16, 3, 2},  {1, 1, 7, 2, 5, 1},
                         {2, 1, 21, 3, 7, 2}, {6, 5, 16, 33, 5, 2}, {9, 4, 1, 1, 3, 1},
                         {5, 5, 19, 4, 1, 2}, {40, 3, 36, 8, 5, 1}, {3, 3, 4, 4, 7, 1}};

}  // namespace

TEST_CASE("same padding puts the odd pixel at the end") {
  CHECK(SamePaddingBefore(8, 3, 2) == 0);  // 1 in all
  CHECK(SamePaddingBefore(7, 3, 2) == 1);  // 2 in all
  CHECK(SamePaddingBefore(8, 5, 2) == 1);  // 3 in all
  CHECK(SamePaddingBefore(8, 3, 1) == 1);
  CHECK(SamePaddingBefore(8, 1, 2) == 0);
  CHECK(SameOutputSize(7, 2) == 4);
}

TEST_CASE("convolutions compute what their definition says, on every ISA") {
  for (const hearth_kernels* const* kernels = AvailableKernels(); *kernels != nullptr; ++kernels) {
    CAPTURE((*kernels)->isa);
    ThreadPool pool(3);
    Exec exec(**kernels, pool);
    for (const Shape& s : kShapes) {
      CAPTURE(s.height);
      CAPTURE(s.kernel);
      std::vector<float> pixels = Random(s.height * s.width * s.in);
      const FeatureMap in{pixels.data(), s.height, s.width, s.in};
      const int64_t height = SameOutputSize(s.height, s.stride), width = SameOutputSize(s.width, s.stride);

      const ConvWeight full{Buffer(Random(s.out * s.kernel * s.kernel * s.in, 2)), s.out, s.in, s.kernel};
      std::vector<float> result(static_cast<size_t>(height * width * s.out), NAN);
      const FeatureMap out{result.data(), height, width, s.out};
      AlignedBuffer<float> patches;
      REQUIRE(Conv2d(exec, full, s.stride, in, PixelOps{}, patches, out).ok());
      for (int64_t p = 0; p < height * width; ++p) {
        for (int64_t o = 0; o < s.out; ++o) {
          const double expected =
              ConvolveAt(in, s.kernel, s.stride, p / width, p % width, 0, s.in, [&](int64_t ky, int64_t kx, int64_t i) {
                return full.values[static_cast<size_t>(((o * s.kernel + ky) * s.kernel + kx) * s.in + i)];
              });
          REQUIRE(out.pixels().row(p)[o] == doctest::Approx(expected).epsilon(1e-4));
        }
      }

      const DepthwiseWeight depthwise{Buffer(Random(s.kernel * s.kernel * s.in, 3)), s.in, s.kernel};
      std::vector<float> result_depthwise(static_cast<size_t>(height * width * s.in), NAN);
      const FeatureMap out_depthwise{result_depthwise.data(), height, width, s.in};
      DepthwiseConv(exec, depthwise, s.stride, in, PixelOps{}, out_depthwise);
      for (int64_t p = 0; p < height * width; ++p) {
        for (int64_t c = 0; c < s.in; ++c) {
          const double expected = ConvolveAt(
              in, s.kernel, s.stride, p / width, p % width, c, c + 1, [&](int64_t ky, int64_t kx, int64_t i) {
                return depthwise.values[static_cast<size_t>((ky * s.kernel + kx) * s.in + i)];
              });
          REQUIRE(out_depthwise.pixels().row(p)[c] == doctest::Approx(expected).epsilon(1e-4));
        }
      }
    }
  }
}

TEST_CASE("what follows a convolution runs in its order, over more pixels than one block") {
  constexpr int64_t kPixels = 9000, kIn = 32, kOut = 7;
  ThreadPool pool(2);
  Exec exec(hearth_kernels_scalar, pool);
  std::vector<float> x = Random(kPixels * kIn), w = Random(kOut * kIn, 2), skip = Random(kPixels * kOut, 3);
  const std::vector<float> bias = Random(kOut, 4), norm = Random(kOut, 5), scale = Random(kOut, 6);
  std::vector<float> y(static_cast<size_t>(kPixels * kOut));
  const Weight weight{reinterpret_cast<const uint8_t*>(w.data()), HEARTH_F32, kOut, kIn, kIn * 4};
  REQUIRE(PointwiseConv(exec, weight, MatF(x.data(), kPixels, kIn),
                        PixelOps{bias.data(), norm.data(), true, scale.data(), skip.data()},
                        MatF(y.data(), kPixels, kOut))
              .ok());
  for (int64_t p = 0; p < kPixels; ++p) {
    double values[kOut], squares = 0;
    for (int64_t o = 0; o < kOut; ++o) {
      values[o] = bias[static_cast<size_t>(o)];
      for (int64_t i = 0; i < kIn; ++i)
        values[o] += static_cast<double>(w[static_cast<size_t>(o * kIn + i)]) * x[static_cast<size_t>(p * kIn + i)];
      squares += values[o] * values[o];
    }
    for (int64_t o = 0; o < kOut; ++o) {
      const size_t c = static_cast<size_t>(o);
      const double normed = values[o] / std::sqrt(squares / kOut + 1e-6) * norm[c];
      const double gelu =
          0.5 * normed * (1 + std::tanh(std::sqrt(2 / M_PI) * (normed + 0.044715 * normed * normed * normed)));
      REQUIRE(std::fabs(y[static_cast<size_t>(p * kOut + o)] -
                        (gelu * scale[c] + skip[static_cast<size_t>(p * kOut + o)])) < 2e-5);
    }
  }
}

TEST_CASE("attention weighs the values by the softmax of the scores") {
  for (const hearth_kernels* const* kernels = AvailableKernels(); *kernels != nullptr; ++kernels) {
    CAPTURE((*kernels)->isa);
    ThreadPool pool(2);
    Exec exec(**kernels, pool);
    for (const auto& [queries, positions, key_dim, value_dim] :
         {std::tuple<int64_t, int64_t, int64_t, int64_t>{1, 1, 8, 4}, {70, 9, 16, 16}, {33, 64, 24, 5}}) {
      std::vector<float> q = Random(queries * key_dim), k = Random(positions * key_dim, 2),
                         v = Random(positions * value_dim, 3);
      for (float& x : q) x *= 4;  // a sharp softmax
      std::vector<float> out(static_cast<size_t>(queries * value_dim), NAN);
      REQUIRE(MultiQueryAttention(exec, MatF(q.data(), queries, key_dim), MatF(k.data(), positions, key_dim),
                                  MatF(v.data(), positions, value_dim), MatF(out.data(), queries, value_dim))
                  .ok());
      for (int64_t i = 0; i < queries; ++i) {
        std::vector<double> weights(static_cast<size_t>(positions)), sums(static_cast<size_t>(value_dim));
        double total = 0;
        for (int64_t p = 0; p < positions; ++p) {
          double score = 0;
          for (int64_t d = 0; d < key_dim; ++d)
            score +=
                static_cast<double>(q[static_cast<size_t>(i * key_dim + d)]) * k[static_cast<size_t>(p * key_dim + d)];
          total += weights[static_cast<size_t>(p)] = std::exp(score / std::sqrt(static_cast<double>(key_dim)));
        }
        for (int64_t p = 0; p < positions; ++p) {
          for (int64_t d = 0; d < value_dim; ++d)
            sums[static_cast<size_t>(d)] +=
                weights[static_cast<size_t>(p)] / total * v[static_cast<size_t>(p * value_dim + d)];
        }
        for (int64_t d = 0; d < value_dim; ++d)
          REQUIRE(std::fabs(out[static_cast<size_t>(i * value_dim + d)] - sums[static_cast<size_t>(d)]) < 1e-5);
      }
    }
  }
}

TEST_CASE("attention in panels is attention, within the steps of 8 bits") {
  for (const hearth_kernels* const* kernels = AvailableKernels(); *kernels != nullptr; ++kernels) {
    CAPTURE((*kernels)->isa);
    ThreadPool pool(2);
    Exec exec(**kernels, pool);
    for (const auto& [queries, positions, key_dim, value_dim] :
         {std::tuple<int64_t, int64_t, int64_t, int64_t>{1, 1, 32, 32}, {70, 9, 64, 32}, {33, 100, 96, 64}}) {
      CAPTURE(positions);
      std::vector<float> q = Random(queries * key_dim), k = Random(positions * key_dim, 2),
                         v = Random(positions * value_dim, 3);
      const MatF rows(q.data(), queries, key_dim), keys(k.data(), positions, key_dim),
          values(v.data(), positions, value_dim);
      std::vector<float> expected(static_cast<size_t>(queries * value_dim)), out(expected.size(), NAN);
      REQUIRE(MultiQueryAttention(exec, rows, keys, values, MatF(expected.data(), queries, value_dim)).ok());
      PixelTiles tiles;
      PanelAttention attention;
      REQUIRE(tiles.Reserve(exec, {}, 1, 1, 0).ok());
      REQUIRE(attention.Prepare(exec, keys, values).ok());
      REQUIRE(attention.Reserve(exec, tiles).ok());
      attention.Run(**kernels, tiles.thread(0), rows, MatF(out.data(), queries, value_dim));
      for (size_t i = 0; i < out.size(); ++i) REQUIRE(std::fabs(out[i] - expected[i]) < 0.04f);
      double squares = 0;
      for (size_t i = 0; i < out.size(); ++i) squares += (out[i] - expected[i]) * (out[i] - expected[i]);
      CHECK(std::sqrt(squares / static_cast<double>(out.size())) < 0.01);
    }
  }
}

TEST_CASE("a patch in 8 bits is the window's pixels, zeros outside the picture") {
  ThreadPool pool(1);
  for (const Shape& s : kShapes) {
    CAPTURE(s.height);
    CAPTURE(s.kernel);
    constexpr int64_t kChannels = 64;
    const std::vector<float> pixels = Random(s.height * s.width * kChannels);
    Activations map, patches;
    REQUIRE(map.Reserve(s.height * s.width, kChannels, false).ok());
    for (int64_t p = 0; p < s.height * s.width; ++p)
      map.Quantise(hearth_kernels_scalar, p, 0, kChannels, pixels.data() + p * kChannels);
    REQUIRE(patches.Reserve(2, s.kernel * s.kernel * kChannels, false).ok());
    const int64_t height = SameOutputSize(s.height, s.stride), width = SameOutputSize(s.width, s.stride);
    for (int64_t p = 0; p < height * width; ++p) {
      std::vector<float> before(static_cast<size_t>(patches.cols()), 3.0f);  // what was there is gone
      patches.Quantise(hearth_kernels_scalar, 1, 0, patches.cols(), before.data());
      GatherPatch(map, s.height, s.width, s.kernel, s.stride, p / width, p % width, 1, &patches);
      const hearth_q8_rows rows = patches.q8(), from = map.q8();
      for (int64_t tap = 0; tap < s.kernel * s.kernel; ++tap) {
        const int64_t y = p / width * s.stride + tap / s.kernel - SamePaddingBefore(s.height, s.kernel, s.stride);
        const int64_t x = p % width * s.stride + tap % s.kernel - SamePaddingBefore(s.width, s.kernel, s.stride);
        const bool inside = y >= 0 && y < s.height && x >= 0 && x < s.width;
        for (int64_t c = 0; c < kChannels; ++c) {
          const int64_t at = rows.ldq + tap * kChannels + c, block = rows.ldd + (tap * kChannels + c) / 32;
          const int64_t source = (y * s.width + x) * kChannels + c;
          REQUIRE(rows.q[at] == (inside ? from.q[source] : 0));
          REQUIRE(rows.d[block] == (inside ? from.d[source / 32] : 0.0f));
          REQUIRE(rows.offset[block] == (inside ? from.offset[source / 32] : 0));
        }
      }
    }
  }
}

TEST_CASE("maps are pooled where the sizes divide, else interpolated") {
  ThreadPool pool(2);
  Exec exec(hearth_kernels_scalar, pool);
  // One channel, value = 10 y + x: both ways are exact on a plane, away from the border.
  const auto plane = [](int64_t side) {
    std::vector<float> values;
    for (int64_t i = 0; i < side * side; ++i) values.push_back(static_cast<float>(10 * (i / side) + i % side));
    return values;
  };
  std::vector<float> six = plane(6), three(9), four(16), twelve(144);
  PoolOrInterpolate(exec, FeatureMap{six.data(), 6, 6, 1}, FeatureMap{three.data(), 3, 3, 1});
  for (int64_t i = 0; i < 9; ++i)
    CHECK(three[static_cast<size_t>(i)] == doctest::Approx(10 * (2 * (i / 3) + 0.5) + 2 * (i % 3) + 0.5));
  PoolOrInterpolate(exec, FeatureMap{six.data(), 6, 6, 1}, FeatureMap{four.data(), 4, 4, 1});
  for (int64_t i = 0; i < 16; ++i) {
    CHECK(four[static_cast<size_t>(i)] ==
          doctest::Approx(10 * (1.5 * static_cast<double>(i / 4) + 0.25) + 1.5 * static_cast<double>(i % 4) + 0.25));
  }
  PoolOrInterpolate(exec, FeatureMap{six.data(), 6, 6, 1}, FeatureMap{twelve.data(), 12, 12, 1});
  CHECK(twelve[0] == 0.0f);  // held at the border
  CHECK(twelve[13] == doctest::Approx(10 * 0.25 + 0.25));
  CHECK(twelve[143] == 55.0f);

  std::vector<float> two = {1, 2, 3, 4}, wide(16 * 2, -1.0f);
  UpsampleNearestInto(exec, FeatureMap{two.data(), 2, 2, 1}, 1, FeatureMap{wide.data(), 4, 4, 2});
  for (int64_t i = 0; i < 16; ++i) {
    CHECK(wide[static_cast<size_t>(2 * i)] == -1.0f);
    CHECK(wide[static_cast<size_t>(2 * i + 1)] == two[static_cast<size_t>(i / 8 * 2 + i % 4 / 2)]);
  }
}

TEST_CASE("the fast GELU and exponential are those of the specification") {
  std::vector<float> x;
  for (float v = -30; v <= 30; v += 0.0137f) x.push_back(v);
  x.insert(x.end(), {0.0f, -0.0f, 1e-30f, -1e-30f, 1e10f, -1e10f, 87.9f, -100.0f});
  for (int64_t n = 1; n <= 9; ++n) {  // every tail length
    std::vector<float> y(x.begin(), x.begin() + n);
    y.push_back(123);
    GeluTanhRow(y.data(), n);
    for (int64_t i = 0; i < n; ++i)
      CHECK(std::fabs(y[static_cast<size_t>(i)] - GeluTanh(x[static_cast<size_t>(i)])) < 1e-6f);
    CHECK(y.back() == 123);
  }
  std::vector<float> y = x;
  GeluTanhRow(y.data(), static_cast<int64_t>(y.size()));
  for (size_t i = 0; i < x.size(); ++i) {
    CAPTURE(x[i]);
    REQUIRE(std::fabs(y[i] - GeluTanh(x[i])) <= 1e-6f * std::max(1.0f, std::fabs(x[i])));
  }

  for (int64_t n : {1, 3, 4, 7, 64, 577}) {
    const std::vector<float> scores = Random(n, static_cast<uint32_t>(n));
    std::vector<float> weights = scores;
    const float sum = ExpRow(weights.data(), n, 2.5f);
    const float max = *std::max_element(scores.begin(), scores.end());
    double expected_sum = 0;
    for (int64_t i = 0; i < n; ++i) {
      const double expected = std::exp(2.5 * (static_cast<double>(scores[static_cast<size_t>(i)]) - max));
      REQUIRE(weights[static_cast<size_t>(i)] == doctest::Approx(expected).epsilon(1e-6));
      expected_sum += expected;
    }
    CHECK(sum == doctest::Approx(expected_sum).epsilon(1e-6));
  }
}

}  // namespace hearth
