// A weight matrix, wherever it lies.
#ifndef HEARTH_OPS_WEIGHT_H_
#define HEARTH_OPS_WEIGHT_H_

#include <cstdint>

namespace hearth {

// [rows, cols]. Row-major as in the file: row r is row_bytes bytes at data + r * row_bytes. Or in panels of 16 rows
// (ops/panels.h), panel_bytes each; then `data` is null.
struct Weight {
  const uint8_t* data = nullptr;
  uint32_t type = 0;  // hearth_block_type
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t row_bytes = 0;
  const uint8_t* panels = nullptr;
  int64_t panel_bytes = 0;
  bool head = false;  // the panels are laid out for the head's screen (kernels/kernels.h)

  bool empty() const { return data == nullptr && panels == nullptr; }
  const uint8_t* row(int64_t r) const { return data + r * row_bytes; }
  // Rows [begin, begin + count); in panels `begin` is a multiple of 16.
  Weight Rows(int64_t begin, int64_t count) const {
    Weight part = *this;
    part.rows = count;
    if (data != nullptr) part.data = row(begin);
    if (panels != nullptr) part.panels = panels + begin / 16 * panel_bytes;
    return part;
  }
};

}  // namespace hearth

#endif  // HEARTH_OPS_WEIGHT_H_
