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

size_t ColumnBytes(const Weight& w, const ColumnWeight& columns) {
  return Arena::Rounded(static_cast<size_t>(columns.CodeBytes(w.rows) * w.cols)) +
         Arena::Rounded(static_cast<size_t>(w.cols / 32 * w.rows * 2));
}

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
        ColumnWeight& down = l.ffn_down_columns;
        down.type = l.ffn_down.type;
        down.rows = l.ffn_down.rows;
        columns.push_back({&l.ffn_down, &down});
        bytes += ColumnBytes(l.ffn_down, down);
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
  TextWeights copy;  // Plan notes what it would do in the weights it is given
  copy.token_embd = token_embd;
  copy.per_layer_model_proj = per_layer_model_proj;
  copy.altup_proj = altup_proj;
  copy.altup_unembd_proj = altup_unembd_proj;
  for (const LayerWeights& l : layers) {
    LayerWeights& to = copy.layers.emplace_back();
    to.attn_q = l.attn_q, to.attn_k = l.attn_k, to.attn_v = l.attn_v, to.attn_output = l.attn_output;
    to.ffn_gate = l.ffn_gate, to.ffn_up = l.ffn_up, to.ffn_down = l.ffn_down;
    to.laurel_l = l.laurel_l, to.laurel_r = l.laurel_r, to.inp_gate = l.inp_gate, to.proj = l.proj;
  }
  const Plan plan(copy, kernels, config);
  return plan.bytes + plan.stored_bytes;
}

Status TextWeights::Pack(const hearth_kernels& kernels, const Config& config, ThreadPool& pool,
                         const std::function<void(double)>& progress) {
  const Plan plan(*this, kernels, config);
  HEARTH_RETURN_IF_ERROR(arena.Reserve(plan.bytes));
  uint64_t done = 0;
  const auto finished = [&](const Weight& w, uint64_t bytes) {
    file->Drop(w.data, static_cast<uint64_t>(w.rows * w.row_bytes));
    done += bytes;
    if (progress) progress(static_cast<double>(done) / static_cast<double>(plan.bytes));
  };
  // The head is a third of everything: pages are given back, and progress told, every so many panels.
  constexpr int64_t kStep = 1024;
  for (Weight* weight : plan.panels) {
    const int64_t panels = weight->rows / HEARTH_PANEL_ROWS, bytes = PanelBytes(weight->type, weight->cols);
    uint8_t* out = arena.Take(static_cast<size_t>(panels * bytes));
    for (int64_t first = 0; first < panels; first += kStep) {
      const int64_t count = std::min(kStep, panels - first);
      pool.For(count, 1,
               [&](int64_t begin, int64_t end, int) { PackPanels(*weight, first + begin, first + end, out); });
      finished(weight->Rows(first * HEARTH_PANEL_ROWS, count * HEARTH_PANEL_ROWS),
               static_cast<uint64_t>(count * bytes));
    }
    weight->panels = out;
    weight->panel_bytes = bytes;
    weight->data = nullptr;
  }
  for (const Plan::Down& down : plan.columns) {
    const Weight& w = *down.from;
    const size_t code_bytes = static_cast<size_t>(down.to->CodeBytes(w.rows) * w.cols);
    uint8_t* codes = arena.Take(code_bytes);
    uint16_t* scales = reinterpret_cast<uint16_t*>(arena.Take(static_cast<size_t>(w.cols / 32 * w.rows * 2)));
    pool.For(w.rows, 32, [&](int64_t begin, int64_t end, int) { PackColumns(w, begin, end, codes, scales); });
    finished(w, ColumnBytes(w, *down.to));
    down.to->codes = codes;
    down.to->scales = scales;
    *down.from = Weight();
  }
  return Status();
}

}  // namespace hearth
