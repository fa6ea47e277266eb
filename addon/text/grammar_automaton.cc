#include "addon/text/grammar_automaton.h"

#include <algorithm>

namespace hearth {
namespace {

using Kind = GrammarNode::Kind;

size_t Mix(size_t hash, size_t value) { return (hash ^ value) * 0x9e3779b97f4a7c15 + (hash >> 29); }

}  // namespace

size_t GrammarAutomaton::CellHash::operator()(const Cell& cell) const {
  const size_t top = Mix(static_cast<size_t>(cell.node), static_cast<size_t>(cell.count));
  return Mix(Mix(top, static_cast<size_t>(cell.depth)), static_cast<size_t>(cell.rest));
}

size_t GrammarAutomaton::CellsHash::operator()(const std::vector<CellId>& cells) const {
  size_t hash = cells.size();
  for (const CellId cell : cells) hash = Mix(hash, static_cast<size_t>(cell));
  return hash;
}

GrammarAutomaton::GrammarAutomaton(const GrammarNodes& nodes, NodeId root)
    : nodes_(nodes), root_(root), cells_(1), seen_(1) {}

GrammarAutomaton::StateId GrammarAutomaton::Start() {
  Frontier frontier;
  ++frontiers_;
  Expand(Push({root_, 0, 0, kDone}), frontier);
  return Intern(std::move(frontier));
}

GrammarAutomaton::CellId GrammarAutomaton::Push(const Cell& cell) {
  const auto [it, fresh] = cell_ids_.emplace(cell, static_cast<CellId>(cells_.size()));
  if (fresh) {
    cells_.push_back(cell);
    seen_.push_back(0);
  }
  return it->second;
}

void GrammarAutomaton::Expand(CellId top, Frontier& frontier) {
  todo_.assign(1, top);
  while (!todo_.empty() && frontier.cells.size() < kMaxStacks) {
    const CellId id = todo_.back();
    todo_.pop_back();
    ++work_;
    if (id == kDone) {
      frontier.complete = true;
      continue;
    }
    if (seen_[static_cast<size_t>(id)] == frontiers_) continue;
    seen_[static_cast<size_t>(id)] = frontiers_;
    const Cell cell = this->cell(id);
    const GrammarNode& node = nodes_.node(cell.node);
    const auto fits = [&](NodeId child) {
      return cell.depth + nodes_.node(child).min_depth <= GrammarNodes::kMaxRuleDepth;
    };
    switch (node.kind) {
      case Kind::kEmpty:
        todo_.push_back(cell.rest);
        break;
      case Kind::kBytes:
      case Kind::kLiteral:
        frontier.cells.push_back(id);
        break;
      case Kind::kSequence: {
        CellId rest = cell.rest;
        for (size_t i = node.children.size(); i-- > 0;) rest = Push({node.children[i], 0, cell.depth, rest});
        todo_.push_back(rest);
        break;
      }
      case Kind::kChoice:
        for (const NodeId child : node.children) {
          if (fits(child)) todo_.push_back(Push({child, 0, cell.depth, cell.rest}));
        }
        break;
      case Kind::kRepeat:
        if (cell.count >= node.min) todo_.push_back(cell.rest);
        if (cell.count < node.max && fits(node.children[0])) {
          // Without an upper bound, counting past the lower one would only make new states.
          const int32_t count =
              node.max == GrammarNode::kUnbounded ? std::min(cell.count + 1, node.min) : cell.count + 1;
          todo_.push_back(Push({node.children[0], 0, cell.depth, Push({cell.node, count, cell.depth, cell.rest})}));
        }
        break;
      case Kind::kRule:
        todo_.push_back(Push({node.children[0], 0, cell.depth + 1, cell.rest}));
        break;
    }
  }
}

GrammarAutomaton::StateId GrammarAutomaton::Intern(Frontier frontier) {
  if (frontier.cells.empty() && !frontier.complete) return kDead;
  std::sort(frontier.cells.begin(), frontier.cells.end());
  std::vector<CellId> key = frontier.cells;
  if (frontier.complete) key.push_back(kDone);
  const auto [it, fresh] = state_ids_.emplace(std::move(key), static_cast<StateId>(states_.size()));
  if (fresh) {
    stored_ += 16 + frontier.cells.size();
    states_.push_back({std::move(frontier.cells), frontier.complete, nullptr});
  }
  return it->second;
}

GrammarAutomaton::StateId GrammarAutomaton::Step(StateId from, unsigned char byte) {
  {
    std::unique_ptr<std::array<StateId, 256>>& next = states_[static_cast<size_t>(from)].next;
    if (next == nullptr) {
      next = std::make_unique<std::array<StateId, 256>>();
      next->fill(kUnknown);
      stored_ += sizeof *next / 8;
    }
    if ((*next)[byte] != kUnknown) return (*next)[byte];
  }
  Frontier frontier;
  ++frontiers_;
  // No state is added before Intern, so `cells` stays where it is.
  const std::vector<CellId>& cells = state(from).cells;
  work_ += cells.size();
  for (const CellId id : cells) {
    const Cell cell = this->cell(id);
    const GrammarNode& node = nodes_.node(cell.node);
    if (node.kind == Kind::kBytes) {
      if (node.bytes[byte]) Expand(cell.rest, frontier);
    } else if (static_cast<unsigned char>(node.literal[static_cast<size_t>(cell.count)]) == byte) {
      const bool last = static_cast<size_t>(cell.count) + 1 == node.literal.size();
      Expand(last ? cell.rest : Push({cell.node, cell.count + 1, cell.depth, cell.rest}), frontier);
    }
  }
  const StateId to = Intern(std::move(frontier));
  (*states_[static_cast<size_t>(from)].next)[byte] = to;
  return to;
}

GrammarAutomaton::StateId GrammarAutomaton::Run(StateId state, std::string_view bytes) {
  for (const char byte : bytes) {
    if (state == kDead) break;
    state = Step(state, static_cast<unsigned char>(byte));
  }
  return state;
}

ByteSet GrammarAutomaton::Next(StateId id) const {
  ByteSet next;
  for (const CellId cell_id : state(id).cells) {
    const Cell& top = cell(cell_id);
    const GrammarNode& node = nodes_.node(top.node);
    if (node.kind == Kind::kBytes) {
      next |= node.bytes;
    } else {
      next.set(static_cast<unsigned char>(node.literal[static_cast<size_t>(top.count)]));
    }
  }
  return next;
}

bool GrammarAutomaton::SpaceIsOptional(StateId id) {
  ByteSet next = Next(id);
  if (!next[' ']) return false;
  const StateId after = Step(id, ' ');
  return after != kDead && Next(after) == next.reset(' ');
}

// Every round of a repeat takes a byte at least: a bound that is more than `bytes` rounds away cannot be met.
GrammarAutomaton::CellId GrammarAutomaton::ResemblingCell(CellId id, int32_t bytes) {
  if (id == kDone) return kDone;
  const uint64_t key = static_cast<uint64_t>(id) << 32 | static_cast<uint32_t>(bytes);
  if (const auto it = resembling_.find(key); it != resembling_.end()) return it->second;
  Cell like = cell(id);
  const GrammarNode& node = nodes_.node(like.node);
  if (node.kind == Kind::kRepeat) {
    if (like.count < node.min && node.min - like.count > bytes) {
      like.count = 0;
    } else if (like.count >= node.min && node.max - like.count > bytes) {
      like.count = node.min;
    }
  }
  like.rest = ResemblingCell(like.rest, bytes);
  return resembling_[key] = Push(like);
}

GrammarAutomaton::StateId GrammarAutomaton::Resembling(StateId id, int32_t bytes) {
  Frontier frontier;
  frontier.complete = complete(id);
  for (const CellId cell : state(id).cells) frontier.cells.push_back(ResemblingCell(cell, bytes));
  std::sort(frontier.cells.begin(), frontier.cells.end());
  frontier.cells.erase(std::unique(frontier.cells.begin(), frontier.cells.end()), frontier.cells.end());
  return Intern(std::move(frontier));
}

GrammarAutomaton::StateId GrammarAutomaton::Forget(StateId keep) {
  const std::vector<Cell> old = std::move(cells_);
  Frontier frontier{std::move(states_[static_cast<size_t>(keep)].cells), states_[static_cast<size_t>(keep)].complete};
  cells_.assign(1, Cell());
  seen_.assign(1, 0);
  cell_ids_.clear();
  states_.clear();
  state_ids_.clear();
  resembling_.clear();
  stored_ = 0;
  std::unordered_map<CellId, CellId> moved = {{kDone, kDone}};
  std::vector<CellId> chain;
  for (CellId& id : frontier.cells) {
    CellId at = id;
    for (; !moved.contains(at); at = old[static_cast<size_t>(at)].rest) chain.push_back(at);
    for (; !chain.empty(); chain.pop_back()) {
      Cell cell = old[static_cast<size_t>(chain.back())];
      cell.rest = moved.at(cell.rest);
      moved[chain.back()] = Push(cell);
    }
    id = moved.at(id);
  }
  return Intern(std::move(frontier));
}

}  // namespace hearth
