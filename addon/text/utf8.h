// UTF-8, by RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
#ifndef HEARTH_TEXT_UTF8_H_
#define HEARTH_TEXT_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace hearth {

enum class Utf8State { kWhole, kCut, kInvalid };

// What `bytes` (not empty) begins with: a whole character of *length bytes, the beginning of one (all of the bytes), or
// *length bytes that are none.
Utf8State Utf8At(std::string_view bytes, size_t* length);

// Bytes of the character `bytes` begins with; 1 where it begins with none.
size_t Utf8Length(std::string_view bytes);

// The number of the character that `bytes` are; of none, their first byte.
uint32_t DecodeUtf8(std::string_view bytes);

// `code`: up to U+10FFFF, no surrogate.
void AppendUtf8(uint32_t code, std::string& out);

// The longest start of `bytes` that is decided, made valid UTF-8 (U+FFFD for what is not); takes it off `bytes`. What
// is left, at most three bytes, may become a character. With `final` nothing is left.
std::string TakeUtf8(std::string& bytes, bool final);

}  // namespace hearth

#endif  // HEARTH_TEXT_UTF8_H_
