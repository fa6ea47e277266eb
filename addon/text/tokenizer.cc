#include "addon/text/tokenizer.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <queue>

#include "addon/text/utf8.h"

namespace hearth {
namespace {

constexpr std::string_view kSpace = "\xe2\x96\x81";  // U+2581
constexpr int64_t kMaxPieces = 1 << 22;

// "<0x41>" -> 0x41; -1 for anything else.
int ByteOf(std::string_view piece) {
  if (piece.size() != 6 || piece.substr(0, 3) != "<0x" || piece[5] != '>') return -1;
  char* end = nullptr;
  const std::string digits(piece.substr(3, 2));
  const long value = std::strtol(digits.c_str(), &end, 16);
  return end == digits.c_str() + 2 ? static_cast<int>(value) : -1;
}

std::string ReplaceAll(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    if (text.compare(at, from.size(), from) == 0) {
      out += to;
      at += from.size();
    } else {
      out += text[at++];
    }
  }
  return out;
}

std::string DecodedText(const Tokenizer::Piece& piece) {
  switch (piece.type) {
    case Tokenizer::Type::kControl:
    case Tokenizer::Type::kUnused:
      return "";
    case Tokenizer::Type::kUnknown:
      return " \xe2\x81\x87 ";  // U+2047, as SentencePiece shows it
    case Tokenizer::Type::kByte:
      return std::string(1, static_cast<char>(ByteOf(piece.text)));
    case Tokenizer::Type::kNormal:
    case Tokenizer::Type::kUserDefined:
      return ReplaceAll(piece.text, kSpace, " ");
  }
  return "";
}

}  // namespace

StatusOr<Tokenizer> Tokenizer::Load(const GgufFile& file) {
  HEARTH_ASSIGN_OR_RETURN(const std::string model, file.StringOr("tokenizer.ggml.model", "llama"));
  if (model != "llama") {
    return Error(Code::MODEL_UNSUPPORTED, "the tokenizer is \"%s\"; \"llama\" (SentencePiece BPE) is read",
                 model.substr(0, 64).c_str());
  }
  HEARTH_ASSIGN_OR_RETURN(const std::vector<std::string_view> tokens, file.Strings("tokenizer.ggml.tokens"));
  HEARTH_ASSIGN_OR_RETURN(const std::vector<double> scores, file.Floats("tokenizer.ggml.scores"));
  HEARTH_ASSIGN_OR_RETURN(const std::vector<int64_t> types, file.Ints("tokenizer.ggml.token_type"));
  if (scores.size() != tokens.size() || types.size() != tokens.size()) {
    return Error(Code::MODEL_MISMATCH, "%zu pieces with %zu scores and %zu types", tokens.size(), scores.size(),
                 types.size());
  }
  std::vector<Piece> pieces;
  pieces.reserve(tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (types[i] < 1 || types[i] > 6) {
      return Error(Code::MODEL_MISMATCH, "piece %zu has type %lld; 1 to 6 are known", i,
                   static_cast<long long>(types[i]));
    }
    if (std::isnan(scores[i])) return Error(Code::MODEL_MISMATCH, "piece %zu has no number for a score", i);
    pieces.push_back({std::string(tokens[i]), static_cast<float>(scores[i]), static_cast<Type>(types[i])});
  }
  HEARTH_ASSIGN_OR_RETURN(Tokenizer tokenizer, FromPieces(std::move(pieces)));
  const int64_t last = tokenizer.size() - 1;
  HEARTH_ASSIGN_OR_RETURN(const int64_t bos, file.IntOr("tokenizer.ggml.bos_token_id", -1, 0, last));
  HEARTH_ASSIGN_OR_RETURN(const int64_t eos, file.IntOr("tokenizer.ggml.eos_token_id", -1, 0, last));
  tokenizer.bos_ = static_cast<int32_t>(bos);
  tokenizer.eos_ = static_cast<int32_t>(eos);
  return tokenizer;
}

StatusOr<Tokenizer> Tokenizer::FromPieces(std::vector<Piece> pieces) {
  if (pieces.empty() || static_cast<int64_t>(pieces.size()) > kMaxPieces) {
    return Error(Code::MODEL_MISMATCH, "a vocabulary of %zu pieces; 1 to %lld are allowed", pieces.size(),
                 static_cast<long long>(kMaxPieces));
  }
  Tokenizer t;
  t.pieces_ = std::move(pieces);
  t.decoded_ends_.reserve(t.pieces_.size());
  size_t slots = 4;
  while (slots < 2 * t.pieces_.size()) slots *= 2;
  t.ids_.assign(slots, -1);
  std::vector<int32_t> bytes(256, -1);
  for (int32_t id = 0; id < static_cast<int32_t>(t.pieces_.size()); ++id) {
    Piece& piece = t.pieces_[static_cast<size_t>(id)];
    if (piece.type == Type::kByte) {
      const int byte = ByteOf(piece.text);
      if (byte < 0) return Error(Code::MODEL_MISMATCH, "piece %d is a byte, but is not spelt like <0x41>", id);
      bytes[static_cast<size_t>(byte)] = id;
    }
    if (piece.type == Type::kUnknown) t.unknown_ = id;
    if (piece.text.empty()) return Error(Code::MODEL_MISMATCH, "piece %d of the vocabulary is empty", id);
    int32_t& slot = t.ids_[t.SlotOf(piece.text)];
    if (slot >= 0) return Error(Code::MODEL_MISMATCH, "pieces %d and %d of the vocabulary are the same", slot, id);
    slot = id;
    t.longest_ = std::max(t.longest_, piece.text.size());
    for (Matcher* matcher : {&t.user_defined_, &t.control_}) {
      if (piece.type != matcher->type) continue;
      matcher->lengths[static_cast<unsigned char>(piece.text[0])].push_back(static_cast<uint32_t>(piece.text.size()));
    }
    const std::string decoded = DecodedText(piece);
    t.decoded_.insert(t.decoded_.end(), decoded.begin(), decoded.end());
    if (t.decoded_.size() > UINT32_MAX) return Error(Code::MODEL_MISMATCH, "a vocabulary of more than 4 GB of text");
    t.decoded_ends_.push_back(static_cast<uint32_t>(t.decoded_.size()));
  }
  t.decoded_.shrink_to_fit();
  for (Matcher* matcher : {&t.user_defined_, &t.control_}) {
    for (std::vector<uint32_t>& lengths : matcher->lengths) {
      std::sort(lengths.begin(), lengths.end(), std::greater<>());
      lengths.erase(std::unique(lengths.begin(), lengths.end()), lengths.end());
    }
  }
  for (int32_t& id : bytes) {
    if (id < 0) id = t.unknown_;
  }
  t.byte_ids_ = std::move(bytes);
  return t;
}

int32_t Tokenizer::MatchAt(const Matcher& matcher, std::string_view text) const {
  for (const uint32_t length : matcher.lengths[static_cast<unsigned char>(text[0])]) {
    if (length > text.size()) continue;
    const int32_t id = Find(text.substr(0, length));
    if (id >= 0 && piece(id).type == matcher.type) return id;
  }
  return -1;
}

StatusOr<std::vector<int32_t>> Tokenizer::Encode(std::string_view text, bool parse_special) const {
  if (text.size() > kMaxTextBytes) {
    return Error(Code::PROMPT_INVALID, "a text of %zu bytes; at most %zu are encoded", text.size(), kMaxTextBytes);
  }
  std::vector<int32_t> ids;
  size_t plain = 0;  // where the text not yet encoded begins
  for (size_t at = 0; at < text.size();) {
    const std::string_view rest = text.substr(at);
    int32_t id = MatchAt(user_defined_, rest);
    if (parse_special) {
      const int32_t control = MatchAt(control_, rest);
      if (control >= 0 && (id < 0 || piece(control).text.size() > piece(id).text.size())) id = control;
    }
    if (id < 0) {
      ++at;
      continue;
    }
    EncodePlain(text.substr(plain, at - plain), ids);
    ids.push_back(id);
    at += piece(id).text.size();
    plain = at;
  }
  EncodePlain(text.substr(plain), ids);
  return ids;
}

void Tokenizer::EncodePlain(std::string_view raw, std::vector<int32_t>& ids) const {
  const std::string spaced = ReplaceAll(raw, " ", kSpace);
  const std::string_view text = spaced;
  const auto merges_to = [&](int32_t id) {
    return piece(id).type == Type::kNormal || piece(id).type == Type::kUserDefined;
  };
  // Gemma's runs of spaces are user-defined pieces that merges lead to as well: before all others, the longest first,
  // so that a run grows from the left to the longest piece there is.
  const auto merge_score = [&](int32_t id) {
    return piece(id).type == Type::kUserDefined ? 1e9f + 1024.0f * static_cast<float>(piece(id).text.size())
                                                : piece(id).score;
  };
  struct Symbol {
    uint32_t begin, size;  // size 0: merged into the one before it
    int32_t previous, next;
  };
  struct Merge {
    float score;
    int32_t left, right;
    uint32_t size;  // of both together, to tell a stale entry
    bool operator<(const Merge& other) const { return score != other.score ? score < other.score : left > other.left; }
  };
  std::vector<Symbol> symbols;
  for (size_t at = 0; at < text.size();) {
    const size_t size = Utf8Length(text.substr(at));
    const int32_t index = static_cast<int32_t>(symbols.size());
    symbols.push_back({static_cast<uint32_t>(at), static_cast<uint32_t>(size), index - 1, index + 1});
    at += size;
  }
  if (symbols.empty()) return;
  symbols.back().next = -1;

  std::priority_queue<Merge> merges;
  const auto consider = [&](int32_t left, int32_t right) {
    if (left < 0 || right < 0) return;
    const Symbol& a = symbols[static_cast<size_t>(left)];
    const Symbol& b = symbols[static_cast<size_t>(right)];
    if (a.size + b.size > longest_) return;
    const int32_t id = Find(text.substr(a.begin, a.size + b.size));
    if (id < 0 || !merges_to(id)) return;
    merges.push({merge_score(id), left, right, a.size + b.size});
  };
  for (size_t i = 1; i < symbols.size(); ++i) consider(static_cast<int32_t>(i) - 1, static_cast<int32_t>(i));
  while (!merges.empty()) {
    const Merge merge = merges.top();
    merges.pop();
    Symbol& left = symbols[static_cast<size_t>(merge.left)];
    Symbol& right = symbols[static_cast<size_t>(merge.right)];
    if (left.size == 0 || right.size == 0 || left.size + right.size != merge.size || left.next != merge.right) continue;
    left.size += right.size;
    right.size = 0;
    left.next = right.next;
    if (right.next >= 0) symbols[static_cast<size_t>(right.next)].previous = merge.left;
    consider(left.previous, merge.left);
    consider(merge.left, left.next);
  }
  for (int32_t i = 0; i >= 0; i = symbols[static_cast<size_t>(i)].next) {
    const std::string_view symbol =
        text.substr(symbols[static_cast<size_t>(i)].begin, symbols[static_cast<size_t>(i)].size);
    const int32_t id = Find(symbol);
    if (id >= 0 && merges_to(id)) {
      ids.push_back(id);
    } else {
      AppendBytes(symbol, ids);
    }
  }
}

void Tokenizer::AppendBytes(std::string_view text, std::vector<int32_t>& ids) const {
  for (const char byte : text) ids.push_back(byte_ids_[static_cast<unsigned char>(byte)]);
}

StatusOr<std::string> Tokenizer::Decode(std::span<const int32_t> ids, bool show_control) const {
  std::string text;
  for (const int32_t id : ids) {
    if (id < 0 || id >= size())
      return Error(Code::TOKEN_INVALID, "token %d of a vocabulary of %lld", id, static_cast<long long>(size()));
    const bool control = piece(id).type == Type::kControl;
    text += control && show_control ? std::string_view(piece(id).text) : Decoded(id);
  }
  return text;
}

std::string_view Tokenizer::Bytes(int32_t id) const {
  return id < 0 || id >= size() ? std::string_view() : Decoded(id);
}

std::string_view Tokenizer::Decoded(int32_t id) const {
  const size_t begin = id == 0 ? 0 : decoded_ends_[static_cast<size_t>(id) - 1];
  return {decoded_.data() + begin, decoded_ends_[static_cast<size_t>(id)] - begin};
}

size_t Tokenizer::SlotOf(std::string_view text) const {
  // At most half of the slots are taken, so the search ends.
  size_t slot = std::hash<std::string_view>()(text);
  for (slot &= ids_.size() - 1; ids_[slot] >= 0 && piece(ids_[slot]).text != text;)
    slot = (slot + 1) & (ids_.size() - 1);
  return slot;
}

int32_t Tokenizer::Find(std::string_view text) const { return ids_[SlotOf(text)]; }

std::string Detokenizer::Feed(int32_t id) {
  held_ += tokenizer_->Bytes(id);
  return TakeUtf8(held_, false);
}

std::string Detokenizer::Flush() { return TakeUtf8(held_, true); }

}  // namespace hearth
