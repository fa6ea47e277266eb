// The vocabulary sorted by bytes, so that all tokens can be run through an automaton together: what two neighbours
// share is run once, and where a prefix dies everything below it is skipped.
#ifndef HEARTH_TEXT_TOKEN_TRIE_H_
#define HEARTH_TEXT_TOKEN_TRIE_H_

#include <cstdint>
#include <string_view>
#include <vector>

#include "addon/text/tokenizer.h"

namespace hearth {

class TokenTrie {
 public:
  // Only tokens that stand for text; `tokenizer` must outlive it.
  explicit TokenTrie(const Tokenizer& tokenizer);

  struct Entry {
    std::string_view bytes;  // never empty
    int32_t token;
    uint32_t shared;  // bytes in common with the entry before
  };
  // The few long tokens are kept apart: the less far an automaton has to be looked ahead into, the more of its states
  // look the same.
  static constexpr size_t kShortBytes = 16;
  const std::vector<Entry>& short_entries() const { return short_; }
  const std::vector<Entry>& long_entries() const { return long_; }
  // The most bytes an entry has.
  size_t longest() const { return longest_; }
  // What a token writes; empty when it has no entry.
  std::string_view Bytes(int32_t token) const;
  const Tokenizer& tokenizer() const { return tokenizer_; }

 private:
  const Tokenizer& tokenizer_;
  std::vector<Entry> short_, long_;
  size_t longest_ = 0;
};

}  // namespace hearth

#endif  // HEARTH_TEXT_TOKEN_TRIE_H_
