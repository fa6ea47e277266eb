// Constrained decoding: which tokens may come next so that the reply parses as JSON and fits its schema.
//
// A compiled schema is a tree of grammar nodes; an automaton runs it over bytes. The tokens allowed in a state are
// found by running the whole sorted vocabulary through it, and are remembered.
#ifndef HEARTH_TEXT_GRAMMAR_H_
#define HEARTH_TEXT_GRAMMAR_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "addon/base/status.h"
#include "addon/text/grammar_automaton.h"
#include "addon/text/grammar_nodes.h"
#include "addon/text/token_trie.h"

namespace hearth {

// A compiled schema; const, shareable between replies. See schema_compiler.h for what can be enforced.
class Grammar {
 public:
  // SCHEMA_INVALID says what cannot be enforced and where.
  static StatusOr<std::shared_ptr<const Grammar>> Compile(std::string_view json_schema,
                                                          std::shared_ptr<const TokenTrie> trie);

  const GrammarNodes& nodes() const { return nodes_; }
  NodeId root() const { return root_; }
  // As it was given.
  const std::string& json_schema() const { return json_schema_; }
  const TokenTrie& trie() const { return *trie_; }

 private:
  explicit Grammar(std::shared_ptr<const TokenTrie> trie) : trie_(std::move(trie)) {}

  std::string json_schema_;
  GrammarNodes nodes_;
  NodeId root_ = 0;
  std::shared_ptr<const TokenTrie> trie_;
};

// Where one reply stands. For one caller. Holds some 64 MB at most.
class GrammarState {
 public:
  explicit GrammarState(std::shared_ptr<const Grammar> grammar);

  // One bit for each of the tokenizer's pieces: those that may come next. The ids that end a reply are among them
  // exactly when the value is complete. Valid until the next call. There is always one, given a vocabulary that has a
  // piece for every byte.
  const uint64_t* Allowed();

  // GRAMMAR_DEAD_END for a token that is not allowed; the state stays as it was.
  Status Accept(int32_t token);

  // For the next reply, which finds the masks of this one already computed.
  void Restart();

  // The reply may end here.
  bool complete() const { return automaton_.complete(current_); }

 private:
  friend class GrammarPreview;
  using StateId = GrammarAutomaton::StateId;
  using Mask = std::vector<uint64_t>;

  // Adds the entries that may come next.
  void Allow(const std::vector<TokenTrie::Entry>& entries, StateId from, Mask& mask);
  const Mask& ShortMask();

  std::shared_ptr<const Grammar> grammar_;
  GrammarAutomaton automaton_;
  StateId current_;
  bool spaces_ = true;  // where JSON may have a space or not, there was one last time
  // By the state they were computed for: of the short tokens, and of all and the ends.
  std::unordered_map<StateId, Mask> short_masks_, masks_;
};

}  // namespace hearth

#endif  // HEARTH_TEXT_GRAMMAR_H_
