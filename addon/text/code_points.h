// Sets of Unicode characters, and the bytes that write them inside a JSON string.
#ifndef HEARTH_TEXT_CODE_POINTS_H_
#define HEARTH_TEXT_CODE_POINTS_H_

#include <cstdint>
#include <vector>

#include "addon/text/grammar_nodes.h"

namespace hearth {

class CodePointSet {
 public:
  struct Range {
    uint32_t first, last;
  };

  CodePointSet() = default;
  explicit CodePointSet(std::vector<Range> ranges) : ranges_(std::move(ranges)) {}

  void Add(uint32_t first, uint32_t last) { ranges_.push_back({first, last}); }
  void Add(const CodePointSet& other) { ranges_.insert(ranges_.end(), other.ranges_.begin(), other.ranges_.end()); }
  // All others, up to U+10FFFF.
  CodePointSet Complement() const;
  // In order, apart from each other, without the surrogates, which are no characters.
  std::vector<Range> Ranges() const;

 private:
  std::vector<Range> ranges_;
};

// One character of the set as it stands in a JSON string: UTF-8, or the shortest escape where JSON demands one.
NodeId CharacterNode(GrammarNodes& nodes, const CodePointSet& set);

}  // namespace hearth

#endif  // HEARTH_TEXT_CODE_POINTS_H_
