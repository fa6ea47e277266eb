#include "addon/model/subsample_conv.h"

#include <algorithm>
#include <cmath>

namespace hearth {
namespace {

constexpr int64_t kKernel = 3;
constexpr int64_t kStride = 2;
constexpr int64_t kMaxChannels = 4096;

}  // namespace

StatusOr<SubsampleConv> SubsampleConv::Load(const TensorLoader& loader, const std::string& prefix, int64_t bands,
                                            int64_t channels, float eps) {
  SubsampleConv conv;
  conv.bands_ = bands;
  conv.channels_ = channels;
  conv.eps_ = eps;
  const std::string name = prefix + ".weight";
  HEARTH_ASSIGN_OR_RETURN(const GgufTensor* tensor, loader.file().Require(name));
  const auto& dims = tensor->dims;
  if (dims[0] != kKernel || dims[1] != kKernel || dims[2] != channels || dims[3] > kMaxChannels) {
    return Error(Code::MODEL_MISMATCH,
                 "tensor %s should be [any up to %lld, %lld, 3, 3] but is [%lld, %lld, %lld, %lld]", name.c_str(),
                 static_cast<long long>(kMaxChannels), static_cast<long long>(channels),
                 static_cast<long long>(dims[3]), static_cast<long long>(dims[2]), static_cast<long long>(dims[1]),
                 static_cast<long long>(dims[0]));
  }
  conv.out_channels_ = dims[3];
  HEARTH_ASSIGN_OR_RETURN(const AlignedBuffer<float> values, loader.Vector(name, tensor->elements()));
  HEARTH_RETURN_IF_ERROR(conv.kernel_.Reset(values.size()));
  constexpr int64_t kTaps = kKernel * kKernel;
  for (int64_t o = 0; o < conv.out_channels_; ++o) {
    for (int64_t i = 0; i < channels; ++i) {
      for (int64_t tap = 0; tap < kTaps; ++tap) {
        conv.kernel_[(o * kTaps + tap) * channels + i] = values[(o * channels + i) * kTaps + tap];
      }
    }
  }
  HEARTH_ASSIGN_OR_RETURN(conv.norm_, loader.Vector(prefix + ".norm.weight", conv.out_channels_));
  return conv;
}

Status SubsampleConv::State::Assign(const State& other) {
  HEARTH_RETURN_IF_ERROR(pending_.Assign(other.pending_));
  row_size_ = other.row_size_;
  rows_ = other.rows_;
  total_ = other.total_;
  deviation_ = other.deviation_;
  elements_ = other.elements_;
  return Status();
}

Status SubsampleConv::Start(State& state) const {
  state = State();
  state.row_size_ = in_row();
  HEARTH_RETURN_IF_ERROR(state.pending_.Reset(static_cast<size_t>((kMaxRows + kStride) * in_row())));
  HEARTH_RETURN_IF_ERROR(state.sum_.Reset(kMaxOutput));
  HEARTH_RETURN_IF_ERROR(state.squares_.Reset(kMaxOutput));
  HEARTH_RETURN_IF_ERROR(state.mean_.Reset(kMaxOutput));
  return state.scale_.Reset(kMaxOutput);
}

// rows: kKernel input rows; patches: [out_bands, kKernel, kKernel, channels].
void SubsampleConv::GatherPatches(const float* rows, float* patches) const {
  const int64_t span = kKernel * channels_;
  for (int64_t b = 0; b < out_bands(); ++b) {
    const int64_t first = kStride * b - 1;
    const int64_t begin = std::max<int64_t>(first, 0), end = std::min(first + kKernel, bands_);
    for (int64_t k = 0; k < kKernel; ++k, patches += span) {
      if (end - begin < kKernel) std::fill_n(patches, span, 0.0f);
      std::copy_n(rows + (k * bands_ + begin) * channels_, (end - begin) * channels_,
                  patches + (begin - first) * channels_);
    }
  }
}

StatusOr<int64_t> SubsampleConv::Run(Exec& exec, State& state, bool end, float* out) const {
  const int64_t n = end ? (state.rows_ + 1) / 2 : std::max<int64_t>(state.rows_ - 1, 0) / 2;
  if (n == 0) return n;
  float* rows = state.pending_.data();
  if (end) std::fill(rows + state.rows_ * in_row(), rows + (kStride * n + 1) * in_row(), 0.0f);

  const hearth_kernels& kernels = exec.kernels();
  const int64_t patch = kKernel * kKernel * channels_;
  HEARTH_RETURN_IF_ERROR(exec.ReserveScratch(static_cast<size_t>(out_bands() * patch)));
  exec.pool().For(n, 1, [&](int64_t begin, int64_t stop, int thread) {
    float* patches = exec.scratch(thread);
    for (int64_t t = begin; t < stop; ++t) {
      GatherPatches(rows + kStride * t * in_row(), patches);
      float* y = out + t * out_row();
      kernels.gemm_f32(kernel_.data(), patch, patches, patch, patch, out_channels_, out_bands(), y, out_channels_);
      double sum = 0.0, squares = 0.0;
      for (int64_t i = 0; i < out_row(); ++i) {
        sum += y[i];
        squares += static_cast<double>(y[i]) * y[i];
      }
      state.sum_[t] = sum;
      state.squares_[t] = squares;
    }
  });

  const double count = static_cast<double>(out_row());
  for (int64_t t = 0; t < n; ++t) {
    state.total_ += state.sum_[t];
    state.elements_ += count;
    const double mean = state.total_ / state.elements_;
    state.deviation_ += std::max(state.squares_[t] - 2.0 * mean * state.sum_[t] + count * mean * mean, 0.0);
    state.mean_[t] = static_cast<float>(mean);
    state.scale_[t] = static_cast<float>(1.0 / std::sqrt(state.deviation_ / state.elements_ + eps_));
  }

  exec.pool().For(n, 1, [&](int64_t begin, int64_t stop, int) {
    for (int64_t t = begin; t < stop; ++t) {
      float* y = out + t * out_row();
      const float mean = state.mean_[t], scale = state.scale_[t];
      for (int64_t b = 0; b < out_bands(); ++b, y += out_channels_) {
        for (int64_t c = 0; c < out_channels_; ++c) y[c] = std::max((y[c] - mean) * scale * norm_[c], 0.0f);
      }
    }
  });

  const int64_t left = std::max<int64_t>(state.rows_ - kStride * n, 0);
  std::copy_n(rows + kStride * n * in_row(), left * in_row(), rows);
  state.rows_ = left;
  return n;
}

}  // namespace hearth
