#include "addon/text/grammar.h"

#include <algorithm>

#include "addon/text/schema_compiler.h"

namespace hearth {
namespace {

// Masks of 262,144 tokens take 32 KiB each.
constexpr size_t kMaxMasks = 256;
// Between two masks: 32 MB or so, then everything but the current state is forgotten.
constexpr size_t kMostStored = 4 << 20;
// Within a mask. Reached only by schemas made to be hard; then tokens of several bytes are left out, and the reply is
// written byte by byte.
constexpr size_t kMostStoredInMask = 2 * kMostStored;
constexpr uint64_t kMostWorkInMask = 10'000'000;

void Set(std::vector<uint64_t>& mask, int32_t token) {
  mask[static_cast<size_t>(token / 64)] |= uint64_t{1} << (token % 64);
}

}  // namespace

StatusOr<std::shared_ptr<const Grammar>> Grammar::Compile(std::string_view json_schema,
                                                          std::shared_ptr<const TokenTrie> trie) {
  std::shared_ptr<Grammar> grammar(new Grammar(std::move(trie)));
  HEARTH_ASSIGN_OR_RETURN(grammar->root_, CompileSchema(json_schema, grammar->nodes_));
  grammar->json_schema_ = std::string(json_schema);
  return std::shared_ptr<const Grammar>(std::move(grammar));
}

GrammarState::GrammarState(std::shared_ptr<const Grammar> grammar)
    : grammar_(std::move(grammar)), automaton_(grammar_->nodes(), grammar_->root()), current_(automaton_.Start()) {}

void GrammarState::Restart() { current_ = automaton_.Start(); }

const uint64_t* GrammarState::Allowed() {
  if (masks_.size() + short_masks_.size() >= kMaxMasks || automaton_.stored() > kMostStored) {
    current_ = automaton_.Forget(current_);
    masks_.clear();
    short_masks_.clear();
  }
  // A string that is not yet near its longest allows the same tokens wherever it is.
  const TokenTrie& trie = grammar_->trie();
  const StateId state = automaton_.Resembling(current_, static_cast<int32_t>(trie.longest()));
  const auto [it, fresh] = masks_.try_emplace(state);
  Mask& mask = it->second;
  if (!fresh) return mask.data();
  mask = ShortMask();
  Allow(trie.long_entries(), state, mask);
  if (automaton_.complete(state)) {
    for (const int32_t end : {trie.tokenizer().eos(), trie.tokenizer().Find("<end_of_turn>")}) {
      if (end >= 0) Set(mask, end);
    }
  }
  return mask.data();
}

const GrammarState::Mask& GrammarState::ShortMask() {
  const TokenTrie& trie = grammar_->trie();
  const StateId state = automaton_.Resembling(current_, static_cast<int32_t>(TokenTrie::kShortBytes));
  const auto [it, fresh] = short_masks_.try_emplace(state);
  if (fresh) {
    it->second.resize(static_cast<size_t>((trie.tokenizer().size() + 63) / 64));
    Allow(trie.short_entries(), state, it->second);
  }
  return it->second;
}

void GrammarState::Allow(const std::vector<TokenTrie::Entry>& entries, StateId from, Mask& mask) {
  const uint64_t most_work = automaton_.work() + kMostWorkInMask;
  bool too_hard = false;
  // path[d]: the state after d bytes of the entry in hand; the first `depth` bytes have been run.
  std::vector<StateId> path(grammar_->trie().longest() + 1);
  path[0] = from;
  size_t depth = 0;
  for (size_t i = 0; i < entries.size();) {
    const TokenTrie::Entry& entry = entries[i];
    depth = std::min<size_t>(depth, entry.shared);
    if (too_hard && entry.bytes.size() > 1) {
      ++i;
      continue;
    }
    StateId state = path[depth];
    while (depth < entry.bytes.size() && state != GrammarAutomaton::kDead) {
      state = automaton_.Step(state, static_cast<unsigned char>(entry.bytes[depth]));
      if (state != GrammarAutomaton::kDead) path[++depth] = state;
    }
    if (state != GrammarAutomaton::kDead) {
      Set(mask, entry.token);
      ++i;
    } else {
      // All that begin with what has died.
      for (++i; i < entries.size() && entries[i].shared > depth; ++i) {
      }
    }
    too_hard = automaton_.work() > most_work || automaton_.stored() > kMostStoredInMask;
  }
}

Status GrammarState::Accept(int32_t token) {
  const std::string_view bytes = grammar_->trie().Bytes(token);
  StateId state = bytes.empty() ? GrammarAutomaton::kDead : automaton_.Run(current_, bytes);
  if (state == GrammarAutomaton::kDead) {
    return Error(Code::GRAMMAR_DEAD_END, "token %d does not continue the reply under its schema", token);
  }
  state = current_;
  for (const char byte : bytes) {
    if (automaton_.SpaceIsOptional(state)) spaces_ = byte == ' ';
    state = automaton_.Step(state, static_cast<unsigned char>(byte));
  }
  current_ = state;
  return Status();
}

}  // namespace hearth
