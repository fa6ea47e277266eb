#include "addon/ops/panels.h"

#include <cstring>

#include "addon/gguf/block_types.h"

namespace hearth {
namespace {

constexpr int64_t kRows = HEARTH_PANEL_ROWS;
constexpr int64_t kColumns = HEARTH_PANEL_COLUMNS;
constexpr int64_t kCodeBytes = 256;  // of a block of 16 rows
constexpr int64_t kScaleBytes = 32;  // of a block of 16 rows

// Both read the file's blocks as bytes: rows need not be aligned.
void PackQ4_0(const uint8_t* row, int64_t r, int64_t blocks, uint8_t* panel) {
  uint8_t* scales = panel + blocks * kCodeBytes;
  for (int64_t b = 0; b < blocks; ++b, row += sizeof(hearth_block_q4_0)) {
    std::memcpy(scales + (b * kRows + r) * 2, row, 2);
    // The file pairs columns j and j + 16 in a byte, and so does the panel.
    for (int g = 0; g < 4; ++g) std::memcpy(panel + b * kCodeBytes + g * 64 + r * 4, row + 2 + g * 4, 4);
  }
}

void PackQ8_0(const uint8_t* row, int64_t r, int64_t blocks, uint8_t* panel) {
  uint8_t* scales = panel + blocks * kCodeBytes;
  uint8_t* low = scales + blocks * kScaleBytes;
  for (int64_t b = 0; b < blocks; ++b, row += sizeof(hearth_block_q8_0)) {
    std::memcpy(scales + (b * kRows + r) * 2, row, 2);
    for (int i = 0; i < 16; ++i) {
      const uint8_t first = row[2 + i] ^ 0x80, second = row[2 + 16 + i] ^ 0x80;  // q + 128
      const int64_t at = b * kCodeBytes + i / 4 * 64 + r * 4 + i % 4;
      panel[at] = static_cast<uint8_t>(first >> 4 | (second & 0xf0));
      low[at] = static_cast<uint8_t>((first & 15) | second << 4);
    }
  }
}

hearth_panel_fn PanelOf(const hearth_kernels& kernels, uint32_t type) {
  switch (type) {
    case HEARTH_Q4_0:
      return kernels.panel_q4_0_q8;
    case HEARTH_Q8_0:
      return kernels.panel_q8_0_q8;
  }
  return nullptr;
}

}  // namespace

hearth_row_fn RowOf(const hearth_kernels& kernels, uint32_t type) {
  switch (type) {
    case HEARTH_Q4_0:
      return kernels.row_q4_0_q8;
    case HEARTH_Q8_0:
      return kernels.row_q8_0_q8;
  }
  return nullptr;
}

bool HasPanels(const hearth_kernels& kernels, uint32_t type, int64_t rows, int64_t cols) {
  return PanelOf(kernels, type) != nullptr && rows % kRows == 0 && cols % kColumns == 0;
}

int64_t PanelBytes(uint32_t type, int64_t cols) {
  const int64_t block = type == HEARTH_Q8_0 ? 2 * kCodeBytes + kScaleBytes : kCodeBytes + kScaleBytes;
  return (cols / kColumns * block + 63) / 64 * 64;
}

void PackPanels(const Weight& w, int64_t begin, int64_t end, uint8_t* out) {
  const int64_t bytes = PanelBytes(w.type, w.cols), blocks = w.cols / kColumns;
  for (int64_t p = begin; p < end; ++p) {
    for (int64_t r = 0; r < kRows; ++r) {
      const uint8_t* row = w.row(p * kRows + r);
      w.type == HEARTH_Q8_0 ? PackQ8_0(row, r, blocks, out + p * bytes) : PackQ4_0(row, r, blocks, out + p * bytes);
    }
  }
}

void UnpackRow(const Weight& w, int64_t r, float* out) {
  const int64_t blocks = w.cols / kColumns, lane = r % kRows;
  const uint8_t* codes = w.panels + r / kRows * w.panel_bytes;
  const uint8_t* scales = codes + blocks * kCodeBytes;
  const uint8_t* low = scales + blocks * kScaleBytes;
  for (int64_t b = 0; b < blocks; ++b, out += kColumns) {
    // Back to a block of the file, which the specification knows how to read.
    if (w.type == HEARTH_Q4_0) {
      hearth_block_q4_0 block;
      std::memcpy(&block.d, scales + (b * kRows + lane) * 2, 2);
      for (int g = 0; g < 4; ++g) std::memcpy(block.codes + g * 4, codes + b * kCodeBytes + g * 64 + lane * 4, 4);
      hearth_kernels_scalar.dequantize_q4_0(reinterpret_cast<const uint8_t*>(&block), kColumns, out);
    } else {
      hearth_block_q8_0 block;
      std::memcpy(&block.d, scales + (b * kRows + lane) * 2, 2);
      for (int i = 0; i < 16; ++i) {
        const int64_t at = b * kCodeBytes + i / 4 * 64 + lane * 4 + i % 4;
        block.q[i] = static_cast<int8_t>(((codes[at] & 15) << 4 | (low[at] & 15)) ^ 0x80);
        block.q[16 + i] = static_cast<int8_t>(((codes[at] & 0xf0) | low[at] >> 4) ^ 0x80);
      }
      hearth_kernels_scalar.dequantize_q8_0(reinterpret_cast<const uint8_t*>(&block), kColumns, out);
    }
  }
}

void MultiplyPanels(const hearth_kernels& kernels, const Weight& w, int64_t begin, int64_t end, int64_t cols,
                    const hearth_q8_rows& x, int64_t tokens, float* y, int64_t ldy) {
  const hearth_panel_fn multiply = PanelOf(kernels, w.type);
  const int64_t stored = w.cols / kColumns, blocks = cols / kColumns;
  for (int64_t p = begin; p < end; ++p) {
    multiply(w.panels + p * w.panel_bytes, stored, blocks, &x, tokens, y + (p - begin) * kRows, ldy);
  }
}

}  // namespace hearth
