// The discrete Fourier transform of a frame of sound.
#ifndef HEARTH_INPUT_FFT_H_
#define HEARTH_INPUT_FFT_H_

#include <array>
#include <complex>

namespace hearth {

// 1024 real values to their 513 non-negative frequencies. Computed as one complex transform of half the length over
// the (even, odd) pairs, then split. Double precision: a quiet band next to a loud one keeps its digits.
class RealFft {
 public:
  static constexpr int kSize = 1024;
  static constexpr int kBins = kSize / 2 + 1;

  RealFft();

  // magnitudes[k] = |sum over n of input[n] e^(-2 pi i k n / kSize)|, k in [0, kBins).
  void Magnitudes(const double* input, double* magnitudes) const;

 private:
  static constexpr int kHalf = kSize / 2;
  using Complex = std::complex<double>;

  std::array<Complex, kHalf> twiddle_;  // e^(-2 pi i k / kSize)
  std::array<int, kHalf> reversed_;     // bit reversal of the half-length index
};

}  // namespace hearth

#endif  // HEARTH_INPUT_FFT_H_
