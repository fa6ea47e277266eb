#include "addon/text/token_trie.h"

#include <algorithm>

namespace hearth {

TokenTrie::TokenTrie(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {
  for (int32_t id = 0; id < tokenizer.size(); ++id) {
    const bool text = tokenizer.piece(id).type != Tokenizer::Type::kUnknown;
    const std::string_view bytes = tokenizer.Bytes(id);
    if (text && !bytes.empty()) entries_.push_back({bytes, id, 0});
  }
  std::sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) { return a.bytes != b.bytes ? a.bytes < b.bytes : a.token < b.token; });
  for (size_t i = 1; i < entries_.size(); ++i) {
    const std::string_view a = entries_[i - 1].bytes, b = entries_[i].bytes;
    const auto [end, other] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
    entries_[i].shared = static_cast<uint32_t>(end - a.begin());
  }
}

}  // namespace hearth
