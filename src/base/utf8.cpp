#include "base/utf8.h"

#include <cstdint>

namespace kw {
namespace {

/// Allowed lead bytes with the range of the byte that follows (Unicode 15, table 3-7); the rest is 80 to BF.
struct LeadRow {
  uint8_t first, last, second_low, second_high, length;
};
constexpr LeadRow kLeads[] = {{0x00, 0x7f, 0x00, 0x00, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
                              {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
                              {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};

uint8_t byte_at(std::string_view text, size_t at) { return static_cast<uint8_t>(text[at]); }

/// Bytes of the character at `at`; 0 when it is ill-formed.
size_t character_at(std::string_view text, size_t at) {
  for (const LeadRow& row : kLeads) {
    if (byte_at(text, at) < row.first || byte_at(text, at) > row.last) continue;
    if (at + row.length > text.size()) return 0;
    for (size_t i = 1; i < row.length; ++i) {
      const uint8_t low = i == 1 ? row.second_low : 0x80, high = i == 1 ? row.second_high : 0xbf;
      if (byte_at(text, at + i) < low || byte_at(text, at + i) > high) return 0;
    }
    return row.length;
  }
  return 0;
}

}  // namespace

bool valid_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t length = character_at(text, at);
    if (length == 0) return false;
    at += length;
  }
  return true;
}

std::string as_utf8(std::string_view text) {
  std::string clean;
  clean.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const size_t length = character_at(text, at);
    if (length == 0)
      clean += "\xef\xbf\xbd";
    else
      clean += text.substr(at, length);
    at += length == 0 ? 1 : length;
  }
  return clean;
}

std::string_view cut_utf8(std::string_view text, size_t bytes) {
  if (text.size() <= bytes) return text;
  while (bytes > 0 && (byte_at(text, bytes) & 0xc0) == 0x80) --bytes;
  return text.substr(0, bytes);
}

}  // namespace kw
