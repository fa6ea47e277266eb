#include "addon/input/fft.h"

#include <cmath>
#include <numbers>

namespace hearth {
namespace {

// std::complex's own product looks for infinities, which costs a branch and a library call.
std::complex<double> Times(std::complex<double> a, std::complex<double> b) {
  return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
}

}  // namespace

RealFft::RealFft() {
  for (int k = 0; k < kHalf; ++k) {
    const double angle = -2.0 * std::numbers::pi * k / kSize;
    twiddle_[k] = {std::cos(angle), std::sin(angle)};
  }
  reversed_[0] = 0;
  for (int i = 1; i < kHalf; ++i) reversed_[i] = reversed_[i / 2] / 2 + (i % 2 ? kHalf / 2 : 0);
}

void RealFft::Magnitudes(const double* input, double* magnitudes) const {
  Complex z[kHalf];
  for (int i = 0; i < kHalf; ++i) z[i] = {input[2 * reversed_[i]], input[2 * reversed_[i] + 1]};
  for (int span = 1; span < kHalf; span *= 2) {  // butterflies of z[i] and z[i + span]
    for (int start = 0; start < kHalf; start += 2 * span) {
      for (int i = 0; i < span; ++i) {
        const Complex odd = Times(z[start + i + span], twiddle_[i * (kHalf / span)]);
        z[start + i + span] = z[start + i] - odd;
        z[start + i] += odd;
      }
    }
  }
  // z[k] = E[k] + i O[k], the transforms of the even and the odd values; X[k] = E[k] + e^(-2 pi i k / kSize) O[k].
  magnitudes[0] = std::fabs(z[0].real() + z[0].imag());
  magnitudes[kHalf] = std::fabs(z[0].real() - z[0].imag());
  for (int k = 1; k < kHalf; ++k) {
    const Complex mirrored = std::conj(z[kHalf - k]);
    const Complex even = 0.5 * (z[k] + mirrored);
    const Complex difference = 0.5 * (z[k] - mirrored);
    const Complex odd{difference.imag(), -difference.real()};
    const Complex x = even + Times(twiddle_[k], odd);
    magnitudes[k] = std::sqrt(x.real() * x.real() + x.imag() * x.imag());
  }
}

}  // namespace hearth
