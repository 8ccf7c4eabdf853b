// Attention of a few rows of queries over a page of int8: what meets keys and values are whole numbers of two digits
// (views.hpp), so all sums are exact, and the same in every instruction set.
// V has, besides what float_kernels.hpp asks for:
//   Int, load_int, set_int, set_quad            bytes or 32-bit numbers; set_quad repeats four bytes
//   kRaised, raise                              whether products want int8 + 128 as their first factor
//   no_products                                 where sums begin, if not elsewhere: zeros
//   add_products(sums, first, second)           sums + four products a lane; first is from raise, or between 0 and 127
//   add_digits(high, low)                       high * kDigitBase + low, as floats
//   kInt8Rows, kInt8Vectors                     rows of a tile and vectors of slots or dimensions that the registers hold
#pragma once

#include "kernels/attention_softmax.hpp"

namespace codling {

template <typename V>
void split_query(const float* query, std::int64_t head_dim, std::int8_t* digits, float* scale, std::int32_t* correction) {
  const std::int64_t padded = padded_head_dim(head_dim);
  const float largest = largest_magnitude<V>(query, head_dim);
  const float inverse = largest > kSmallestScaled ? kLargestQuery / largest : 0.0F;
  for_padded_vectors<V>(query, head_dim, padded, [&](std::int64_t i, typename V::Float loaded) {
    const auto whole = V::round(scaled_within<V>(loaded, inverse, kLargestQuery));
    const auto high = V::round(V::mul(whole, V::set(1.0F / kDigitBase)));
    V::store_int8(digits + i, high);
    V::store_int8(digits + padded + i, V::fma(high, V::set(-kDigitBase), whole));
  });
  std::int32_t sum = 0;
  for (std::int64_t i = 0; i < head_dim; ++i) sum += digits[i] * kDigitBase + digits[padded + i];
  *scale = largest > kSmallestScaled ? largest / kLargestQuery : 0.0F;
  *correction = -kUnsignedZero * sum;
}

// Weights times the values' scales, in digits: high ones of all slots, then low ones. Returns the unit.
template <typename V>
float split_weights(const float* weights, const float* value_scales, std::int8_t* digits) {
  float scaled[kSlotsPerPage];
  auto largest_lanes = V::zero();
  for (std::int64_t slot = 0; slot < kSlotsPerPage; slot += V::kWidth) {
    const auto product = V::mul(V::load(weights + slot), V::load(value_scales + slot));
    largest_lanes = V::max(product, largest_lanes);
    V::store(scaled + slot, product);
  }
  const float largest = V::largest(largest_lanes);
  const float inverse = largest > kSmallestScaled ? kLargestWeight / largest : 0.0F;
  for (std::int64_t slot = 0; slot < kSlotsPerPage; slot += V::kWidth) {
    const auto positive = V::max(V::mul(V::load(scaled + slot), V::set(inverse)), V::zero());
    const auto whole = V::round(V::min(positive, V::set(kLargestWeight)));
    // The largest whole number below whole / 128: nothing is half-way between two.
    constexpr float kHalf = (kDigitBase - 1.0F) / 2.0F;
    const auto high = V::round(V::mul(V::sub(whole, V::set(kHalf)), V::set(1.0F / kDigitBase)));
    V::store_int8(digits + slot, high);
    V::store_int8(digits + kSlotsPerPage + slot, V::fma(high, V::set(-kDigitBase), whole));
  }
  return largest > kSmallestScaled ? largest / kLargestWeight : 0.0F;
}

// Where blocks lie that will be wanted next and later, or any that are there if none will.
struct Ahead {
  const std::int8_t* next;
  const std::int8_t* later;

  Ahead operator+(std::int64_t bytes) const { return {next + bytes, later + bytes}; }
};

inline __attribute__((always_inline)) void fetch(const Ahead& ahead, std::int64_t place) {
  fetch_to_second(ahead.later + place);
  fetch_to_first(ahead.next + place);
}

// Like score_floats. `ahead` is where keys lie that will be wanted.
template <typename V, int kRows>
void score_int8(const AttentionPage& page, std::int64_t row, const Ahead& ahead, float (*scores)[kSlotsPerPage]) {
  constexpr int kVectors = V::kInt8Vectors;
  constexpr std::int64_t kQuadBytes = kSlotsPerPage * kColumnsPerStep;
  static_assert(kSlotsPerPage % (kVectors * V::kWidth) == 0);
  const std::int64_t padded = padded_head_dim(page.block.head_dim), num_quads = divide_up(page.block.head_dim, kColumnsPerStep);
  const std::int8_t* digits[kRows];
  for (int r = 0; r < kRows; ++r) digits[r] = page.digits + page.digit_row(row + r) * 2 * padded;
  for (std::int64_t slot = 0; slot < kSlotsPerPage; slot += kVectors * V::kWidth) {
    typename V::Int high[kRows][kVectors], low[kRows][kVectors];
    for (int r = 0; r < kRows; ++r) {
      for (int i = 0; i < kVectors; ++i) {
        high[r][i] = V::no_products();
        low[r][i] = V::kRaised ? V::set_int(page.corrections[page.digit_row(row + r)]) : V::no_products();
      }
    }
    const auto* keys = static_cast<const std::int8_t*>(page.block.keys) + slot * kColumnsPerStep;
    for (std::int64_t quad = 0; quad < num_quads; ++quad, keys += kQuadBytes) {
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; ++i) fetch(ahead, quad * kQuadBytes + (slot + i * V::kWidth) * kColumnsPerStep);
      typename V::Int factors[kVectors];
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; ++i) factors[i] = V::raise(V::load_int(keys + i * V::kWidth * kColumnsPerStep));
#pragma GCC unroll 3
      for (int r = 0; r < kRows; ++r) {
        const auto high_digits = V::set_quad(digits[r] + quad * kColumnsPerStep);
        const auto low_digits = V::set_quad(digits[r] + padded + quad * kColumnsPerStep);
#pragma GCC unroll 4
        for (int i = 0; i < kVectors; ++i) {
          high[r][i] = V::add_products(high[r][i], factors[i], high_digits);
          low[r][i] = V::add_products(low[r][i], factors[i], low_digits);
        }
      }
    }
    for (int r = 0; r < kRows; ++r) {
      const auto scale = V::set(page.digit_scales[page.digit_row(row + r)]);
      for (int i = 0; i < kVectors; ++i) {
        const std::int64_t place = slot + i * V::kWidth;
        const auto scales = V::mul(scale, V::load(page.block.key_scales + place));
        V::store(scores[r] + place, V::mul(V::add_digits(high[r][i], low[r][i]), scales));
      }
    }
  }
}

// Like add_float_values. `ahead` is where values lie that will be wanted.
template <typename V, int kRows, int kVectors>
void add_int8_values(const AttentionPage& page, std::int64_t row, const Ahead& ahead, const std::int8_t (*digits)[2 * kSlotsPerPage],
                     const float* units, const float* fades, std::int64_t dim) {
  const std::int64_t padded = padded_head_dim(page.block.head_dim), quad_bytes = padded * kColumnsPerStep;
  const std::int64_t num_quads = divide_up(page.num_visible(row + kRows - 1), kColumnsPerStep);
  typename V::Int high[kRows][kVectors], low[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int i = 0; i < kVectors; ++i) {
      high[r][i] = V::no_products();
      low[r][i] = V::no_products();
    }
  }
  const auto* values = static_cast<const std::int8_t*>(page.block.values) + dim * kColumnsPerStep;
  for (std::int64_t quad = 0; quad < num_quads; ++quad, values += quad_bytes) {
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) fetch(ahead, quad * quad_bytes + (dim + i * V::kWidth) * kColumnsPerStep);
    typename V::Int factors[kVectors];
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) factors[i] = V::load_int(values + i * V::kWidth * kColumnsPerStep);
#pragma GCC unroll 3
    for (int r = 0; r < kRows; ++r) {
      const auto high_digits = V::set_quad(digits[r] + quad * kColumnsPerStep);
      const auto low_digits = V::set_quad(digits[r] + kSlotsPerPage + quad * kColumnsPerStep);
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; ++i) {
        high[r][i] = V::add_products(high[r][i], high_digits, factors[i]);
        low[r][i] = V::add_products(low[r][i], low_digits, factors[i]);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    float* attended = page.state.attended + (row + r) * padded + dim;
    for (int i = 0; i < kVectors; ++i) {
      const auto faded = V::mul(V::load(attended + i * V::kWidth), V::set(fades[r]));
      V::store(attended + i * V::kWidth, V::fma(V::add_digits(high[r][i], low[r][i]), V::set(units[r]), faded));
    }
  }
}

template <typename V, int kRows>
void attend_int8_rows(const AttentionPage& page, std::int64_t row) {
  float scores[kRows][kSlotsPerPage], fades[kRows], units[kRows];
  std::int8_t digits[kRows][2 * kSlotsPerPage];
  const auto* keys = static_cast<const std::int8_t*>(page.block.keys);
  const auto* values = static_cast<const std::int8_t*>(page.block.values);
  // While the first rows are computed, the next pages are on their way; for the others there is nothing to fetch, and asking
  // for what is there costs less than to ask whether to.
  const auto ahead_at = [&](const void* block) {
    return block && row == page.first_row() ? static_cast<const std::int8_t*>(block) : keys;
  };
  const Ahead ahead{ahead_at(page.next_block), ahead_at(page.later_block)};
  score_int8<V, kRows>(page, row, ahead, scores);
  for (int r = 0; r < kRows; ++r) {
    fades[r] = soften<V>(page, row + r, scores[r]);
    units[r] = split_weights<V>(scores[r], page.block.value_scales, digits[r]);
  }
  for_head<V, V::kInt8Vectors>(padded_head_dim(page.block.head_dim), [&](std::int64_t dim, auto vectors) {
    add_int8_values<V, kRows, decltype(vectors)::kValue>(page, row, ahead + (values - keys), digits, units, fades, dim);
  });
}

}  // namespace codling
