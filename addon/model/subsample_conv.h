// A 3x3 convolution of stride 2 over (time, band), then a group norm over everything heard so far, then ReLU. Two of
// these in a row bring 128 mel bands every 10 ms down to a frame every 40 ms.
//
// Output t looks at input rows 2t, 2t + 1 and 2t + 2: time is padded with zeros at the end only, so that all a stream
// has to remember are the rows that the next output still needs. Bands are padded by one on either side.
//
// The norm's mean at time t is over all channels and bands of rows 0..t. Its variance is not about that mean: row t'
// adds its squared distance from the mean at time t' (HF Gemma3nAudioCumulativeGroupNorm), so running sums suffice.
#ifndef HEARTH_MODEL_SUBSAMPLE_CONV_H_
#define HEARTH_MODEL_SUBSAMPLE_CONV_H_

#include <cstdint>
#include <string>

#include "addon/base/aligned_buffer.h"
#include "addon/base/status.h"
#include "addon/model/tensor_loader.h"
#include "addon/ops/exec.h"

namespace hearth {

class SubsampleConv {
 public:
  // Rows a stream may hold before it has to Run.
  static constexpr int64_t kMaxRows = 64;

  // What one stream remembers.
  class State {
   public:
    int64_t rows() const { return rows_; }
    // Where the next row goes: [in_row()] values. Advance says that rows were written there; up to kMaxRows in all.
    float* next() { return pending_.data() + rows_ * row_size_; }
    void Advance(int64_t rows) { rows_ += rows; }
    // Becomes a copy of `other`.
    Status Assign(const State& other);

   private:
    friend class SubsampleConv;
    AlignedBuffer<float> pending_;         // input rows from that of the next output on
    AlignedBuffer<double> sum_, squares_;  // of each output row in hand
    AlignedBuffer<float> mean_, scale_;    // likewise, cumulative
    int64_t row_size_ = 0;
    int64_t rows_ = 0;
    // Over all output rows so far.
    double total_ = 0.0, deviation_ = 0.0, elements_ = 0.0;
  };

  // Tensors PREFIX.weight [out, in, 3, 3] (PyTorch) and PREFIX.norm.weight [out].
  static StatusOr<SubsampleConv> Load(const TensorLoader& loader, const std::string& prefix, int64_t bands,
                                      int64_t channels, float eps);

  // Values of a row: [band, channel].
  int64_t in_row() const { return bands_ * channels_; }
  int64_t out_row() const { return out_bands() * out_channels_; }
  int64_t out_bands() const { return (bands_ + 1) / 2; }
  int64_t out_channels() const { return out_channels_; }

  // Rows that Run makes, at most.
  static constexpr int64_t kMaxOutput = (kMaxRows + 1) / 2;

  Status Start(State& state) const;

  // Makes as many rows as the state's input suffices for and drops the input that no later row needs; at the `end`,
  // those that reach into the padding too. out: room for kMaxOutput rows. Returns the number of rows.
  StatusOr<int64_t> Run(Exec& exec, State& state, bool end, float* out) const;

 private:
  void GatherPatches(const float* rows, float* patches) const;

  int64_t bands_ = 0, channels_ = 0, out_channels_ = 0;
  float eps_ = 0;
  AlignedBuffer<float> kernel_;  // [out, time 3, band 3, in]
  AlignedBuffer<float> norm_;    // [out]
};

}  // namespace hearth

#endif  // HEARTH_MODEL_SUBSAMPLE_CONV_H_
