// JSON as RFC 8259 has it, read strictly: the headers of weight files may come from anywhere.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace codling {

struct Json;
using JsonArray = std::vector<Json>;
using JsonObject = std::map<std::string, Json>;

// A number without fraction or exponent that fits is an int64; all others are doubles.
struct Json : std::variant<std::nullptr_t, bool, std::int64_t, double, std::string, JsonArray, JsonObject> {
  using variant::variant;

  // The value if it is of this type, otherwise null.
  template <typename T>
  const T* get() const {
    return std::get_if<T>(static_cast<const variant*>(this));
  }
};

// One value and nothing after it but white space.
// Throws InputError that begins with `source` for anything else, for a name that an object has twice, for text that is
// not UTF-8, and for values nested deeper than any header of ours.
Json parse_json(std::string_view text, const std::string& source);

// The member of an object, or null where there is none.
const Json* find(const JsonObject& object, const std::string& name);

}  // namespace codling
