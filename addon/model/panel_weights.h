// The matrices of an encoder, rearranged into panels (ops/panels.h) to be multiplied in 8 bits. Encoders mostly come in
// 16 bits or more; such matrices are rounded to Q8_0 on the way: a scale for every 32 values of a row.
#ifndef HEARTH_MODEL_PANEL_WEIGHTS_H_
#define HEARTH_MODEL_PANEL_WEIGHTS_H_

#include <cstdint>
#include <vector>

#include "addon/base/arena.h"
#include "addon/base/status.h"
#include "addon/base/thread_pool.h"
#include "addon/gguf/gguf.h"
#include "addon/kernels/kernels.h"
#include "addon/ops/weight.h"

namespace hearth {

class PanelWeights {
 public:
  // Bytes of memory `weights` take once they are packed: as panels, or as they lie in the file where `kernels` have no
  // panels for a shape.
  static uint64_t Bytes(const hearth_kernels& kernels, const std::vector<Weight*>& weights);

  // Rearranges those of `weights` that can be, straight from the map of `file`, whose pages are given back. Once; the
  // panels live as long as this object. OUT_OF_MEMORY.
  Status Pack(const hearth_kernels& kernels, const GgufFile& file, const std::vector<Weight*>& weights,
              ThreadPool& pool);

 private:
  Arena arena_;
};

}  // namespace hearth

#endif  // HEARTH_MODEL_PANEL_WEIGHTS_H_
