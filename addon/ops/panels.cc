#include "addon/ops/panels.h"

#include <cstring>
#include <vector>

#include "addon/gguf/block_types.h"
#include "addon/ops/kernel_lookup.h"

namespace hearth {
namespace {

constexpr int64_t kRows = HEARTH_PANEL_ROWS;
constexpr int64_t kColumns = HEARTH_PANEL_COLUMNS;
constexpr int64_t kCodeBytes = 256;  // of a block of 16 rows, for 4 bits of each code
constexpr int kMaxBlockValues = 256;

// A head's panel: where its planes are, for `stored` blocks (layout: kernels/kernels.h).
constexpr int64_t kHeadCodeBytes = 192, kFourthBytes = 64;
struct HeadPlanes {
  int64_t scales, fourth, low;
  explicit HeadPlanes(int64_t stored)
      : scales(stored * kHeadCodeBytes), fourth(stored * (kHeadCodeBytes + 32)), low(stored * (kCodeBytes + 32)) {}
};

// What the panels of a type are made of.
struct PanelType {
  int64_t values = kColumns;  // columns that share a record of scales; the file's block, too
  int64_t record_bytes = 0;   // scales of 16 rows
  int low_bits = 0;           // of a code, beyond four
  int bias = 0;               // of a code

  int64_t CodesBytes(int64_t cols) const { return cols / kColumns * kCodeBytes; }
  int64_t ScalesBytes(int64_t cols) const { return cols / values * record_bytes; }
  int64_t LowBytes(int64_t cols) const { return cols / kColumns * kCodeBytes / 4 * low_bits; }
};

PanelType TypeOf(uint32_t type) {
  switch (type) {
    case HEARTH_Q4_0:
      return {32, 32, 0, 8};
    case HEARTH_Q8_0:
      return {32, 32, 4, 128};
    case HEARTH_Q4_1:
      return {32, 64, 0, 0};
    case HEARTH_Q5_0:
      return {32, 32, 1, 16};
    case HEARTH_Q5_1:
      return {32, 64, 1, 0};
    case HEARTH_Q4_K:
      return {256, 320, 0, 0};
    case HEARTH_Q5_K:
      return {256, 320, 1, 0};
    case HEARTH_Q6_K:
      return {256, 288, 2, 32};
  }
  return {};
}

uint64_t Load64(const uint8_t* at) {
  uint64_t word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

void Store64(uint8_t* at, uint64_t word) { std::memcpy(at, &word, sizeof word); }

uint32_t Load32(const uint8_t* at) {
  uint32_t word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

void Store32(uint8_t* at, uint32_t word) { std::memcpy(at, &word, sizeof word); }

uint64_t EveryByte(uint64_t byte) { return byte * 0x0101010101010101; }

float HalfAt(const uint8_t* at) {
  float value;
  hearth_kernels_scalar.dequantize_f16(at, 1, &value);
  return value;
}

// A float16 of row r in a record of scales, the `index`th such number of the row.
uint8_t* HalfOf(uint8_t* record, int64_t index, int64_t r) { return record + (index * kRows + r) * 2; }
const uint8_t* HalfOf(const uint8_t* record, int64_t index, int64_t r) { return record + (index * kRows + r) * 2; }

// ReadBlock: the codes of one of the file's blocks, a byte each and without a sign, and row r of its record of scales.

// 32 codes whose lower four bits lie as in Q4_0 and whose fifth, unless null, as in Q5_0. Eight codes at a time.
void ReadCodes(const uint8_t* nibbles, const uint8_t* high, uint8_t* codes) {
  for (int i = 0; i < 16; i += 8) {
    const uint64_t pairs = Load64(nibbles + i);
    Store64(codes + i, pairs & EveryByte(15));
    Store64(codes + 16 + i, pairs >> 4 & EveryByte(15));
  }
  if (high == nullptr) return;
  for (int i = 0; i < 4; ++i) {
    const uint64_t bits = EveryByte(high[i]) & 0x8040201008040201;  // bit k alone in byte k
    const uint64_t fifths = (bits + EveryByte(0x7f)) >> 7 & EveryByte(1);
    Store64(codes + i * 8, Load64(codes + i * 8) | fifths << 4);
  }
}

void ReadBlock(const hearth_block_q4_0& block, int64_t r, uint8_t* codes, uint8_t* record) {
  std::memcpy(HalfOf(record, 0, r), &block.d, 2);
  ReadCodes(block.codes, nullptr, codes);
}

void ReadBlock(const hearth_block_q4_1& block, int64_t r, uint8_t* codes, uint8_t* record) {
  std::memcpy(HalfOf(record, 0, r), &block.d, 2);
  std::memcpy(HalfOf(record, 1, r), &block.m, 2);
  ReadCodes(block.codes, nullptr, codes);
}

void ReadBlock(const hearth_block_q5_0& block, int64_t r, uint8_t* codes, uint8_t* record) {
  std::memcpy(HalfOf(record, 0, r), &block.d, 2);
  ReadCodes(block.codes, block.high, codes);
}

void ReadBlock(const hearth_block_q5_1& block, int64_t r, uint8_t* codes, uint8_t* record) {
  std::memcpy(HalfOf(record, 0, r), &block.d, 2);
  std::memcpy(HalfOf(record, 1, r), &block.m, 2);
  ReadCodes(block.codes, block.high, codes);
}

void ReadBlock(const hearth_block_q8_0& block, int64_t r, uint8_t* codes, uint8_t* record) {
  std::memcpy(HalfOf(record, 0, r), &block.d, 2);
  for (int i = 0; i < 32; ++i) codes[i] = static_cast<uint8_t>(block.q[i] ^ 0x80);
}

// What Q4_K and Q5_K have in common; `high` is null for the former.
template <typename Block>
void ReadSuperBlock(const Block& block, const uint8_t* high, int64_t r, uint8_t* codes, uint8_t* record) {
  std::memcpy(HalfOf(record, 0, r), &block.d, 2);
  std::memcpy(HalfOf(record, 1, r), &block.dmin, 2);
  const uint8_t* packed = block.scales;
  for (int i = 0; i < 4; ++i) {
    const int scales[2] = {packed[i] & 63, (packed[8 + i] & 15) | packed[i] >> 6 << 4};
    const int offsets[2] = {packed[4 + i] & 63, packed[8 + i] >> 4 | packed[4 + i] >> 6 << 4};
    for (int half = 0; half < 2; ++half) {
      record[64 + (4 * half + i) * kRows + r] = static_cast<uint8_t>(scales[half]);
      record[192 + (4 * half + i) * kRows + r] = static_cast<uint8_t>(offsets[half]);
    }
  }
  for (int group = 0; group < 8; ++group) {
    for (int i = 0; i < 32; i += 8) {
      uint64_t word = Load64(block.codes + group / 2 * 32 + i) >> group % 2 * 4 & EveryByte(15);
      if (high != nullptr) word |= (Load64(high + i) >> group & EveryByte(1)) << 4;
      Store64(codes + group * 32 + i, word);
    }
  }
}

void ReadBlock(const hearth_block_q4_k& block, int64_t r, uint8_t* codes, uint8_t* record) {
  ReadSuperBlock(block, nullptr, r, codes, record);
}

void ReadBlock(const hearth_block_q5_k& block, int64_t r, uint8_t* codes, uint8_t* record) {
  ReadSuperBlock(block, block.high, r, codes, record);
}

void ReadBlock(const hearth_block_q6_k& block, int64_t r, uint8_t* codes, uint8_t* record) {
  std::memcpy(HalfOf(record, 0, r), &block.d, 2);
  for (int i = 0; i < 16; ++i) record[32 + i * kRows + r] = static_cast<uint8_t>(block.scales[i]);
  for (int i = 0; i < 256; i += 8) {
    const int half = i / 128, quarter = i % 128 / 32;
    const uint64_t low = Load64(block.low + half * 64 + i % 64) >> quarter / 2 * 4 & EveryByte(15);
    const uint64_t high = Load64(block.high + half * 32 + i % 32) >> quarter * 2 & EveryByte(3);
    Store64(codes + i, low | high << 4);
  }
}

// 32 codes of row r into block b of the planes, four at a time.
template <int kLowBits>
void WriteCodes(const uint8_t* codes, int64_t r, int64_t b, uint8_t* upper, uint8_t* low) {
  uint32_t words[8];
  std::memcpy(words, codes, sizeof words);
  for (int g = 0; g < 4; ++g) {
    const uint32_t word = (words[g] >> kLowBits & 0x0f0f0f0f) | (words[g + 4] >> kLowBits & 0x0f0f0f0f) << 4;
    std::memcpy(upper + b * kCodeBytes + g * 64 + r * 4, &word, 4);
  }
  for (int plane = 0; plane < kLowBits; ++plane) {
    uint32_t word = 0;
    for (int i = plane; i < 8; i += kLowBits)
      word |= (words[i] & ((1u << kLowBits) - 1) * 0x01010101u) << i / (kLowBits > 0 ? kLowBits : 1) * kLowBits;
    std::memcpy(low + (b * kLowBits + plane) * 64 + r * 4, &word, 4);
  }
}

// The same for a head's codes, their upper four bits: `panel` is where it begins.
void WriteHeadCodes(const uint8_t* codes, int64_t r, int64_t b, const HeadPlanes& planes, uint8_t* panel) {
  uint32_t upper[8], fourths = 0;
  for (int i = 0; i < 8; ++i) {
    const uint32_t word = Load32(codes + i * 4);
    upper[i] = word >> 5 & 0x07070707;
    fourths |= (word >> 4 & 0x01010101) << i;
  }
  uint8_t* out = panel + b * kHeadCodeBytes + r * 4;
  Store32(out, upper[0] | upper[1] << 3 | (upper[6] & 0x03030303) << 6);
  Store32(out + 64, upper[2] | upper[3] << 3 | (upper[7] & 0x03030303) << 6);
  Store32(out + 128, upper[4] | upper[5] << 3 | (upper[6] & 0x04040404) << 4 | (upper[7] & 0x04040404) << 5);
  Store32(panel + planes.fourth + b * kFourthBytes + r * 4, fourths);
}

// 16 bytes of a plane: columns 4i.. of 4 rows.
typedef uint64_t Bytes16 __attribute__((vector_size(16)));

Bytes16 Load16(const uint8_t* at) {
  Bytes16 bytes;
  std::memcpy(&bytes, at, sizeof bytes);
  return bytes;
}

// The upper four bits of the codes of columns 4i.. of a head's block, a byte each.
inline Bytes16 UpperHeadCodes(const Bytes16* codes, Bytes16 fourths, int i) {
  const Bytes16 three = i < 6 ? codes[i / 2] >> i % 2 * 3 & EveryByte(7)
                              : (codes[i - 6] >> 6 & EveryByte(3)) | (codes[2] >> (i - 2) & EveryByte(4));
  return three << 1 | (fourths >> i & EveryByte(1));
}

// A head's panel in the layout of other Q8_0 panels.
void PlainPanel(const uint8_t* panel, int64_t stored, uint8_t* out) {
  const HeadPlanes planes(stored);
  for (int64_t b = 0; b < stored; ++b) {
    const uint8_t* codes = panel + b * kHeadCodeBytes;
    const uint8_t* fourth = panel + planes.fourth + b * kFourthBytes;
    for (int r = 0; r < 64; r += 16) {
      const Bytes16 words[3] = {Load16(codes + r), Load16(codes + 64 + r), Load16(codes + 128 + r)};
      const Bytes16 fourths = Load16(fourth + r);
#pragma GCC unroll 4
      for (int g = 0; g < 4; ++g) {
        const Bytes16 both = UpperHeadCodes(words, fourths, g) | UpperHeadCodes(words, fourths, g + 4) << 4;
        std::memcpy(out + b * kCodeBytes + g * 64 + r, &both, sizeof both);
      }
    }
  }
  std::memcpy(out + stored * kCodeBytes, panel + planes.scales, static_cast<size_t>(stored * 32));
  std::memcpy(out + planes.low, panel + planes.low, static_cast<size_t>(stored * kCodeBytes));
}

template <typename Block, int kLowBits>
void PackRow(const uint8_t* row, int64_t r, int64_t cols, const PanelType& type, uint8_t* panel) {
  uint8_t* record = panel + type.CodesBytes(cols);
  uint8_t* low = record + type.ScalesBytes(cols);
  for (int64_t b = 0; b < cols / kColumns; row += sizeof(Block), record += type.record_bytes) {
    uint8_t codes[kMaxBlockValues];
    ReadBlock(*reinterpret_cast<const Block*>(row), r, codes, record);
    for (int64_t i = 0; i < type.values; i += kColumns, ++b) WriteCodes<kLowBits>(codes + i, r, b, panel, low);
  }
}

void PackHeadRow(const uint8_t* row, int64_t r, int64_t cols, uint8_t* panel) {
  const HeadPlanes planes(cols / kColumns);
  for (int64_t b = 0; b < cols / kColumns; ++b, row += sizeof(hearth_block_q8_0)) {
    uint8_t codes[kColumns], upper[kCodeBytes];
    ReadBlock(*reinterpret_cast<const hearth_block_q8_0*>(row), r, codes, panel + planes.scales + b * 32);
    WriteCodes<4>(codes, r, 0, upper, panel + planes.low + b * kCodeBytes);
    WriteHeadCodes(codes, r, b, planes, panel);
  }
}

void PackRow(uint32_t type, const uint8_t* row, int64_t r, int64_t cols, const PanelType& shape, uint8_t* panel) {
  switch (type) {
    case HEARTH_Q4_0:
      return PackRow<hearth_block_q4_0, 0>(row, r, cols, shape, panel);
    case HEARTH_Q4_1:
      return PackRow<hearth_block_q4_1, 0>(row, r, cols, shape, panel);
    case HEARTH_Q5_0:
      return PackRow<hearth_block_q5_0, 1>(row, r, cols, shape, panel);
    case HEARTH_Q5_1:
      return PackRow<hearth_block_q5_1, 1>(row, r, cols, shape, panel);
    case HEARTH_Q8_0:
      return PackRow<hearth_block_q8_0, 4>(row, r, cols, shape, panel);
    case HEARTH_Q4_K:
      return PackRow<hearth_block_q4_k, 0>(row, r, cols, shape, panel);
    case HEARTH_Q5_K:
      return PackRow<hearth_block_q5_k, 1>(row, r, cols, shape, panel);
    case HEARTH_Q6_K:
      return PackRow<hearth_block_q6_k, 2>(row, r, cols, shape, panel);
  }
}

// What 16 columns share, the `half`th of their record: a value is step * (code - bias) + offset.
struct Steps {
  float step, offset;
};

Steps StepsOf(uint32_t type, const uint8_t* record, int64_t half, int64_t r) {
  const float d = HalfAt(HalfOf(record, 0, r));
  switch (type) {
    case HEARTH_Q4_1:
    case HEARTH_Q5_1:
      return {d, HalfAt(HalfOf(record, 1, r))};
    case HEARTH_Q4_K:
    case HEARTH_Q5_K:
      return {d * record[64 + half / 2 * kRows + r],
              HalfAt(HalfOf(record, 1, r)) * -record[192 + half / 2 * kRows + r]};
    case HEARTH_Q6_K:
      return {d * static_cast<int8_t>(record[32 + half * kRows + r]), 0};
  }
  return {d, 0};
}

}  // namespace

bool HasPanels(const hearth_kernels& kernels, uint32_t type, int64_t rows, int64_t cols) {
  return PanelOf(kernels, type) != nullptr && rows % kRows == 0 && cols % TypeOf(type).values == 0;
}

int64_t PanelBytes(uint32_t type, int64_t cols) {
  const PanelType panels = TypeOf(type);
  return (panels.CodesBytes(cols) + panels.ScalesBytes(cols) + panels.LowBytes(cols) + 63) / 64 * 64;
}

void PackPanels(const Weight& w, int64_t begin, int64_t end, uint8_t* out) {
  const PanelType panels = TypeOf(w.type);
  const int64_t bytes = PanelBytes(w.type, w.cols);
  for (int64_t p = begin; p < end; ++p) {
    for (int64_t r = 0; r < kRows; ++r) {
      const uint8_t* row = w.row(p * kRows + r);
      if (w.head) {
        PackHeadRow(row, r, w.cols, out + p * bytes);
      } else {
        PackRow(w.type, row, r, w.cols, panels, out + p * bytes);
      }
    }
  }
}

const uint8_t* PanelScales(const Weight& w, int64_t p) {
  const int64_t codes = w.head ? HeadPlanes(w.cols / kColumns).scales : TypeOf(w.type).CodesBytes(w.cols);
  return w.panels + p * w.panel_bytes + codes;
}

void UnpackRow(const Weight& w, int64_t r, float* out) {
  const PanelType type = TypeOf(w.type);
  const int64_t lane = r % kRows;
  const uint8_t* codes = w.panels + r / kRows * w.panel_bytes;
  std::vector<uint8_t> plain;
  if (w.head) {
    plain.resize(static_cast<size_t>(w.panel_bytes));
    PlainPanel(codes, w.cols / kColumns, plain.data());
    codes = plain.data();
  }
  const uint8_t* scales = codes + type.CodesBytes(w.cols);
  const uint8_t* low = scales + type.ScalesBytes(w.cols);
  for (int64_t first = 0; first < w.cols; first += 16) {
    const int64_t b = first / kColumns, half = first / 16 % 2;
    const uint8_t* record = scales + first / type.values * type.record_bytes;
    const Steps steps = StepsOf(w.type, record, first % type.values / 16, lane);
    for (int64_t i = 0; i < 16; ++i) {
      const int64_t column = half * 16 + i;
      int code = codes[b * kCodeBytes + i / 4 * 64 + lane * 4 + i % 4] >> half * 4 & 15;
      if (type.low_bits > 0) {
        const int64_t plane = column / 4 % type.low_bits, field = column / 4 / type.low_bits;
        const uint8_t byte = low[(b * type.low_bits + plane) * 64 + lane * 4 + i % 4];
        code = code << type.low_bits | (byte >> field * type.low_bits & ((1 << type.low_bits) - 1));
      }
      out[first + i] = steps.step * static_cast<float>(code - type.bias) + steps.offset;
    }
  }
}

void MultiplyPanels(const hearth_kernels& kernels, const Weight& w, int64_t begin, int64_t end, int64_t cols,
                    const hearth_q8_rows& x, int64_t tokens, float* y, int64_t ldy) {
  const hearth_panel_fn multiply = PanelOf(kernels, w.type);
  const int64_t stored = w.cols / kColumns, blocks = cols / kColumns;
  std::vector<uint8_t> plain(w.head ? static_cast<size_t>(w.panel_bytes) : 0);
  for (int64_t p = begin; p < end; ++p) {
    const uint8_t* panel = w.panels + p * w.panel_bytes;
    if (w.head) {
      PlainPanel(panel, stored, plain.data());
      panel = plain.data();
    }
    multiply(panel, stored, blocks, &x, tokens, y + (p - begin) * kRows, ldy);
  }
}

}  // namespace hearth
