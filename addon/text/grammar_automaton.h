// Runs a grammar over bytes: a pushdown automaton whose states are sets of stacks, made as they are reached.
//
// A stack is a chain of cells, each a node still to be written and what comes after it; equal cells and equal states
// are stored once, and the steps between states are remembered. Every stack that is kept can be written to its end, so
// a state that is not dead never leads into a dead end, and leaving stacks out of a state only narrows what may be
// written.
#ifndef HEARTH_TEXT_GRAMMAR_AUTOMATON_H_
#define HEARTH_TEXT_GRAMMAR_AUTOMATON_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "addon/text/grammar_nodes.h"

namespace hearth {

class GrammarAutomaton {
 public:
  using StateId = int32_t;
  static constexpr StateId kDead = -1;
  // A state keeps the first so many stacks. Only schemas whose choices cannot be told apart for long have more.
  static constexpr size_t kMaxStacks = 16'384;

  // `nodes` must outlive it.
  GrammarAutomaton(const GrammarNodes& nodes, NodeId root);

  // Where every text begins.
  StateId Start();
  StateId Step(StateId state, unsigned char byte);
  // Steps over all of `bytes`; from kDead there is no way on.
  StateId Run(StateId state, std::string_view bytes);
  // The bytes that may come next.
  ByteSet Next(StateId state) const;
  // A space may come next, and what follows it may as well come without it.
  bool SpaceIsOptional(StateId state);
  // The text may end here.
  bool complete(StateId state) const { return states_[static_cast<size_t>(state)].complete; }

  // A state with the same next `bytes` bytes ahead of it; the same one for many that differ only in how far a long
  // repeat is from its bounds.
  StateId Resembling(StateId state, int32_t bytes);

  // Forgets everything but one state, which gets a new id.
  StateId Forget(StateId keep);

  // What has been stored, in units of about eight bytes, and what has been computed, in stacks looked at.
  size_t stored() const { return cells_.size() * 8 + stored_; }
  uint64_t work() const { return work_; }

 private:
  using CellId = int32_t;
  static constexpr CellId kDone = 0;  // the empty stack
  static constexpr StateId kUnknown = -2;

  struct Cell {
    NodeId node;
    int32_t count;  // rounds a repeat has been through, bytes of a literal that are written
    int32_t depth;  // rules this lies in
    CellId rest;
    bool operator==(const Cell& other) const = default;
  };
  struct CellHash {
    size_t operator()(const Cell& cell) const;
  };
  struct State {
    std::vector<CellId> cells;  // each waits for a byte
    bool complete = false;
    std::unique_ptr<std::array<StateId, 256>> next;  // made at the first step from here
  };
  struct CellsHash {
    size_t operator()(const std::vector<CellId>& cells) const;
  };
  // A state in the making.
  struct Frontier {
    std::vector<CellId> cells;
    bool complete = false;
  };

  const Cell& cell(CellId id) const { return cells_[static_cast<size_t>(id)]; }
  const State& state(StateId id) const { return states_[static_cast<size_t>(id)]; }
  CellId Push(const Cell& cell);
  // Adds the cells that wait for a byte when `top` is next.
  void Expand(CellId top, Frontier& frontier);
  StateId Intern(Frontier frontier);
  CellId ResemblingCell(CellId id, int32_t bytes);

  const GrammarNodes& nodes_;
  NodeId root_;
  std::vector<Cell> cells_;
  std::vector<uint32_t> seen_;  // per cell: the frontier it was last added to
  uint32_t frontiers_ = 0;
  std::vector<CellId> todo_;
  std::unordered_map<Cell, CellId, CellHash> cell_ids_;
  std::vector<State> states_;
  std::unordered_map<std::vector<CellId>, StateId, CellsHash> state_ids_;
  std::unordered_map<uint64_t, CellId> resembling_;  // by cell and bytes
  size_t stored_ = 0;
  uint64_t work_ = 0;
};

}  // namespace hearth

#endif  // HEARTH_TEXT_GRAMMAR_AUTOMATON_H_
