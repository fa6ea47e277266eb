#include "addon/ops/rope.h"

#include <cmath>

namespace hearth {

Status RopeTable::Fill(float base, int64_t head_dim, int64_t first, int64_t count) {
  if (half_ != head_dim / 2 || base_ != base) {
    half_ = head_dim / 2;
    base_ = base;
    HEARTH_RETURN_IF_ERROR(inv_freq_.Reserve(static_cast<size_t>(half_)));
    for (int64_t i = 0; i < half_; ++i) {
      inv_freq_[i] = 1.0f / std::pow(base, static_cast<float>(2 * i) / static_cast<float>(head_dim));
    }
  }
  HEARTH_RETURN_IF_ERROR(cos_sin_.Reserve(static_cast<size_t>(2 * half_ * count)));
  for (int64_t p = 0; p < count; ++p) {
    float* cosine = cos_sin_.data() + 2 * half_ * p;
    float* sine = cosine + half_;
    for (int64_t i = 0; i < half_; ++i) {
      // The product in float32, as the reference has it: at position 30,000 its rounding is part of the model.
      const float angle = static_cast<float>(first + p) * inv_freq_[i];
      cosine[i] = std::cos(angle);
      sine[i] = std::sin(angle);
    }
  }
  return Status();
}

void RopeTable::Rotate(int64_t index, float* head) const {
  const float* cosine = cos_sin_.data() + 2 * half_ * index;
  const float* sine = cosine + half_;
  for (int64_t i = 0; i < half_; ++i) {
    const float a = head[i], b = head[i + half_];
    head[i] = a * cosine[i] - b * sine[i];
    head[i + half_] = b * cosine[i] + a * sine[i];
  }
}

}  // namespace hearth
