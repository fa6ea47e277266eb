// The language a reply must be in, as a tree (with references back, for recursive schemas) over bytes. Built once by the
// schema compiler, then only read.
#ifndef HEARTH_TEXT_GRAMMAR_NODES_H_
#define HEARTH_TEXT_GRAMMAR_NODES_H_

#include <bitset>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "addon/base/status.h"

namespace hearth {

using NodeId = int32_t;
using ByteSet = std::bitset<256>;

struct GrammarNode {
  enum class Kind : uint8_t {
    kEmpty,     // nothing
    kBytes,     // one byte of `bytes`
    kLiteral,   // exactly `literal`, not empty
    kSequence,  // `children`, one after the other
    kChoice,    // one of `children`; none of them: nothing fits
    kRepeat,    // children[0], `min` to `max` times
    kRule,      // whatever children[0] is; may be filled in later, and so lead back here
  };
  static constexpr int32_t kUnbounded = INT32_MAX;

  Kind kind = Kind::kEmpty;
  ByteSet bytes;
  std::string literal;
  std::vector<NodeId> children;
  int32_t min = 0, max = 0;
};

class GrammarNodes {
 public:
  static constexpr size_t kMaxNodes = 200'000;
  static constexpr NodeId kEmptyNode = 0;

  GrammarNodes() : nodes_(1) {}

  NodeId Bytes(const ByteSet& bytes);
  NodeId Byte(unsigned char byte);
  NodeId Range(unsigned char first, unsigned char last);
  NodeId Literal(std::string_view text);
  NodeId Sequence(std::vector<NodeId> children);
  NodeId Choice(std::vector<NodeId> children);
  NodeId Optional(NodeId child) { return Repeat(child, 0, 1); }
  NodeId Repeat(NodeId child, int32_t min, int32_t max);
  NodeId Rule();
  void SetRule(NodeId rule, NodeId body) { nodes_[static_cast<size_t>(rule)].children = {body}; }

  const GrammarNode& node(NodeId id) const { return nodes_[static_cast<size_t>(id)]; }
  size_t size() const { return nodes_.size(); }
  bool full() const { return nodes_.size() >= kMaxNodes; }

  // SCHEMA_INVALID when something can never end (a required part that contains itself), or can begin with itself.
  Status CheckRecursion(NodeId root) const;

 private:
  NodeId Add(GrammarNode node);

  std::vector<GrammarNode> nodes_;
};

}  // namespace hearth

#endif  // HEARTH_TEXT_GRAMMAR_NODES_H_
