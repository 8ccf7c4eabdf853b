// Attention over one page in plain loops. Included by scalar.cpp only.
#pragma once

#include <math.h>

#include "kernels/half.hpp"
#include "kernels/sets.hpp"

namespace codling {
namespace {

// What is not a number loses against the others.
float largest_magnitude(const float* x, std::int64_t count) {
  float largest = 0;
  for (std::int64_t index = 0; index < count; ++index) {
    const float size = fabsf(x[index]);
    largest = size > largest ? size : largest;
  }
  return largest;
}

// x * inverse, between -bound and bound; what is not a number becomes -bound.
float scaled_within(float x, float inverse, float bound) {
  const float scaled = x * inverse;
  const float above = scaled > -bound ? scaled : -bound;
  return above < bound ? above : bound;
}

void split_query(const float* query, std::int64_t head_dim, std::int8_t* digits, float* scale, std::int32_t* correction) {
  const std::int64_t padded = padded_head_dim(head_dim);
  const float largest = largest_magnitude(query, head_dim);
  const float inverse = largest > kSmallestScaled ? kLargestQuery / largest : 0.0F;
  std::int32_t sum = 0;
  for (std::int64_t dim = 0; dim < padded; ++dim) {
    const float whole = dim < head_dim ? nearbyintf(scaled_within(query[dim], inverse, kLargestQuery)) : 0.0F;
    const float high = nearbyintf(whole / kDigitBase);
    digits[dim] = static_cast<std::int8_t>(high);
    digits[padded + dim] = static_cast<std::int8_t>(whole - high * kDigitBase);
    sum += static_cast<std::int32_t>(whole);
  }
  *scale = largest > kSmallestScaled ? largest / kLargestQuery : 0.0F;
  *correction = -kUnsignedZero * sum;
}

float key_at(const KvBlock& block, std::int64_t slot, std::int64_t dim) {
  const std::int64_t place = dim * kSlotsPerPage + slot;
  switch (block.type) {
    case KvType::kF32:
      return static_cast<const float*>(block.keys)[place];
    case KvType::kBF16:
      return bfloat16_to_float(static_cast<const std::uint16_t*>(block.keys)[place]);
    case KvType::kI8:
      return static_cast<const std::int8_t*>(block.keys)[(dim / kColumnsPerStep * kSlotsPerPage + slot) * kColumnsPerStep + dim % kColumnsPerStep];
  }
  __builtin_unreachable();
}

float value_at(const KvBlock& block, std::int64_t slot, std::int64_t dim) {
  const std::int64_t padded = padded_head_dim(block.head_dim), place = slot * padded + dim;
  switch (block.type) {
    case KvType::kF32:
      return static_cast<const float*>(block.values)[place];
    case KvType::kBF16:
      return bfloat16_to_float(static_cast<const std::uint16_t*>(block.values)[place]);
    case KvType::kI8:
      return static_cast<const std::int8_t*>(block.values)[(slot / kColumnsPerStep * padded + dim) * kColumnsPerStep + slot % kColumnsPerStep];
  }
  __builtin_unreachable();
}

float score(const AttentionPage& page, std::int64_t row, std::int64_t slot) {
  const std::int64_t head_dim = page.block.head_dim;
  if (page.block.type != KvType::kI8) {
    float sum = 0;
    for (std::int64_t dim = 0; dim < head_dim; ++dim) sum = fmaf(page.query(row)[dim], key_at(page.block, slot, dim), sum);
    return sum;
  }
  const std::int8_t* digits = page.digits + page.digit_row(row) * 2 * padded_head_dim(head_dim);
  std::int32_t sum = 0;
  for (std::int64_t dim = 0; dim < head_dim; ++dim) {
    const std::int32_t query = digits[dim] * kDigitBase + digits[padded_head_dim(head_dim) + dim];
    sum += query * static_cast<std::int32_t>(key_at(page.block, slot, dim));
  }
  return static_cast<float>(sum) * (page.digit_scales[page.digit_row(row)] * page.block.key_scales[slot]);
}

// Weights times the values' scales, as whole numbers in place; returns the unit.
float round_weights(const float* value_scales, std::int64_t num_visible, float* weights) {
  float largest = 0;
  for (std::int64_t slot = 0; slot < num_visible; ++slot) {
    weights[slot] *= value_scales[slot];
    largest = weights[slot] > largest ? weights[slot] : largest;
  }
  const float inverse = largest > kSmallestScaled ? kLargestWeight / largest : 0.0F;
  for (std::int64_t slot = 0; slot < num_visible; ++slot) {
    const float scaled = weights[slot] * inverse;
    const float positive = scaled > 0 ? scaled : 0.0F;
    weights[slot] = nearbyintf(positive < kLargestWeight ? positive : kLargestWeight);
  }
  return largest > kSmallestScaled ? largest / kLargestWeight : 0.0F;
}

float weighted_sum(const KvBlock& block, std::int64_t dim, const float* weights, std::int64_t num_visible) {
  if (block.type != KvType::kI8) {
    float sum = 0;
    for (std::int64_t slot = 0; slot < num_visible; ++slot) sum = fmaf(weights[slot], value_at(block, slot, dim), sum);
    return sum;
  }
  std::int32_t sum = 0;
  for (std::int64_t slot = 0; slot < num_visible; ++slot) {
    sum += static_cast<std::int32_t>(weights[slot]) * static_cast<std::int32_t>(value_at(block, slot, dim));
  }
  return static_cast<float>(sum);
}

void attend_row(const AttentionPage& page, std::int64_t row) {
  const std::int64_t num_visible = page.num_visible(row), padded = padded_head_dim(page.block.head_dim);
  float& maximum = page.state.maxima[row];
  float& sum = page.state.sums[row];
  float* attended = page.state.attended + row * padded;
  float weights[kSlotsPerPage];
  float largest = maximum;
  for (std::int64_t slot = 0; slot < num_visible; ++slot) {
    weights[slot] = score(page, row, slot);
    largest = weights[slot] > largest ? weights[slot] : largest;
  }
  const float fade = expf(maximum - largest);
  maximum = largest;
  sum *= fade;
  for (std::int64_t slot = 0; slot < num_visible; ++slot) {
    weights[slot] = expf(weights[slot] - largest);
    sum += weights[slot];
  }
  const float unit = page.block.type == KvType::kI8 ? round_weights(page.block.value_scales, num_visible, weights) : 1.0F;
  for (std::int64_t dim = 0; dim < page.block.head_dim; ++dim) {
    attended[dim] = fmaf(weighted_sum(page.block, dim, weights, num_visible), unit, attended[dim] * fade);
  }
}

void attend(const AttentionPage& page) {
  for (std::int64_t row = page.first_row(); row < page.num_rows(); ++row) attend_row(page, row);
}

void merge(const AttentionState& into, const AttentionState& from, std::int64_t num_rows, std::int64_t padded) {
  for (std::int64_t row = 0; row < num_rows; ++row) {
    const float largest = from.maxima[row] > into.maxima[row] ? from.maxima[row] : into.maxima[row];
    const float fade = expf(into.maxima[row] - largest), weight = expf(from.maxima[row] - largest);
    into.maxima[row] = largest;
    into.sums[row] = into.sums[row] * fade + from.sums[row] * weight;
    for (std::int64_t dim = row * padded; dim < (row + 1) * padded; ++dim) {
      into.attended[dim] = fmaf(from.attended[dim], weight, into.attended[dim] * fade);
    }
  }
}

}  // namespace
}  // namespace codling
