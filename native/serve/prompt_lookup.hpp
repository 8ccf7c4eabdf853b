// Speculation without a second model: what was said before may be said again.
#pragma once

#include <cstdint>
#include <span>

namespace codling {

// The tokens that came after the longest earlier match of the end of `tokens`, the latest of equally long ones: up to
// `count`, and none where only the last token matches. Source: prompt lookup decoding (Saxena, 2023).
// Price: one pass over the tokens, microseconds for a long context.
std::span<const std::int32_t> look_up(std::span<const std::int32_t> tokens, std::int64_t count);

}  // namespace codling
