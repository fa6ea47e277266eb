// What the parts of TextDecoder share: one layer's view of the chunk in hand, and loops over its rows.
#ifndef HEARTH_MODEL_DECODER_STEPS_H_
#define HEARTH_MODEL_DECODER_STEPS_H_

#include "addon/model/text_decoder.h"

namespace hearth {

struct TextDecoder::LayerPass {
  int index;  // in the file
  const LayerWeights& weights;
  const Slice& slice;
  int64_t tokens;          // rows the layer starts with
  int64_t first_position;  // of the first row
  int64_t keep;            // rows that go on past K and V; less than `tokens` only in the last layer that writes them
};

// Runs body(row, thread) for every row, rows shared among the threads; a single row runs on the caller alone.
template <typename Body>
void ForRows(Exec& exec, int64_t rows, Body&& body) {
  exec.pool().For(rows, 1, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t row = begin; row < end; ++row) body(row, thread);
  });
}

}  // namespace hearth

#endif  // HEARTH_MODEL_DECODER_STEPS_H_
