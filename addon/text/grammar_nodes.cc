#include "addon/text/grammar_nodes.h"

#include <algorithm>

namespace hearth {

using Kind = GrammarNode::Kind;

NodeId GrammarNodes::Add(GrammarNode node) {
  // The compiler asks full() as it goes and gives up; until it does, the last node stands in.
  if (full()) return static_cast<NodeId>(nodes_.size() - 1);
  nodes_.push_back(std::move(node));
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

NodeId GrammarNodes::Sequence(std::vector<NodeId> children) {
  if (children.size() == 1) return children[0];
  GrammarNode node;
  node.kind = Kind::kSequence;
  node.children = std::move(children);
  return Add(std::move(node));
}

NodeId GrammarNodes::Choice(std::vector<NodeId> children) {
  if (children.size() == 1) return children[0];
  GrammarNode node;
  node.kind = Kind::kChoice;
  node.children = std::move(children);
  return Add(std::move(node));
}

NodeId GrammarNodes::Repeat(NodeId child, int32_t min, int32_t max) {
  if (max == 0) return kEmptyNode;
  if (min == 1 && max == 1) return child;
  GrammarNode node;
  node.kind = Kind::kRepeat;
  node.children = {child};
  node.min = min;
  node.max = max;
  return Add(std::move(node));
}

NodeId GrammarNodes::Rule() {
  GrammarNode node;
  node.kind = Kind::kRule;
  return Add(std::move(node));
}

Status GrammarNodes::CheckRecursion(NodeId root) const {
  // Which nodes can produce some text, and which can produce none at all: least fixed points.
  const size_t n = nodes_.size();
  std::vector<bool> ends(n, false), nullable(n, false);
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t i = n; i-- > 0;) {
      const GrammarNode& node = nodes_[i];
      const auto all = [&](const std::vector<bool>& what) { return std::all_of(node.children.begin(), node.children.end(), [&](NodeId c) { return what[static_cast<size_t>(c)]; }); };
      const auto any = [&](const std::vector<bool>& what) { return std::any_of(node.children.begin(), node.children.end(), [&](NodeId c) { return what[static_cast<size_t>(c)]; }); };
      bool end = false, null = false;
      switch (node.kind) {
        case Kind::kEmpty:
          end = null = true;
          break;
        case Kind::kBytes:
          end = node.bytes.any();
          break;
        case Kind::kLiteral:
          end = true;
          break;
        case Kind::kSequence:
          end = all(ends);
          null = all(nullable);
          break;
        case Kind::kChoice:
          end = any(ends);
          null = any(nullable);
          break;
        case Kind::kRepeat:
          end = node.min == 0 || all(ends);
          null = node.min == 0 || all(nullable);
          break;
        case Kind::kRule:
          end = !node.children.empty() && all(ends);
          null = !node.children.empty() && all(nullable);
          break;
      }
      if (end != ends[i] || null != nullable[i]) {
        ends[i] = end;
        nullable[i] = null;
        changed = true;
      }
    }
  }
  if (!ends[static_cast<size_t>(root)]) return Error(Code::SCHEMA_INVALID, "no finite value fits the schema: something required contains itself, or a choice is empty");

  // Depth-first over "may be at the very beginning of": a node met again on its own path begins with itself.
  enum class Mark : uint8_t { kNew, kOpen, kDone };
  std::vector<Mark> marks(n, Mark::kNew);
  struct Visit {
    NodeId node;
    size_t next;
  };
  for (size_t start = 0; start < n; ++start) {
    if (marks[start] != Mark::kNew) continue;
    std::vector<Visit> path = {{static_cast<NodeId>(start), 0}};
    marks[start] = Mark::kOpen;
    while (!path.empty()) {
      Visit& visit = path.back();
      const GrammarNode& node = nodes_[static_cast<size_t>(visit.node)];
      const bool blocked = node.kind == Kind::kSequence && visit.next > 0 && !nullable[static_cast<size_t>(node.children[visit.next - 1])];
      if (blocked || visit.next == node.children.size()) {
        marks[static_cast<size_t>(visit.node)] = Mark::kDone;
        path.pop_back();
        continue;
      }
      const NodeId child = node.children[visit.next++];
      Mark& mark = marks[static_cast<size_t>(child)];
      if (mark == Mark::kOpen) return Error(Code::SCHEMA_INVALID, "a $ref leads back to itself before anything of the value is written");
      if (mark == Mark::kNew) {
        mark = Mark::kOpen;
        path.push_back({child, 0});
      }
    }
  }
  return Status();
}

}  // namespace hearth
