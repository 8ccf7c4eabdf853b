#include "format/json.hpp"

#include <charconv>
#include <cstddef>

#include "format/error.hpp"

namespace codling {
namespace {

constexpr int kMaxDepth = 64;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Parser {
 public:
  Parser(std::string_view text, const std::string& source) : text_(text), source_(source) {}

  Json parse_all() {
    Json value = parse_value(0);
    skip_space();
    if (place_ != text_.size()) fail("something follows the value");
    return value;
  }

 private:
  [[noreturn]] void fail(const std::string& problem) const {
    throw InputError(source_ + ": not JSON (" + problem + " at byte " + std::to_string(place_) + ")");
  }

  char peek() const { return place_ < text_.size() ? text_[place_] : '\0'; }

  void skip_space() {
    while (place_ < text_.size() && std::string_view(" \t\n\r").find(text_[place_]) != std::string_view::npos) ++place_;
  }

  bool take(char wanted) {
    if (place_ >= text_.size() || text_[place_] != wanted) return false;
    ++place_;
    return true;
  }

  void expect(char wanted) {
    if (!take(wanted)) fail(std::string("expected '") + wanted + "'");
  }

  Json parse_value(int depth) {
    if (depth > kMaxDepth) fail("nested too deeply");
    skip_space();
    switch (peek()) {
      case '{':
        return parse_object(depth);
      case '[':
        return parse_array(depth);
      case '"':
        return parse_string();
      case 't':
        return parse_word("true", Json(true));
      case 'f':
        return parse_word("false", Json(false));
      case 'n':
        return parse_word("null", Json(nullptr));
      default:
        return parse_number();
    }
  }

  Json parse_word(std::string_view word, Json value) {
    if (text_.substr(place_, word.size()) != word) fail("unknown word");
    place_ += word.size();
    return value;
  }

  Json parse_object(int depth) {
    expect('{');
    JsonObject object;
    skip_space();
    if (take('}')) return object;
    do {
      skip_space();
      std::string name = parse_string();
      skip_space();
      expect(':');
      if (!object.try_emplace(name, parse_value(depth + 1)).second) fail("'" + name + "' is there twice");
      skip_space();
    } while (take(','));
    expect('}');
    return object;
  }

  Json parse_array(int depth) {
    expect('[');
    JsonArray array;
    skip_space();
    if (take(']')) return array;
    do {
      array.push_back(parse_value(depth + 1));
      skip_space();
    } while (take(','));
    expect(']');
    return array;
  }

  void take_digits() {
    if (!is_digit(peek())) fail("expected a value");
    while (is_digit(peek())) ++place_;
  }

  Json parse_number() {
    const std::size_t start = place_;
    take('-');
    if (!take('0')) take_digits();
    bool is_whole = true;
    if (take('.')) {
      is_whole = false;
      take_digits();
    }
    if (take('e') || take('E')) {
      is_whole = false;
      if (!take('+')) take('-');
      take_digits();
    }
    const char* first = text_.data() + start;
    const char* last = text_.data() + place_;
    std::int64_t whole = 0;
    if (is_whole && std::from_chars(first, last, whole).ec == std::errc()) return whole;
    double number = 0;
    if (std::from_chars(first, last, number).ec != std::errc()) fail("a number out of range");
    return number;
  }

  std::string parse_string() {
    expect('"');
    std::string decoded;
    while (true) {
      if (place_ >= text_.size()) fail("a string without end");
      const auto byte = static_cast<unsigned char>(text_[place_]);
      if (byte == '"') break;
      if (byte < 0x20) fail("a control character in a string");
      if (byte == '\\') {
        append_escape(decoded);
      } else if (byte < 0x80) {
        decoded += text_[place_++];
      } else {
        append_multibyte(decoded);
      }
    }
    ++place_;
    return decoded;
  }

  void append_escape(std::string& decoded) {
    ++place_;
    constexpr std::string_view kNames = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
    const char name = peek();
    if (name == 'u') {
      ++place_;
      append_utf8(decoded, parse_code_point());
      return;
    }
    const std::size_t which = kNames.find(name);
    if (name == '\0' || which == std::string_view::npos) fail("an unknown escape");
    decoded += kMeanings[which];
    ++place_;
  }

  std::uint32_t parse_code_point() {
    const std::uint32_t unit = parse_four_hex();
    if (unit < 0xD800 || unit > 0xDFFF) return unit;
    if (unit > 0xDBFF || !take('\\') || !take('u')) fail("half of a surrogate pair");
    const std::uint32_t low = parse_four_hex();
    if (low < 0xDC00 || low > 0xDFFF) fail("half of a surrogate pair");
    return 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
  }

  std::uint32_t parse_four_hex() {
    std::uint32_t value = 0;
    const std::string_view digits = text_.substr(place_, 4);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (digits.size() != 4 || error != std::errc() || end != digits.data() + 4) fail("expected four hexadecimal digits");
    place_ += 4;
    return value;
  }

  static void append_utf8(std::string& out, std::uint32_t point) {
    const auto tail = [&](int shift) { out += static_cast<char>(0x80 | ((point >> shift) & 0x3F)); };
    if (point < 0x80) {
      out += static_cast<char>(point);
    } else if (point < 0x800) {
      out += static_cast<char>(0xC0 | (point >> 6));
      tail(0);
    } else if (point < 0x10000) {
      out += static_cast<char>(0xE0 | (point >> 12));
      tail(6);
      tail(0);
    } else {
      out += static_cast<char>(0xF0 | (point >> 18));
      tail(12);
      tail(6);
      tail(0);
    }
  }

  // A character of two to four bytes, copied if it is well-formed UTF-8 in its shortest form.
  void append_multibyte(std::string& decoded) {
    const auto byte_at = [&](std::size_t index) {
      return index < text_.size() ? static_cast<unsigned char>(text_[index]) : 0U;
    };
    const unsigned lead = byte_at(place_);
    const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    std::uint32_t point = lead & (0xFFU >> (length + 1));
    for (std::size_t index = 1; index < length; ++index) {
      const unsigned byte = byte_at(place_ + index);
      if ((byte & 0xC0) != 0x80) fail("text that is not UTF-8");
      point = (point << 6) | (byte & 0x3F);
    }
    constexpr std::uint32_t kSmallest[] = {0x80, 0x800, 0x10000};
    const bool is_surrogate = point >= 0xD800 && point <= 0xDFFF;
    if (lead < 0xC0 || lead > 0xF7 || point < kSmallest[length - 2] || point > 0x10FFFF || is_surrogate) {
      fail("text that is not UTF-8");
    }
    decoded.append(text_.substr(place_, length));
    place_ += length;
  }

  std::string_view text_;
  const std::string& source_;
  std::size_t place_ = 0;
};

}  // namespace

Json parse_json(std::string_view text, const std::string& source) { return Parser(text, source).parse_all(); }

const Json* find(const JsonObject& object, const std::string& name) {
  const auto found = object.find(name);
  return found == object.end() ? nullptr : &found->second;
}

}  // namespace codling
