// The picture resize against torch (test/fixtures/models/resize.golden.gguf: F.interpolate, bilinear with antialias)
// and against what must hold for any picture.
#include "addon/input/image.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "test/native/fixtures.h"

namespace hearth {
namespace {

using test::OpenGguf;

std::vector<float> Resize(const std::vector<uint8_t>& rgb, int64_t width, int64_t height, int64_t size,
                          int threads = 2) {
  ThreadPool pool(threads);
  std::vector<float> out(static_cast<size_t>(size * size * 3), -1.0f);
  const Status status = ResizeImage(pool, RgbView{rgb.data(), width, height}, size, out.data());
  REQUIRE_MESSAGE(status.ok(), status.message());
  return out;
}

std::vector<uint8_t> Noise(int64_t values) {
  std::mt19937 random(7);
  std::vector<uint8_t> bytes(static_cast<size_t>(values));
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

Code CodeOf(const RgbView& image, int64_t size) {
  ThreadPool pool(1);
  std::vector<float> out(32 * 32 * 3);
  return ResizeImage(pool, image, size, out.data()).code();
}

}  // namespace

TEST_CASE("pictures are resized as torch resizes them") {
  const auto golden = OpenGguf("test/fixtures/models/resize.golden.gguf");
  int cases = 0;
  for (int i = 0; i < 10; ++i) {
    const std::string name = "resize" + std::to_string(i);
    const GgufTensor* in = golden->Find(name + ".in");  // [height, width, 3]
    if (in == nullptr) continue;
    ++cases;
    CAPTURE(name);
    const GgufTensor* out = golden->Find(name + ".out");
    REQUIRE(out != nullptr);
    std::vector<uint8_t> rgb(static_cast<size_t>(in->elements()));
    for (size_t i = 0; i < rgb.size(); ++i)
      rgb[i] = static_cast<uint8_t>(reinterpret_cast<const int32_t*>(in->data)[i]);
    const std::vector<float> resized = Resize(rgb, in->dims[1], in->dims[2], out->dims[1]);
    double sum = 0;
    float max = 0;
    for (size_t i = 0; i < resized.size(); ++i) {
      const float difference =
          std::fabs(resized[i] * 255 - static_cast<float>(reinterpret_cast<const int32_t*>(out->data)[i]));
      max = std::max(max, difference);
      sum += difference;
    }
    CHECK(max <= 1.001f);
    CHECK(sum / static_cast<double>(resized.size()) <= 0.1);
  }
  CHECK(cases > 0);
}

TEST_CASE("a picture of the right size is only scaled to [0, 1]") {
  const std::vector<uint8_t> rgb = Noise(64 * 64 * 3);
  const std::vector<float> out = Resize(rgb, 64, 64, 64);
  for (size_t i = 0; i < out.size(); ++i) REQUIRE(out[i] == static_cast<float>(rgb[i]) * (1.0f / 255.0f));
}

TEST_CASE("halving averages with the triangle's weights, doubling interpolates") {
  // 4 x 1, red only: 0 80 160 240. Half size: taps (0, 1, 2) with weights 3, 3, 1 of 7 and their mirror image.
  const std::vector<uint8_t> rgb = {0, 0, 0, 80, 0, 0, 160, 0, 0, 240, 0, 0};
  const std::vector<float> half = Resize(rgb, 4, 1, 2);
  CHECK(std::lround(half[0] * 255) == std::lround((3 * 0 + 3 * 80 + 160) / 7.0));
  CHECK(std::lround(half[3] * 255) == std::lround((80 + 3 * 160 + 3 * 240) / 7.0));
  CHECK(half[1] == 0.0f);
  const std::vector<float> twice = Resize(rgb, 4, 1, 8);
  const int expected[8] = {0, 20, 60, 100, 140, 180, 220, 240};
  for (int x = 0; x < 8; ++x) CHECK(std::lround(twice[static_cast<size_t>(x * 3)] * 255) == expected[x]);
}

TEST_CASE("one colour stays that colour, whatever the shape") {
  const int64_t sides[][2] = {{1, 1}, {1, 20000}, {65535, 1}, {3, 2}, {767, 769}, {4000, 30}};
  for (const auto& side : sides) {
    CAPTURE(side[0]);
    CAPTURE(side[1]);
    const std::vector<uint8_t> rgb(static_cast<size_t>(side[0] * side[1] * 3), 200);
    for (float value : Resize(rgb, side[0], side[1], 256)) REQUIRE(value == 200 * (1.0f / 255.0f));
  }
}

TEST_CASE("the number of threads does not matter") {
  const std::vector<uint8_t> rgb = Noise(301 * 97 * 3);
  const std::vector<float> one = Resize(rgb, 301, 97, 256, 1);
  CHECK(Resize(rgb, 301, 97, 256, 2) == one);
  CHECK(Resize(rgb, 301, 97, 256, 3) == one);
}

TEST_CASE("what is no picture is refused") {
  const std::vector<uint8_t> rgb(12);
  CHECK(CodeOf({rgb.data(), 2, 2}, 32) == Code::kOk);
  CHECK(CodeOf({rgb.data(), 0, 2}, 32) == Code::IMAGE_INVALID);
  CHECK(CodeOf({rgb.data(), 2, 0}, 32) == Code::IMAGE_INVALID);
  CHECK(CodeOf({rgb.data(), -1, 2}, 32) == Code::IMAGE_INVALID);
  CHECK(CodeOf({rgb.data(), 65536, 1}, 32) == Code::IMAGE_INVALID);
  CHECK(CodeOf({rgb.data(), 1, INT64_MAX}, 32) == Code::IMAGE_INVALID);
  CHECK(CodeOf({nullptr, 2, 2}, 32) == Code::IMAGE_INVALID);
  CHECK(CodeOf({rgb.data(), 2, 2}, 0) == Code::OPTION_INVALID);
  CHECK(CodeOf({rgb.data(), 2, 2}, 65536) == Code::OPTION_INVALID);
}

}  // namespace hearth
