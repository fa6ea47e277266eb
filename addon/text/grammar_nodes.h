// The language a reply must be in, as a tree (with references back, for recursive schemas) over bytes. Built once by
// the schema compiler, then only read.
//
// A node's children are made before it, except a rule's; so one pass over the nodes in order meets children first.
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
    kRepeat,    // children[0], which is never empty, `min` to `max` times
    kRule,      // whatever children[0] is, which is never empty; filled in later, and may lead back here
  };
  static constexpr int32_t kUnbounded = INT32_MAX;

  Kind kind = Kind::kEmpty;
  bool nullable = false;  // the empty text fits
  // How deep rules lie in each other at least in a text that fits; over kMaxRuleDepth when none does. Set by Finish.
  int32_t min_depth = 0;
  int32_t min = 0, max = 0;
  ByteSet bytes;
  std::string literal;
  std::vector<NodeId> children;
};

class GrammarNodes {
 public:
  static constexpr size_t kMaxNodes = 200'000;
  static constexpr NodeId kEmptyNode = 0;
  // Rules, which references and nested values of any kind are, lie at most this deep in each other in a reply.
  static constexpr int32_t kMaxRuleDepth = 64;

  GrammarNodes();

  NodeId Bytes(const ByteSet& bytes);
  NodeId Byte(unsigned char byte);
  NodeId Range(unsigned char first, unsigned char last);
  NodeId Literal(std::string_view text);
  // One of several literals, as a tree of what they begin with, so that many of them cost no more than few.
  NodeId Literals(std::vector<std::string> texts);
  NodeId Sequence(std::vector<NodeId> children);
  NodeId Choice(std::vector<NodeId> children);
  NodeId Optional(NodeId child) { return Repeat(child, 0, 1); }
  NodeId Repeat(NodeId child, int32_t min, int32_t max);
  NodeId Rule();
  // `body` must not be nullable; no JSON value is.
  void SetRule(NodeId rule, NodeId body) { nodes_[static_cast<size_t>(rule)].children = {body}; }

  const GrammarNode& node(NodeId id) const { return nodes_[static_cast<size_t>(id)]; }
  size_t size() const { return nodes_.size(); }
  // Then what is built is wrong, and whoever builds has to give up.
  bool full() const { return nodes_.size() >= kMaxNodes; }

  // Works out min_depth. SCHEMA_INVALID when no text fits `root`, or when something can begin with itself.
  Status Finish(NodeId root);

 private:
  NodeId Add(GrammarNode node);
  // `node` without the empty text.
  NodeId NonEmpty(NodeId node);
  NodeId LiteralTree(const std::vector<std::string>& texts, size_t begin, size_t end, size_t from);
  int32_t MinDepth(const GrammarNode& node) const;
  Status CheckLeftRecursion() const;

  std::vector<GrammarNode> nodes_;
};

}  // namespace hearth

#endif  // HEARTH_TEXT_GRAMMAR_NODES_H_
