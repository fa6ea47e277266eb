#include "addon/text/token_trie.h"

#include <algorithm>

namespace hearth {

TokenTrie::TokenTrie(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {
  for (int32_t id = 0; id < tokenizer.size(); ++id) {
    const std::string_view bytes = Bytes(id);
    if (bytes.empty()) continue;
    (bytes.size() <= kShortBytes ? short_ : long_).push_back({bytes, id, 0});
    longest_ = std::max(longest_, bytes.size());
  }
  for (std::vector<Entry>* entries : {&short_, &long_}) {
    std::sort(entries->begin(), entries->end(), [](const Entry& a, const Entry& b) {
      return a.bytes != b.bytes ? a.bytes < b.bytes : a.token < b.token;
    });
    for (size_t i = 1; i < entries->size(); ++i) {
      const std::string_view a = (*entries)[i - 1].bytes, b = (*entries)[i].bytes;
      const auto [end, other] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
      (*entries)[i].shared = static_cast<uint32_t>(end - a.begin());
    }
  }
}

std::string_view TokenTrie::Bytes(int32_t token) const {
  // The unknown piece is shown as a question mark, but no text leads to it.
  const bool text =
      token >= 0 && token < tokenizer_.size() && tokenizer_.piece(token).type != Tokenizer::Type::kUnknown;
  return text ? tokenizer_.Bytes(token) : std::string_view();
}

}  // namespace hearth
