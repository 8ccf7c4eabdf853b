// Attention of a few rows of queries over a page of floats, 32 or 16 bits wide.
// V has, besides what float_kernels.hpp asks for, kFloatRows: rows of a tile that the registers hold, with kFloatVectors
// vectors of slots or dimensions each.
#pragma once

#include "kernels/attention_softmax.hpp"

namespace codling {

inline constexpr int kFloatVectors = 4;

// Scores of all slots; those that the query does not see are whatever the page holds.
template <typename V, DenseType kType, int kRows>
void score_floats(const AttentionPage& page, std::int64_t row, float (*scores)[kSlotsPerPage]) {
  static_assert(kSlotsPerPage % (kFloatVectors * V::kWidth) == 0);
  const float* queries[kRows];
  for (int r = 0; r < kRows; ++r) queries[r] = page.query(row + r);
  for (std::int64_t slot = 0; slot < kSlotsPerPage; slot += kFloatVectors * V::kWidth) {
    typename V::Float sums[kRows][kFloatVectors];
    for (auto& of_row : sums) {
      for (auto& sum : of_row) sum = V::zero();
    }
    for (std::int64_t dim = 0; dim < page.block.head_dim; ++dim) {
      typename V::Float query[kRows];
#pragma GCC unroll 6
      for (int r = 0; r < kRows; ++r) query[r] = V::set(queries[r][dim]);
#pragma GCC unroll 4
      for (int i = 0; i < kFloatVectors; ++i) {
        const auto keys = V::template load_as<kType>(page.block.keys, dim * kSlotsPerPage + slot + i * V::kWidth);
#pragma GCC unroll 6
        for (int r = 0; r < kRows; ++r) sums[r][i] = V::fma(query[r], keys, sums[r][i]);
      }
    }
    for (int r = 0; r < kRows; ++r) {
      for (int i = 0; i < kFloatVectors; ++i) V::store(scores[r] + slot + i * V::kWidth, sums[r][i]);
    }
  }
}

// attended = attended * fade + sum over slots of weight * value, for kVectors vectors of the head from `dim` on.
template <typename V, DenseType kType, int kRows, int kVectors>
void add_float_values(const AttentionPage& page, std::int64_t row, const float (*weights)[kSlotsPerPage], const float* fades, std::int64_t dim) {
  const std::int64_t padded = padded_head_dim(page.block.head_dim), num_slots = page.num_visible(row + kRows - 1);
  float* attended = page.state.attended + row * padded + dim;
  typename V::Float sums[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int i = 0; i < kVectors; ++i) sums[r][i] = V::mul(V::load(attended + r * padded + i * V::kWidth), V::set(fades[r]));
  }
  for (std::int64_t slot = 0; slot < num_slots; ++slot) {
    typename V::Float weight[kRows];
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) weight[r] = V::set(weights[r][slot]);
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) {
      const auto values = V::template load_as<kType>(page.block.values, slot * padded + dim + i * V::kWidth);
#pragma GCC unroll 6
      for (int r = 0; r < kRows; ++r) sums[r][i] = V::fma(weight[r], values, sums[r][i]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int i = 0; i < kVectors; ++i) V::store(attended + r * padded + i * V::kWidth, sums[r][i]);
  }
}

template <typename V, DenseType kType, int kRows>
void attend_float_rows(const AttentionPage& page, std::int64_t row) {
  float scores[kRows][kSlotsPerPage], fades[kRows];
  score_floats<V, kType, kRows>(page, row, scores);
  for (int r = 0; r < kRows; ++r) fades[r] = soften<V>(page, row + r, scores[r]);
  for_head<V, kFloatVectors>(padded_head_dim(page.block.head_dim), [&](std::int64_t dim, auto vectors) {
    add_float_values<V, kType, kRows, decltype(vectors)::kValue>(page, row, scores, fades, dim);
  });
}

}  // namespace codling
