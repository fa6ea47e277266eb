// What the encoders do to rows between their matrix products: the scalar kernels against plain arithmetic, every other
// table against both.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "addon/kernels/dispatch.h"
#include "test/native/random_blocks.h"

namespace hearth {
namespace {

using test::Random;

double Gelu(double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }

}  // namespace

TEST_CASE("GELU of scaled values, at every length and alignment") {
  Random random;
  for (const hearth_kernels* const* table = AvailableKernels(); *table != nullptr; ++table) {
    CAPTURE((*table)->isa);
    for (int64_t n = 0; n <= 70; ++n) {
      for (const int64_t shift : {0, 1}) {
        const std::vector<float> x = random.Floats(n + 1), weight = random.Floats(n + 1);
        for (const bool weighted : {false, true}) {
          std::vector<float> y(static_cast<size_t>(n + 2), 7);
          (*table)->gelu_f32(x.data() + shift, 3.0f, weighted ? weight.data() + shift : nullptr, y.data() + shift,
                             n - shift < 0 ? 0 : n - shift);
          for (int64_t i = shift; i < n; ++i) {
            const size_t at = static_cast<size_t>(i);
            const double value = 3.0 * x[at] * (weighted ? weight[at] : 1.0f);
            REQUIRE(std::fabs(y[at] - Gelu(value)) <= 1e-6 * std::max(1.0, std::fabs(value)));
          }
          CHECK(y[static_cast<size_t>(std::max(n, shift))] == 7.0f);
        }
      }
    }
    std::vector<float> edges = {0.0f, -0.0f, 1e-30f, -1e-30f, 1e10f, -1e10f, 30.0f, -30.0f};
    (*table)->gelu_f32(edges.data(), 1, nullptr, edges.data(), 8);  // in place
    CHECK(edges[4] == 1e10f);
    CHECK(edges[6] == doctest::Approx(30));
    for (const size_t zero : {0, 1, 2, 3, 5, 7}) CHECK(std::fabs(edges[zero]) < 1e-20f);
  }
}

TEST_CASE("gated values, at every length and alignment, and a row gated by itself") {
  Random random;
  const auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
  for (const hearth_kernels* const* table = AvailableKernels(); *table != nullptr; ++table) {
    CAPTURE((*table)->isa);
    for (int64_t n = 0; n <= 70; ++n) {
      const std::vector<float> x = random.Floats(n + 1), gate = random.Floats(n + 1);
      std::vector<float> y(static_cast<size_t>(n + 2), 7), own = x;
      (*table)->glu_f32(x.data() + 1, gate.data() + 1, y.data() + 1, n);
      (*table)->glu_f32(own.data() + 1, own.data() + 1, own.data() + 1, n);
      for (size_t i = 1; i <= static_cast<size_t>(n); ++i) {
        REQUIRE(std::fabs(y[i] - x[i] * sigmoid(gate[i])) <= 1e-6 * std::fabs(x[i]));
        REQUIRE(std::fabs(own[i] - x[i] * sigmoid(x[i])) <= 1e-6 * std::fabs(x[i]));
      }
      CHECK(y[static_cast<size_t>(n + 1)] == 7.0f);
    }
    std::vector<float> edges = {1e10f, -1e10f, 0.0f, 100.0f};
    (*table)->glu_f32(edges.data(), edges.data(), edges.data(), 4);
    CHECK(edges[0] == 1e10f);
    CHECK(edges[3] == doctest::Approx(100));
    for (const size_t zero : {1, 2}) CHECK(std::fabs(edges[zero]) < 1e-20f);
  }
}

TEST_CASE("a pixel of a depthwise convolution, at every number of channels") {
  Random random;
  for (const hearth_kernels* const* table = AvailableKernels(); *table != nullptr; ++table) {
    CAPTURE((*table)->isa);
    for (const int64_t n : {1, 3, 4, 8, 15, 16, 17, 32, 63, 64, 65, 100, 200}) {
      for (const int64_t rows : {0, 1, 3}) {
        for (const int64_t columns : {1, 2, 5}) {
          const int64_t x_row = 7 * n, w_row = 5 * n;
          const std::vector<float> x = random.Floats(3 * x_row), w = random.Floats(3 * w_row);
          std::vector<float> y(static_cast<size_t>(n + 1), 7);
          (*table)->depthwise_f32(x.data(), x_row, w.data(), w_row, rows, columns, n, y.data());
          for (int64_t c = 0; c < n; ++c) {
            double sum = 0;
            for (int64_t r = 0; r < rows; ++r) {
              for (int64_t k = 0; k < columns; ++k)
                sum += static_cast<double>(x[static_cast<size_t>(r * x_row + k * n + c)]) *
                       w[static_cast<size_t>(r * w_row + k * n + c)];
            }
            REQUIRE(std::fabs(y[static_cast<size_t>(c)] - sum) < 1e-5);
          }
          CHECK(y[static_cast<size_t>(n)] == 7.0f);
        }
      }
    }
  }
}

TEST_CASE("softmax in 8 bits: within half a step of the exponential, and what it returns is what it wrote") {
  Random random;
  for (const hearth_kernels* const* table = AvailableKernels(); *table != nullptr; ++table) {
    CAPTURE((*table)->isa);
    for (const int64_t n : {1, 2, 31, 32, 33, 64, 100, 256, 576, 600}) {
      for (const float spread : {0.0f, 1.0f, 30.0f}) {
        CAPTURE(n);
        CAPTURE(spread);
        std::vector<float> x = random.Floats(n);
        for (float& v : x) v = v * spread + 5.0f;
        const size_t blocks = static_cast<size_t>((n + 31) / 32);
        std::vector<int8_t> q(blocks * 32 + 1, 99);
        std::vector<float> d(blocks + 1, 99);
        std::vector<int32_t> offset(blocks + 1, 99);
        const float scale = 0.3f, max = *std::max_element(x.begin(), x.end());
        const float sum = (*table)->softmax_q8(x.data(), n, scale, q.data(), d.data(), offset.data());
        double written = 0;
        for (size_t b = 0; b < blocks; ++b) {
          int32_t codes = 0;
          for (size_t i = b * 32; i < b * 32 + 32; ++i) {
            codes += q[i];
            written += static_cast<double>(d[b]) * q[i];
            if (i >= static_cast<size_t>(n)) {
              REQUIRE(q[i] == 0);
            } else {
              REQUIRE(q[i] >= 0);
              const double exact = std::exp(static_cast<double>(scale) * (static_cast<double>(x[i]) - max));
              REQUIRE(std::fabs(d[b] * q[i] - exact) <= 0.501 * d[b] + 1e-6 * exact + 1e-37);
            }
          }
          REQUIRE(offset[b] == -8 * codes);
        }
        CHECK(sum == doctest::Approx(written).epsilon(1e-5));
        CHECK(q[blocks * 32] == 99);
        CHECK(d[blocks] == 99.0f);
        CHECK(offset[blocks] == 99);
      }
    }
  }
}

TEST_CASE("softmax of scores that are no numbers, infinite or enormous stays within its bytes") {
  for (const hearth_kernels* const* table = AvailableKernels(); *table != nullptr; ++table) {
    CAPTURE((*table)->isa);
    for (const float odd : {NAN, INFINITY, -INFINITY, 1e38f, -1e38f}) {
      CAPTURE(odd);
      for (const size_t at : {size_t{0}, size_t{33}, size_t{39}}) {
        std::vector<float> x(40, 1.0f), d(2);
        x[at] = odd;
        std::vector<int8_t> q(64);
        std::vector<int32_t> offset(2);
        const float sum = (*table)->softmax_q8(x.data(), 40, 0.5f, q.data(), d.data(), offset.data());
        for (const int8_t code : q) CHECK(code >= 0);
        for (size_t i = 40; i < 64; ++i) CHECK(q[i] == 0);
        CHECK(std::isfinite(sum));
      }
    }
  }
}

}  // namespace hearth
