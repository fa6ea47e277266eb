// Constrained decoding: which tokens may come next so that the reply parses as JSON and fits its schema.
//
// A compiled schema is a tree of grammar nodes. Its automaton runs over bytes: a state is the set of stacks of what is
// still to be written; equal stacks and equal states are stored once, and steps between them are remembered. The tokens
// allowed in a state are found by running the whole sorted vocabulary through it, and are remembered too.
#ifndef HEARTH_TEXT_GRAMMAR_H_
#define HEARTH_TEXT_GRAMMAR_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "addon/base/status.h"
#include "addon/text/grammar_nodes.h"
#include "addon/text/token_trie.h"

namespace hearth {

// A compiled schema; const, shareable between replies.
class Grammar {
 public:
  // SCHEMA_INVALID says what cannot be enforced and where.
  static StatusOr<std::shared_ptr<const Grammar>> Compile(std::string_view json_schema, std::shared_ptr<const TokenTrie> trie);

  const GrammarNodes& nodes() const { return nodes_; }
  NodeId root() const { return root_; }
  const TokenTrie& trie() const { return *trie_; }

 private:
  explicit Grammar(std::shared_ptr<const TokenTrie> trie) : trie_(std::move(trie)) {}

  GrammarNodes nodes_;
  NodeId root_ = 0;
  std::shared_ptr<const TokenTrie> trie_;
};

// Where one reply stands. For one caller.
class GrammarState {
 public:
  explicit GrammarState(std::shared_ptr<const Grammar> grammar);

  // One bit a token: those that may come next. The ids that end a reply are among them when the value is complete.
  const uint64_t* Allowed();

  // GRAMMAR_DEAD_END for a token that is not allowed; the state stays as it was.
  Status Accept(int32_t token);

  // The reply may end here.
  bool complete() const { return states_[static_cast<size_t>(current_)].complete; }

 private:
  using CellId = int32_t;
  using StateId = int32_t;
  static constexpr CellId kDone = 0;     // the empty stack
  static constexpr StateId kDead = -1;
  static constexpr StateId kUnknown = -2;

  // One thing to do, and then the rest. `count`: times a repeat has been through, bytes of a literal that are written.
  struct Cell {
    NodeId node;
    int32_t count;
    CellId rest;
    bool operator==(const Cell& other) const = default;
  };
  struct CellHash {
    size_t operator()(const Cell& cell) const;
  };
  struct State {
    std::vector<CellId> cells;  // each waits for a byte
    bool complete = false;
    std::unique_ptr<std::array<StateId, 256>> next;
    std::unique_ptr<std::vector<uint64_t>> allowed;
  };
  struct CellsHash {
    size_t operator()(const std::vector<CellId>& cells) const;
  };

  CellId Push(NodeId node, int32_t count, CellId rest);
  // Replaces what is on top until only cells that wait for a byte are left.
  void Expand(CellId cell, std::vector<CellId>& waiting, std::vector<bool>& seen, bool& complete);
  StateId Intern(std::vector<CellId> cells, bool complete);
  StateId Step(StateId state, unsigned char byte);
  void ForgetAll();

  std::shared_ptr<const Grammar> grammar_;
  std::vector<Cell> cells_;
  std::unordered_map<Cell, CellId, CellHash> cell_ids_;
  std::vector<State> states_;
  std::unordered_map<std::vector<CellId>, StateId, CellsHash> state_ids_;
  StateId current_ = 0;
  size_t masks_ = 0;
};

}  // namespace hearth

#endif  // HEARTH_TEXT_GRAMMAR_H_
