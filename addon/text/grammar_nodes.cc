#include "addon/text/grammar_nodes.h"

#include <algorithm>

namespace hearth {

using Kind = GrammarNode::Kind;

GrammarNodes::GrammarNodes() : nodes_(1) { nodes_[0].nullable = true; }

NodeId GrammarNodes::Add(GrammarNode node) {
  // The compiler asks full() as it goes and gives up; until it does, the last node stands in.
  if (!full()) nodes_.push_back(std::move(node));
  return static_cast<NodeId>(nodes_.size() - 1);
}

NodeId GrammarNodes::Bytes(const ByteSet& bytes) {
  GrammarNode node;
  node.kind = Kind::kBytes;
  node.bytes = bytes;
  return Add(std::move(node));
}

NodeId GrammarNodes::Byte(unsigned char byte) { return Range(byte, byte); }

NodeId GrammarNodes::Range(unsigned char first, unsigned char last) {
  ByteSet bytes;
  for (int b = first; b <= last; ++b) bytes.set(static_cast<size_t>(b));
  return Bytes(bytes);
}

NodeId GrammarNodes::Literal(std::string_view text) {
  if (text.empty()) return kEmptyNode;
  GrammarNode node;
  node.kind = Kind::kLiteral;
  node.literal = std::string(text);
  return Add(std::move(node));
}

NodeId GrammarNodes::Literals(std::vector<std::string> texts) {
  std::sort(texts.begin(), texts.end());
  texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
  return LiteralTree(texts, 0, texts.size(), 0);
}

// texts[begin, end) are sorted, differ, and agree in their first `from` bytes.
NodeId GrammarNodes::LiteralTree(const std::vector<std::string>& texts, size_t begin, size_t end, size_t from) {
  if (begin == end) return Choice({});
  if (end - begin == 1) return Literal(std::string_view(texts[begin]).substr(from));
  std::vector<NodeId> choices;
  if (texts[begin].size() == from) {
    choices.push_back(kEmptyNode);
    ++begin;
  }
  while (begin < end && !full()) {
    const char first = texts[begin][from];
    size_t to = begin + 1;
    while (to < end && texts[to][from] == first) ++to;
    // What the first and the last of a sorted run share, all of it does.
    const std::string& a = texts[begin];
    const std::string& b = texts[to - 1];
    const size_t shared = static_cast<size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
    const NodeId head = Literal(std::string_view(a).substr(from, shared - from));
    choices.push_back(to - begin == 1 ? head : Sequence({head, LiteralTree(texts, begin, to, shared)}));
    begin = to;
  }
  return Choice(std::move(choices));
}

NodeId GrammarNodes::Sequence(std::vector<NodeId> children) {
  if (children.size() == 1) return children[0];
  GrammarNode node;
  node.kind = Kind::kSequence;
  node.nullable = std::all_of(children.begin(), children.end(), [&](NodeId c) { return this->node(c).nullable; });
  node.children = std::move(children);
  return Add(std::move(node));
}

NodeId GrammarNodes::Choice(std::vector<NodeId> children) {
  if (children.size() == 1) return children[0];
  GrammarNode node;
  node.kind = Kind::kChoice;
  node.nullable = std::any_of(children.begin(), children.end(), [&](NodeId c) { return this->node(c).nullable; });
  node.children = std::move(children);
  return Add(std::move(node));
}

NodeId GrammarNodes::Repeat(NodeId child, int32_t min, int32_t max) {
  if (max == 0 || child == kEmptyNode) return kEmptyNode;
  if (min == 1 && max == 1) return child;
  // Rounds that write nothing would make many ways of the same text: leave them out, and any number of rounds will do.
  if (node(child).nullable) {
    child = NonEmpty(child);
    min = 0;
  }
  GrammarNode node;
  node.kind = Kind::kRepeat;
  node.nullable = min == 0;
  node.children = {child};
  node.min = min;
  node.max = max;
  return Add(std::move(node));
}

NodeId GrammarNodes::NonEmpty(NodeId id) {
  const GrammarNode node = nodes_[static_cast<size_t>(id)];
  if (!node.nullable) return id;
  switch (node.kind) {
    case Kind::kSequence: {
      // The first part that is not empty may be any of them; those after it are as they were.
      std::vector<NodeId> choices;
      NodeId rest = kEmptyNode;
      for (size_t i = node.children.size(); i-- > 0 && !full();) {
        choices.push_back(Sequence({NonEmpty(node.children[i]), rest}));
        rest = Sequence({node.children[i], rest});
      }
      return Choice(std::move(choices));
    }
    case Kind::kChoice: {
      std::vector<NodeId> choices;
      for (const NodeId child : node.children) {
        if (child != kEmptyNode) choices.push_back(NonEmpty(child));
      }
      return Choice(std::move(choices));
    }
    case Kind::kRepeat: {
      const int32_t more = node.max == GrammarNode::kUnbounded ? node.max : node.max - 1;
      return Sequence({node.children[0], Repeat(node.children[0], 0, more)});
    }
    default:
      return Choice({});
  }
}

NodeId GrammarNodes::Rule() {
  GrammarNode node;
  node.kind = Kind::kRule;
  return Add(std::move(node));
}

int32_t GrammarNodes::MinDepth(const GrammarNode& node) const {
  constexpr int32_t kNever = kMaxRuleDepth + 1;
  const auto depth = [&](NodeId child) { return this->node(child).min_depth; };
  int32_t result;
  switch (node.kind) {
    case Kind::kEmpty:
    case Kind::kLiteral:
      return 0;
    case Kind::kBytes:
      return node.bytes.any() ? 0 : kNever;
    case Kind::kSequence:
      result = 0;
      for (const NodeId child : node.children) result = std::max(result, depth(child));
      return result;
    case Kind::kChoice:
      result = kNever;
      for (const NodeId child : node.children) result = std::min(result, depth(child));
      return result;
    case Kind::kRepeat:
      return node.min == 0 ? 0 : depth(node.children[0]);
    case Kind::kRule:
      return node.children.empty() ? kNever : std::min(kNever, depth(node.children[0]) + 1);
  }
  return kNever;
}

Status GrammarNodes::Finish(NodeId root) {
  HEARTH_RETURN_IF_ERROR(CheckLeftRecursion());
  for (GrammarNode& node : nodes_) node.min_depth = kMaxRuleDepth + 1;
  // A pass settles all that is one rule deeper than what the pass before settled.
  bool changed = true;
  for (int pass = 0; changed && pass <= kMaxRuleDepth + 1; ++pass) {
    changed = false;
    for (GrammarNode& node : nodes_) {
      const int32_t depth = MinDepth(node);
      changed |= depth != node.min_depth;
      node.min_depth = depth;
    }
  }
  if (node(root).min_depth <= kMaxRuleDepth) return Status();
  return Error(Code::SCHEMA_INVALID,
               "the schema: no value that is nested less than %d levels deep fits (something required contains itself, "
               "or a choice is empty)",
               kMaxRuleDepth);
}

// Depth-first over "may be at the very beginning of": a node met again on its own path begins with itself.
Status GrammarNodes::CheckLeftRecursion() const {
  enum class Mark : uint8_t { kNew, kOpen, kDone };
  struct Visit {
    NodeId node;
    size_t next;
  };
  std::vector<Mark> marks(nodes_.size(), Mark::kNew);
  for (size_t start = 0; start < nodes_.size(); ++start) {
    if (marks[start] != Mark::kNew) continue;
    std::vector<Visit> path = {{static_cast<NodeId>(start), 0}};
    marks[start] = Mark::kOpen;
    while (!path.empty()) {
      Visit& visit = path.back();
      const GrammarNode& node = this->node(visit.node);
      const bool blocked =
          node.kind == Kind::kSequence && visit.next > 0 && !this->node(node.children[visit.next - 1]).nullable;
      if (blocked || visit.next == node.children.size()) {
        marks[static_cast<size_t>(visit.node)] = Mark::kDone;
        path.pop_back();
        continue;
      }
      const NodeId child = node.children[visit.next++];
      Mark& mark = marks[static_cast<size_t>(child)];
      if (mark == Mark::kOpen)
        return Error(Code::SCHEMA_INVALID,
                     "the schema: a $ref leads back to itself before anything of the value is written");
      if (mark == Mark::kNew) {
        mark = Mark::kOpen;
        path.push_back({child, 0});
      }
    }
  }
  return Status();
}

}  // namespace hearth
