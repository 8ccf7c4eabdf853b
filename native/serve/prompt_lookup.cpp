#include "serve/prompt_lookup.hpp"

#include <algorithm>

namespace codling {
namespace {

constexpr std::int64_t kShortestMatch = 2;
// Longer ones are as good as this.
constexpr std::int64_t kLongestMatch = 16;

}  // namespace

std::span<const std::int32_t> look_up(std::span<const std::int32_t> tokens, std::int64_t count) {
  const auto size = static_cast<std::int64_t>(tokens.size());
  std::int64_t best_length = kShortestMatch - 1, best_end = size;
  for (std::int64_t end = size - 1; end > best_length && best_length < kLongestMatch; --end) {
    // Of a match, tokens [end - length, end) are the last `length` ones.
    const std::int64_t most = std::min(end, kLongestMatch);
    std::int64_t length = 0;
    while (length < most && tokens[end - 1 - length] == tokens[size - 1 - length]) ++length;
    if (length > best_length) best_length = length, best_end = end;
  }
  return tokens.subspan(best_end, std::min(count, size - best_end));
}

}  // namespace codling
