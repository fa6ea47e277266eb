// TextWeights::Pack: from the file's order to the kernels'.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "addon/model/weights.h"
#include "addon/ops/kernel_lookup.h"
#include "addon/ops/panels.h"

namespace hearth {
namespace {

// Whether a layer's FFN skips neurons: then up stays row-major and down becomes columns.
bool SkipsNeurons(const hearth_kernels& kernels, const LayerWeights& layer, float sparsity_z) {
  return std::isfinite(sparsity_z) && ColumnOf(kernels, layer.ffn_down.type) != nullptr &&
         RowOf(kernels, layer.ffn_up.type) != nullptr && layer.ffn_down.rows % 32 == 0 && layer.ffn_down.cols % 32 == 0;
}

// Bytes that the columns of a down projection take: codes, and a float16 scale for every 32 of them.
size_t ColumnCodeBytes(const Weight& w) {
  return static_cast<size_t>(ColumnWeight{.type = w.type}.CodeBytes(w.rows) * w.cols);
}
size_t ColumnScaleBytes(const Weight& w) { return static_cast<size_t>(w.cols / 32 * w.rows * 2); }
size_t ColumnBytes(const Weight& w) { return Arena::Rounded(ColumnCodeBytes(w)) + Arena::Rounded(ColumnScaleBytes(w)); }

// What there is to rearrange.
struct Plan {
  std::vector<Weight*> panels;
  struct Down {
    Weight* from;
    ColumnWeight* to;
  };
  std::vector<Down> columns;
  uint64_t bytes = 0;
  uint64_t stored_bytes = 0;  // of matrices that stay where they lie in the map

  Plan(TextWeights& w, const hearth_kernels& kernels, const Config& c) {
    const auto panel = [&](Weight& weight, int64_t multiple = HEARTH_PANEL_ROWS) {
      if (weight.empty()) return;
      if (multiple % HEARTH_PANEL_ROWS != 0 || !HasPanels(kernels, weight.type, weight.rows, weight.cols)) {
        stored_bytes += static_cast<uint64_t>(weight.rows * weight.row_bytes);
        return;
      }
      panels.push_back(&weight);
      bytes +=
          Arena::Rounded(static_cast<size_t>(weight.rows / HEARTH_PANEL_ROWS * PanelBytes(weight.type, weight.cols)));
    };
    panel(w.token_embd);
    panel(w.per_layer_model_proj, c.ple_dim);  // used a layer's rows at a time
    panel(w.altup_proj, c.hidden);
    panel(w.altup_unembd_proj, c.hidden);
    for (int i = 0; i < c.layers; ++i) {
      LayerWeights& l = w.layers[i];
      for (Weight* weight : {&l.attn_q, &l.attn_k, &l.attn_v, &l.attn_output, &l.ffn_gate, &l.laurel_l, &l.laurel_r,
                             &l.inp_gate, &l.proj}) {
        panel(*weight);
      }
      if (SkipsNeurons(kernels, l, c.sparsity_z[i])) {
        columns.push_back({&l.ffn_down, &l.ffn_down_columns});
        bytes += ColumnBytes(l.ffn_down);
        stored_bytes += static_cast<uint64_t>(l.ffn_up.rows * l.ffn_up.row_bytes);
      } else {
        panel(l.ffn_up);
        panel(l.ffn_down);
      }
    }
  }
};

// Outputs [begin, end), multiples of 32, of every neuron.
void PackColumns(const Weight& w, int64_t begin, int64_t end, uint8_t* codes, uint16_t* scales) {
  const bool q4 = w.type == HEARTH_Q4_0;
  const int64_t block_bytes = q4 ? 18 : 34, code_bytes = q4 ? w.rows / 2 : w.rows;
  for (int64_t r = begin; r < end; r += 32) {
    for (int64_t b = 0; b < w.cols / 32; ++b) {
      uint8_t tile[32][32];  // [output][neuron]
      for (int i = 0; i < 32; ++i) {
        const uint8_t* block = w.row(r + i) + b * block_bytes;
        std::memcpy(scales + b * w.rows + r + i, block, 2);
        for (int n = 0; n < 32; ++n) {
          tile[i][n] = !q4 ? block[2 + n] : static_cast<uint8_t>(n < 16 ? block[2 + n] & 15 : block[2 + n - 16] >> 4);
        }
      }
      for (int n = 0; n < 32; ++n) {
        uint8_t* out = codes + (b * 32 + n) * code_bytes + (q4 ? r / 2 : r);
        if (q4) {
          for (int i = 0; i < 16; ++i) out[i] = static_cast<uint8_t>(tile[i][n] | tile[i + 16][n] << 4);
        } else {
          for (int i = 0; i < 32; ++i) out[i] = tile[i][n];
        }
      }
    }
  }
}

}  // namespace

int64_t ColumnWeight::CodeBytes(int64_t values) const { return type == HEARTH_Q4_0 ? values / 2 : values; }

uint64_t TextWeights::ResidentBytes(const hearth_kernels& kernels, const Config& config) const {
  // Plan only notes where things are; the weights stay as they are.
  const Plan plan(const_cast<TextWeights&>(*this), kernels, config);
  return plan.bytes + plan.stored_bytes;
}

Status TextWeights::Pack(const hearth_kernels& kernels, const Config& config, ThreadPool& pool) {
  const Plan plan(*this, kernels, config);
  HEARTH_RETURN_IF_ERROR(arena.Reserve(plan.bytes));
  const auto drop = [&](const Weight& w) { file->Drop(w.data, static_cast<uint64_t>(w.rows * w.row_bytes)); };
  // The head is a third of everything: pages are given back every so many panels.
  constexpr int64_t kStep = 1024;
  for (Weight* weight : plan.panels) {
    const int64_t panels = weight->rows / HEARTH_PANEL_ROWS, bytes = PanelBytes(weight->type, weight->cols);
    uint8_t* out = arena.Take(static_cast<size_t>(panels * bytes));
    for (int64_t first = 0; first < panels; first += kStep) {
      const int64_t count = std::min(kStep, panels - first);
      pool.For(count, 1,
               [&](int64_t begin, int64_t end, int) { PackPanels(*weight, first + begin, first + end, out); });
      drop(weight->Rows(first * HEARTH_PANEL_ROWS, count * HEARTH_PANEL_ROWS));
    }
    weight->panels = out;
    weight->panel_bytes = bytes;
    weight->data = nullptr;
  }
  for (const Plan::Down& down : plan.columns) {
    const Weight& w = *down.from;
    uint8_t* codes = arena.Take(ColumnCodeBytes(w));
    uint16_t* scales = reinterpret_cast<uint16_t*>(arena.Take(ColumnScaleBytes(w)));
    pool.For(w.rows, 32, [&](int64_t begin, int64_t end, int) { PackColumns(w, begin, end, codes, scales); });
    drop(w);
    *down.to = {w.type, w.rows, codes, scales};
    *down.from = Weight();
  }
  return Status();
}

}  // namespace hearth
