#include "addon/text/grammar.h"

#include <algorithm>

#include "addon/text/schema_compiler.h"

namespace hearth {
namespace {

using Kind = GrammarNode::Kind;

// Masks of 262,144 tokens take 32 KiB each; what is remembered stays below some 20 MB.
constexpr size_t kMaxMasks = 256;
constexpr size_t kMaxStates = 8192;

size_t Mix(size_t hash, size_t value) { return (hash ^ value) * 0x9e3779b97f4a7c15 + (hash >> 29); }

}  // namespace

StatusOr<std::shared_ptr<const Grammar>> Grammar::Compile(std::string_view json_schema, std::shared_ptr<const TokenTrie> trie) {
  std::shared_ptr<Grammar> grammar(new Grammar(std::move(trie)));
  HEARTH_ASSIGN_OR_RETURN(grammar->root_, CompileSchema(json_schema, grammar->nodes_));
  return std::shared_ptr<const Grammar>(std::move(grammar));
}

size_t GrammarState::CellHash::operator()(const Cell& cell) const {
  return Mix(Mix(static_cast<size_t>(cell.node), static_cast<size_t>(cell.count)), static_cast<size_t>(cell.rest));
}

size_t GrammarState::CellsHash::operator()(const std::vector<CellId>& cells) const {
  size_t hash = cells.size();
  for (const CellId cell : cells) hash = Mix(hash, static_cast<size_t>(cell));
  return hash;
}

GrammarState::GrammarState(std::shared_ptr<const Grammar> grammar) : grammar_(std::move(grammar)), cells_(1) {
  std::vector<CellId> waiting;
  std::vector<bool> seen;
  bool complete = false;
  Expand(Push(grammar_->root(), 0, kDone), waiting, seen, complete);
  current_ = Intern(std::move(waiting), complete);
}

GrammarState::CellId GrammarState::Push(NodeId node, int32_t count, CellId rest) {
  const Cell cell{node, count, rest};
  const auto [it, fresh] = cell_ids_.emplace(cell, static_cast<CellId>(cells_.size()));
  if (fresh) cells_.push_back(cell);
  return it->second;
}

void GrammarState::Expand(CellId top, std::vector<CellId>& waiting, std::vector<bool>& seen, bool& complete) {
  std::vector<CellId> todo = {top};
  while (!todo.empty()) {
    const CellId id = todo.back();
    todo.pop_back();
    if (id == kDone) {
      complete = true;
      continue;
    }
    if (seen.size() <= static_cast<size_t>(id)) seen.resize(cells_.size() + 64);
    if (seen[static_cast<size_t>(id)]) continue;
    seen[static_cast<size_t>(id)] = true;
    const Cell cell = cells_[static_cast<size_t>(id)];
    const GrammarNode& node = grammar_->nodes().node(cell.node);
    switch (node.kind) {
      case Kind::kEmpty:
        todo.push_back(cell.rest);
        break;
      case Kind::kBytes:
      case Kind::kLiteral:
        waiting.push_back(id);
        break;
      case Kind::kSequence: {
        CellId rest = cell.rest;
        for (size_t i = node.children.size(); i-- > 0;) rest = Push(node.children[i], 0, rest);
        todo.push_back(rest);
        break;
      }
      case Kind::kChoice:
        for (const NodeId child : node.children) todo.push_back(Push(child, 0, cell.rest));
        break;
      case Kind::kRepeat:
        if (cell.count >= node.min) todo.push_back(cell.rest);
        if (cell.count < node.max) {
          // Without an upper bound, counting past the lower one would only make new states.
          const int32_t count = node.max == GrammarNode::kUnbounded ? std::min(cell.count + 1, node.min) : cell.count + 1;
          todo.push_back(Push(node.children[0], 0, Push(cell.node, count, cell.rest)));
        }
        break;
      case Kind::kRule:
        todo.push_back(Push(node.children[0], 0, cell.rest));
        break;
    }
  }
}

GrammarState::StateId GrammarState::Intern(std::vector<CellId> cells, bool complete) {
  std::sort(cells.begin(), cells.end());
  cells.erase(std::unique(cells.begin(), cells.end()), cells.end());
  if (cells.empty() && !complete) return kDead;
  std::vector<CellId> key = cells;
  if (complete) key.push_back(kDone);
  const auto [it, fresh] = state_ids_.emplace(std::move(key), static_cast<StateId>(states_.size()));
  if (fresh) {
    states_.emplace_back();
    states_.back().cells = std::move(cells);
    states_.back().complete = complete;
  }
  return it->second;
}

GrammarState::StateId GrammarState::Step(StateId from, unsigned char byte) {
  if (states_[static_cast<size_t>(from)].next == nullptr) {
    states_[static_cast<size_t>(from)].next = std::make_unique<std::array<StateId, 256>>();
    states_[static_cast<size_t>(from)].next->fill(kUnknown);
  }
  if (const StateId known = (*states_[static_cast<size_t>(from)].next)[byte]; known != kUnknown) return known;
  std::vector<CellId> waiting;
  std::vector<bool> seen;
  bool complete = false;
  const std::vector<CellId> cells = states_[static_cast<size_t>(from)].cells;
  for (const CellId id : cells) {
    const Cell cell = cells_[static_cast<size_t>(id)];
    const GrammarNode& node = grammar_->nodes().node(cell.node);
    if (node.kind == Kind::kBytes) {
      if (node.bytes[byte]) Expand(cell.rest, waiting, seen, complete);
    } else if (static_cast<unsigned char>(node.literal[static_cast<size_t>(cell.count)]) == byte) {
      const bool last = static_cast<size_t>(cell.count) + 1 == node.literal.size();
      if (last) {
        Expand(cell.rest, waiting, seen, complete);
      } else {
        waiting.push_back(Push(cell.node, cell.count + 1, cell.rest));
      }
    }
  }
  const StateId to = Intern(std::move(waiting), complete);
  (*states_[static_cast<size_t>(from)].next)[byte] = to;
  return to;
}

// Keeps the current state alone.
void GrammarState::ForgetAll() {
  State current = std::move(states_[static_cast<size_t>(current_)]);
  current.next.reset();
  current.allowed.reset();
  masks_ = 0;
  states_.clear();
  state_ids_.clear();
  std::vector<CellId> cells = std::move(current.cells);
  current_ = Intern(std::move(cells), current.complete);
}

const uint64_t* GrammarState::Allowed() {
  if (states_[static_cast<size_t>(current_)].allowed != nullptr) return states_[static_cast<size_t>(current_)].allowed->data();
  if (masks_ >= kMaxMasks || states_.size() > kMaxStates) ForgetAll();
  const Tokenizer& tokenizer = grammar_->trie().tokenizer();
  auto mask = std::make_unique<std::vector<uint64_t>>(static_cast<size_t>((tokenizer.size() + 63) / 64));
  const auto allow = [&](int32_t token) {
    if (token >= 0) (*mask)[static_cast<size_t>(token / 64)] |= uint64_t{1} << (token % 64);
  };
  // path[d]: the state after d bytes of the entry in hand; valid up to `depth`, dead from `died` on.
  std::vector<StateId> path = {current_};
  size_t depth = 0, died = SIZE_MAX;
  for (const TokenTrie::Entry& entry : grammar_->trie().entries()) {
    if (entry.shared >= died) continue;
    died = SIZE_MAX;
    depth = std::min<size_t>(depth, entry.shared);
    path.resize(std::max(path.size(), entry.bytes.size() + 1));
    while (depth < entry.bytes.size()) {
      const StateId next = Step(path[depth], static_cast<unsigned char>(entry.bytes[depth]));
      ++depth;
      if (next == kDead) {
        died = depth;
        break;
      }
      path[depth] = next;
    }
    if (died == SIZE_MAX) {
      allow(entry.token);
    } else {
      --depth;
    }
  }
  if (states_[static_cast<size_t>(current_)].complete) {
    allow(tokenizer.eos());
    allow(tokenizer.Find("<end_of_turn>"));
  }
  ++masks_;
  State& current = states_[static_cast<size_t>(current_)];
  current.allowed = std::move(mask);
  return current.allowed->data();
}

Status GrammarState::Accept(int32_t token) {
  const std::string_view bytes = grammar_->trie().tokenizer().Bytes(token);
  StateId state = bytes.empty() ? kDead : current_;
  for (const char byte : bytes) {
    if (state != kDead) state = Step(state, static_cast<unsigned char>(byte));
  }
  if (state == kDead) return Error(Code::GRAMMAR_DEAD_END, "token %d does not continue the reply under its schema", token);
  current_ = state;
  return Status();
}

}  // namespace hearth
