// Quantised matrices in the order the kernels read them: panels of 16 rows (layout: kernels/kernels.h). Made once, when
// a model is loaded, straight from the file's map.
#ifndef HEARTH_OPS_PANELS_H_
#define HEARTH_OPS_PANELS_H_

#include <cstdint>

#include "addon/kernels/kernels.h"
#include "addon/ops/weight.h"

namespace hearth {

// True when a [rows, cols] matrix of this type can be kept as panels and `kernels` multiplies them.
bool HasPanels(const hearth_kernels& kernels, uint32_t type, int64_t rows, int64_t cols);

// Bytes of one panel of rows of `cols` values.
int64_t PanelBytes(uint32_t type, int64_t cols);

// Writes panels [begin, end) of a row-major matrix; `out` is where panel 0 goes. Of a `head`, which is Q8_0, in the
// layout for its screen; what else is below takes either.
void PackPanels(const Weight& w, int64_t begin, int64_t end, uint8_t* out);

// The scales of panel p.
const uint8_t* PanelScales(const Weight& w, int64_t p);

// out[w.cols] = row r of a matrix in panels, as float32. For embedding rows, one at a time.
void UnpackRow(const Weight& w, int64_t r, float* out);

// y[t * ldy + i] = dot of row 16 * begin + i and token t for panels [begin, end) of `w`, over the first `cols` columns.
void MultiplyPanels(const hearth_kernels& kernels, const Weight& w, int64_t begin, int64_t end, int64_t cols,
                    const hearth_q8_rows& x, int64_t tokens, float* y, int64_t ldy);

}  // namespace hearth

#endif  // HEARTH_OPS_PANELS_H_
