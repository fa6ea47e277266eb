// The vocabulary sorted by bytes, so that all tokens can be run through an automaton together: what two neighbours share
// is run once, and where a prefix dies everything below it is skipped.
#ifndef HEARTH_TEXT_TOKEN_TRIE_H_
#define HEARTH_TEXT_TOKEN_TRIE_H_

#include <cstdint>
#include <string_view>
#include <vector>

#include "addon/text/tokenizer.h"

namespace hearth {

class TokenTrie {
 public:
  // Only tokens that decode to text; `tokenizer` must outlive it.
  explicit TokenTrie(const Tokenizer& tokenizer);

  struct Entry {
    std::string_view bytes;  // never empty
    int32_t token;
    uint32_t shared;  // bytes in common with the entry before
  };
  const std::vector<Entry>& entries() const { return entries_; }
  const Tokenizer& tokenizer() const { return tokenizer_; }

 private:
  const Tokenizer& tokenizer_;
  std::vector<Entry> entries_;
};

}  // namespace hearth

#endif  // HEARTH_TEXT_TOKEN_TRIE_H_
