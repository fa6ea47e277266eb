#include "addon/text/code_points.h"

#include <algorithm>
#include <string>

#include "addon/text/json.h"
#include "addon/text/utf8.h"

namespace hearth {
namespace {

constexpr uint32_t kLast = 0x10ffff;

std::string Encode(uint32_t code) {
  std::string bytes;
  AppendUtf8(code, bytes);
  return bytes;
}

// Splits until both ends differ in a run of last bytes that goes over the whole of 80 to BF: then it is one range a
// byte.
void AddUtf8(GrammarNodes& nodes, uint32_t first, uint32_t last, std::vector<NodeId>& choices) {
  for (const uint32_t longest : {0x7fu, 0x7ffu, 0xffffu}) {
    if (first <= longest && longest < last) {
      AddUtf8(nodes, first, longest, choices);
      return AddUtf8(nodes, longest + 1, last, choices);
    }
  }
  const std::string low = Encode(first), high = Encode(last);
  for (size_t tail = 1; tail < low.size(); ++tail) {
    const uint32_t mask = (1u << (6 * tail)) - 1;
    if ((first & ~mask) == (last & ~mask)) continue;
    if ((first & mask) != 0) {
      AddUtf8(nodes, first, first | mask, choices);
      return AddUtf8(nodes, (first | mask) + 1, last, choices);
    }
    if ((last & mask) != mask) {
      AddUtf8(nodes, first, (last & ~mask) - 1, choices);
      return AddUtf8(nodes, last & ~mask, last, choices);
    }
  }
  std::vector<NodeId> bytes;
  for (size_t i = 0; i < low.size(); ++i) {
    bytes.push_back(nodes.Range(static_cast<unsigned char>(low[i]), static_cast<unsigned char>(high[i])));
  }
  choices.push_back(nodes.Sequence(std::move(bytes)));
}

}  // namespace

CodePointSet CodePointSet::Complement() const {
  CodePointSet others;
  uint32_t next = 0;
  for (const Range& range : Ranges()) {
    if (range.first > next) others.Add(next, range.first - 1);
    next = range.last + 1;
  }
  if (next <= kLast) others.Add(next, kLast);
  return others;
}

std::vector<CodePointSet::Range> CodePointSet::Ranges() const {
  std::vector<Range> sorted;
  for (const Range& range : ranges_) {
    if (range.first < 0xd800) sorted.push_back({range.first, std::min(range.last, 0xd7ffu)});
    if (range.last > 0xdfff) sorted.push_back({std::max(range.first, 0xe000u), std::min(range.last, kLast)});
  }
  std::sort(sorted.begin(), sorted.end(), [](const Range& a, const Range& b) { return a.first < b.first; });
  std::vector<Range> merged;
  for (const Range& range : sorted) {
    if (range.first > range.last) continue;
    if (!merged.empty() && range.first <= merged.back().last + 1) {
      merged.back().last = std::max(merged.back().last, range.last);
    } else {
      merged.push_back(range);
    }
  }
  return merged;
}

NodeId CharacterNode(GrammarNodes& nodes, const CodePointSet& set) {
  ByteSet plain;
  std::vector<NodeId> choices;
  std::vector<std::string> escapes;
  for (const CodePointSet::Range& range : set.Ranges()) {
    for (uint32_t code = range.first; code <= std::min(range.last, 0x7fu); ++code) {
      const std::string quoted = QuoteJson(std::string(1, static_cast<char>(code)));
      if (quoted.size() == 3) {
        plain.set(code);
      } else {
        escapes.push_back(quoted.substr(1, quoted.size() - 2));
      }
    }
    if (range.last > 0x7f) AddUtf8(nodes, std::max(range.first, 0x80u), range.last, choices);
  }
  if (!escapes.empty()) choices.push_back(nodes.Literals(std::move(escapes)));
  if (plain.any()) choices.push_back(nodes.Bytes(plain));
  return nodes.Choice(std::move(choices));
}

}  // namespace hearth
