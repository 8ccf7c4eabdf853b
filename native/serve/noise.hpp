// The randomness of draws: a pure function of (seed, position of the drawn token, candidate), so what is drawn does not
// depend on batch, cache or speculation, and a draft that draws by the same noise agrees with the target most often.
//
// The largest of logit / temperature + Gumbel noise is a draw from the softmax. Source: Gumbel, 1954; the generator is
// SplitMix64 (Steele, Lea and Flood, 2014), entered at a place that seed and position choose.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace codling {

inline constexpr std::uint64_t kSplitMixStep = 0x9E3779B97F4A7C15;

constexpr std::uint64_t split_mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

// The noise of all candidates at one position.
class Noise {
 public:
  Noise(std::uint64_t seed, std::int64_t position)
      : start_(split_mix(split_mix(seed + kSplitMixStep) + static_cast<std::uint64_t>(position) * kSplitMixStep)) {}

  std::uint32_t bits(std::int32_t token) const {
    return static_cast<std::uint32_t>(split_mix(start_ + (static_cast<std::uint64_t>(token) + 1) * kSplitMixStep) >> 32);
  }
  // Of the middle of the 2^-32 that the bits stand for: never infinite.
  static double gumbel(std::uint32_t bits) { return -std::log(-std::log((bits + 0.5) * 0x1p-32)); }
  // gumbel(bits) is below this: -log(u) > 1 - u, and 1 - u > 2^-(zeros + 1) for so many leading zeros of the complement.
  static double bound(std::uint32_t bits) { return (1 + std::countl_zero(~bits)) * std::numbers::ln2; }
  static constexpr double kLargest = 33 * std::numbers::ln2;

 private:
  std::uint64_t start_;
};

}  // namespace codling
