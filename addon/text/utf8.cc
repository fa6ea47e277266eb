#include "addon/text/utf8.h"

#include <algorithm>

namespace hearth {

Utf8State Utf8At(std::string_view bytes, size_t* length) {
  const auto at = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned char lead = at(0);
  *length = 1;
  if (lead < 0x80) return Utf8State::kWhole;
  if (lead < 0xc2 || lead > 0xf4) return Utf8State::kInvalid;
  const size_t size = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  for (size_t i = 1; i < size; ++i) {
    if (i == bytes.size()) {
      *length = i;
      return Utf8State::kCut;
    }
    // The second byte's range rules out overlong forms, surrogates and what lies above U+10FFFF.
    unsigned char low = 0x80, high = 0xbf;
    if (i == 1 && lead == 0xe0) low = 0xa0;
    if (i == 1 && lead == 0xed) high = 0x9f;
    if (i == 1 && lead == 0xf0) low = 0x90;
    if (i == 1 && lead == 0xf4) high = 0x8f;
    if (at(i) < low || at(i) > high) {
      *length = i;
      return Utf8State::kInvalid;
    }
  }
  *length = size;
  return Utf8State::kWhole;
}

size_t Utf8Length(std::string_view bytes) {
  size_t length;
  return Utf8At(bytes, &length) == Utf8State::kWhole ? length : 1;
}

uint32_t DecodeUtf8(std::string_view bytes) {
  const auto at = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(bytes[i])); };
  const auto tail = [&](size_t i) { return at(i) & 63; };
  switch (bytes.size()) {
    case 2:
      return (at(0) & 31) << 6 | tail(1);
    case 3:
      return (at(0) & 15) << 12 | tail(1) << 6 | tail(2);
    case 4:
      return (at(0) & 7) << 18 | tail(1) << 12 | tail(2) << 6 | tail(3);
    default:
      return at(0);
  }
}

void AppendUtf8(uint32_t code, std::string& out) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xc0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 63));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xe0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 63));
    out += static_cast<char>(0x80 | (code & 63));
  } else {
    out += static_cast<char>(0xf0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 63));
    out += static_cast<char>(0x80 | (code >> 6 & 63));
    out += static_cast<char>(0x80 | (code & 63));
  }
}

std::string TakeUtf8(std::string& bytes, bool final) {
  std::string text;
  size_t at = 0;
  while (at < bytes.size()) {
    size_t length;
    const Utf8State state = Utf8At(std::string_view(bytes).substr(at), &length);
    if (state == Utf8State::kCut && !final) break;
    if (state == Utf8State::kWhole) {
      text.append(bytes, at, length);
    } else {
      text += "\xef\xbf\xbd";
    }
    at += length;
  }
  bytes.erase(0, at);
  return text;
}

}  // namespace hearth
