// SentencePiece BPE with byte fallback, from the vocabulary a GGUF file carries (`tokenizer.ggml.*`, model "llama").
//
// Encoding: user-defined pieces are taken out of the text first, longest match at each place; in the rest spaces become
// U+2581, it is split into characters, and neighbours merge in the order of their merged piece's score, leftmost first;
// what is in no piece falls back to its bytes (`<0x41>`). No space is put before the text.
//
// Source: google/sentencepiece src/bpe_model.cc (the algorithm), Hugging Face's tokenizer.json of Gemma 3 (user-defined
// pieces match before spaces are replaced; no dummy prefix; byte fallback).
#ifndef HEARTH_TEXT_TOKENIZER_H_
#define HEARTH_TEXT_TOKENIZER_H_

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "addon/base/status.h"
#include "addon/gguf/gguf.h"

namespace hearth {

class Tokenizer {
 public:
  enum class Type : uint8_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

  struct Piece {
    std::string text;
    float score;
    Type type;
  };

  // Longest text that is encoded at once, in bytes: far more than any context holds.
  static constexpr size_t kMaxTextBytes = 4 << 20;

  // MODEL_INCOMPLETE, GGUF_MALFORMED or MODEL_MISMATCH for a vocabulary that is not there or not one.
  static StatusOr<Tokenizer> Load(const GgufFile& file);
  static StatusOr<Tokenizer> FromPieces(std::vector<Piece> pieces);

  // `parse_special`: control pieces in the text become control ids; never for text that came from outside. Any bytes
  // are encoded, valid UTF-8 or not. PROMPT_INVALID over kMaxTextBytes.
  StatusOr<std::vector<int32_t>> Encode(std::string_view text, bool parse_special) const;

  // Control pieces decode to nothing, or with `show_control` to their own text. Bytes are as the ids make them, which
  // need not be UTF-8. TOKEN_INVALID for an id out of range.
  StatusOr<std::string> Decode(std::span<const int32_t> ids, bool show_control = false) const;

  // What an id decodes to by itself; empty for control and unused pieces and ids out of range.
  std::string_view Bytes(int32_t id) const;

  // The id of a piece by its text; -1 when there is none.
  int32_t Find(std::string_view piece) const;

  int64_t size() const { return static_cast<int64_t>(pieces_.size()); }
  const Piece& piece(int32_t id) const { return pieces_[static_cast<size_t>(id)]; }
  int32_t bos() const { return bos_; }
  int32_t eos() const { return eos_; }

 private:
  // Finds pieces of one type in raw text: by first byte, the lengths there are, the longest first.
  struct Matcher {
    Type type;
    std::array<std::vector<uint32_t>, 256> lengths;
  };

  Tokenizer() = default;
  // The id of the longest piece of the matcher's type that `text` begins with; -1 when there is none.
  int32_t MatchAt(const Matcher& matcher, std::string_view text) const;
  // Appends the ids of text without user-defined or control pieces in it.
  void EncodePlain(std::string_view raw, std::vector<int32_t>& ids) const;
  void AppendBytes(std::string_view text, std::vector<int32_t>& ids) const;

  // Where `text` is in ids_, or where it would go.
  size_t SlotOf(std::string_view text) const;
  // What an id in range decodes to by itself.
  std::string_view Decoded(int32_t id) const;

  // Of 262,144 pieces, and so with as little as possible beside their texts.
  std::vector<Piece> pieces_;
  std::vector<char> decoded_;           // what all ids decode to, one after the other
  std::vector<uint32_t> decoded_ends_;  // per id
  std::vector<int32_t> ids_;            // an open hash table by text, of a power of two of slots; -1 where one is free
  Matcher user_defined_{Type::kUserDefined, {}}, control_{Type::kControl, {}};
  size_t longest_ = 0;             // bytes of the longest piece
  std::vector<int32_t> byte_ids_;  // per byte value; the unknown id where there is no piece
  int32_t bos_ = -1, eos_ = -1, unknown_ = 0;
};

// Turns ids into text as they come: bytes that may still become a character are held back, those that cannot are
// replaced by U+FFFD.
class Detokenizer {
 public:
  explicit Detokenizer(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}

  // Whole characters that are certain now.
  std::string Feed(int32_t id);
  // What was held back, as U+FFFD; starts over.
  std::string Flush();
  void Reset() { held_.clear(); }

 private:
  const Tokenizer* tokenizer_;
  std::string held_;
};

}  // namespace hearth

#endif  // HEARTH_TEXT_TOKENIZER_H_
