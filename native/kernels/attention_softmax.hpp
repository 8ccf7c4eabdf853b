// What attention over any type of cache shares, for any instruction set: tiles of rows of queries, and the softmax that goes
// on from page to page. Rows are computed alike in tiles of any size, so that none depends on its neighbors.
#pragma once

#include "kernels/float_kernels.hpp"

namespace codling {

template <int kCount>
struct Count {
  static constexpr int kValue = kCount;
};

// Calls `call(Count<n>())` for 0 < n <= kMost.
template <int kMost, typename Call>
void with_count(std::int64_t n, Call call) {
  if constexpr (kMost > 1) {
    if (n < kMost) return with_count<kMost - 1>(n, call);
  }
  call(Count<kMost>());
}

// Calls `call(dim, Count<vectors>())` for all vectors of a head, as many at once as there may be.
template <typename V, int kVectors, typename Call>
void for_head(std::int64_t padded, Call call) {
  std::int64_t dim = 0;
  for (; dim + kVectors * V::kWidth <= padded; dim += kVectors * V::kWidth) call(dim, Count<kVectors>());
  for (; dim < padded; dim += V::kWidth) call(dim, Count<1>());
}

// Makes weights of a row's scores, zero for slots that it does not see, and counts them in; returns by how much what was
// attended before fades.
template <typename V>
float soften(const AttentionPage& page, std::int64_t row, float* scores) {
  const std::int64_t num_visible = page.num_visible(row);
  float& maximum = page.state.maxima[row];
  for (std::int64_t slot = num_visible; slot < kSlotsPerPage; ++slot) scores[slot] = -HUGE_VALF;
  auto largest_lanes = V::set(maximum);
  for (std::int64_t slot = 0; slot < kSlotsPerPage; slot += V::kWidth) largest_lanes = V::max(V::load(scores + slot), largest_lanes);
  const float largest = V::largest(largest_lanes);
  auto sum_lanes = V::zero();
  for (std::int64_t slot = 0; slot < kSlotsPerPage; slot += V::kWidth) {
    V::store(scores + slot, exponential<V>(V::sub(V::load(scores + slot), V::set(largest))));
  }
  for (std::int64_t slot = num_visible; slot < kSlotsPerPage; ++slot) scores[slot] = 0;
  for (std::int64_t slot = 0; slot < kSlotsPerPage; slot += V::kWidth) sum_lanes = V::add(sum_lanes, V::load(scores + slot));
  const float fade = expf(maximum - largest);
  maximum = largest;
  page.state.sums[row] = page.state.sums[row] * fade + V::sum(sum_lanes);
  return fade;
}

template <typename V>
void merge(const AttentionState& into, const AttentionState& from, std::int64_t num_rows, std::int64_t padded) {
  for (std::int64_t row = 0; row < num_rows; ++row) {
    const float largest = from.maxima[row] > into.maxima[row] ? from.maxima[row] : into.maxima[row];
    const float fade = expf(into.maxima[row] - largest), weight = expf(from.maxima[row] - largest);
    into.maxima[row] = largest;
    into.sums[row] = into.sums[row] * fade + from.sums[row] * weight;
    float* attended = into.attended + row * padded;
    const float* added = from.attended + row * padded;
    for (std::int64_t dim = 0; dim < padded; dim += V::kWidth) {
      V::store(attended + dim, V::fma(V::load(added + dim), V::set(weight), V::mul(V::load(attended + dim), V::set(fade))));
    }
  }
}

}  // namespace codling
