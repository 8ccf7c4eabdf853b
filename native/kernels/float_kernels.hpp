// The kernels whose arithmetic is float, for any instruction set: written once over a vector type.
//
// A kernel file defines a struct V in its own anonymous namespace, so that what is compiled here for one processor can
// never be linked into the code of another. V has:
//   Float, kWidth                               a vector, and the floats in it
//   zero, set, load, store                      of all lanes; addresses may be unaligned
//   load_first, store_first                     of the first n lanes, 0 < n <= kWidth; the others are zero
//   load_as<type>, load_first_as<type>          the same from stored weights, as floats
//   add, sub, mul, div, min, max, abs, fma      fma(a, b, c) = a * b + c; min and max give b where a is not a number
//   sum, largest                                across the lanes
//   sum_each                                    sums of as many vectors as a vector has lanes, each as by sum
//   round, times_power_of_two                   to the nearest even; x * 2^n for whole n from -126 to 127
//   store_int8                                  rounds lanes between -127 and 127
//   kDenseRows                                  rows of a dense tile of four tokens that the registers hold
#pragma once

#include <math.h>

#include "kernels/prefetch.hpp"
#include "kernels/sets.hpp"

namespace codling {

// Up to so many vectors of columns, adding up lanes costs more than the products.
inline constexpr int kNarrowVectors = 4;

// exp(x), relative error below 1e-6; 1e-38 below -87.3.
// Cephes' polynomial after x = n ln 2 + r, |r| <= ln 2 / 2 (https://www.netlib.org/cephes, expf).
template <typename V>
typename V::Float exponential(typename V::Float x) {
  constexpr float kLeast = -87.33F, kMost = 88.0F;
  constexpr float kLn2High = 0.693359375F, kLn2Low = -2.12194440e-4F;
  x = V::max(x, V::set(kLeast));
  x = V::min(x, V::set(kMost));
  const auto n = V::round(V::mul(x, V::set(1.44269504088896341F)));
  auto r = V::fma(n, V::set(-kLn2High), x);
  r = V::fma(n, V::set(-kLn2Low), r);
  auto p = V::set(1.9875691500e-4F);
  p = V::fma(p, r, V::set(1.3981999507e-3F));
  p = V::fma(p, r, V::set(8.3334519073e-3F));
  p = V::fma(p, r, V::set(4.1665795894e-2F));
  p = V::fma(p, r, V::set(1.6666665459e-1F));
  p = V::fma(p, r, V::set(5.0000001201e-1F));
  p = V::fma(p, V::mul(r, r), V::add(r, V::set(1.0F)));
  return V::times_power_of_two(p, n);
}

// Calls `whole(place)` for whole vectors of `count` floats, and `part(place, n)` for the n that are left, if any.
template <typename V, typename Whole, typename Part>
void for_vectors(std::int64_t count, Whole whole, Part part) {
  std::int64_t place = 0;
  for (; place + V::kWidth <= count; place += V::kWidth) whole(place);
  if (place < count) part(place, static_cast<int>(count - place));
}

template <DenseType kType>
const void* address_of(const void* values, std::int64_t place) {
  return static_cast<const char*>(values) + place * size_bytes(kType);
}

// A few rows times a few tokens. Each output is summed in the same order whatever the tile.
template <typename V, DenseType kType, int kRows, int kTokens>
void dense_tile(const DenseView& matrix, const FloatTokens& x, std::int64_t row, std::int64_t token, const Outputs& out, bool add) {
  typename V::Float sums[kRows][kTokens];
  for (auto& of_row : sums) {
    for (auto& sum : of_row) sum = V::zero();
  }
  const std::int64_t num_columns = matrix.num_columns;
  std::int64_t column = 0;
  for (; column + V::kWidth <= num_columns; column += V::kWidth) {
    typename V::Float inputs[kTokens];
    for (int t = 0; t < kTokens; ++t) inputs[t] = V::load(x.values + (token + t) * x.stride + column);
    for (int r = 0; r < kRows; ++r) {
      const std::int64_t place = (row + r) * num_columns + column;
      fetch_ahead(address_of<kType>(matrix.values, place));
      const auto weights = V::template load_as<kType>(matrix.values, place);
      for (int t = 0; t < kTokens; ++t) sums[r][t] = V::fma(weights, inputs[t], sums[r][t]);
    }
  }
  if (const auto left = static_cast<int>(num_columns - column); left > 0) {
    for (int r = 0; r < kRows; ++r) {
      const auto weights = V::template load_first_as<kType>(matrix.values, (row + r) * num_columns + column, left);
      for (int t = 0; t < kTokens; ++t) {
        sums[r][t] = V::fma(weights, V::load_first(x.values + (token + t) * x.stride + column, left), sums[r][t]);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    const float scale = matrix.row_scales ? matrix.row_scales[row + r] : 1.0F;
    for (int t = 0; t < kTokens; ++t) {
      float& output = out.values[(token + t) * out.stride + row + r];
      const float sum = V::sum(sums[r][t]) * scale;
      output = add ? output + sum : sum;
    }
  }
}

template <typename V, DenseType kType, int kRows>
void dense_rows(const DenseView& matrix, const FloatTokens& x, std::int64_t row, const Outputs& out, bool add) {
  std::int64_t token = 0;
  for (; token + 4 <= x.num_tokens; token += 4) dense_tile<V, kType, kRows, 4>(matrix, x, row, token, out, add);
  for (; token < x.num_tokens; ++token) dense_tile<V, kType, kRows, 1>(matrix, x, row, token, out, add);
}

// A vector of rows of a few columns, such as the second matrix of an adapter has: their sums end side by side. Outputs are
// those of dense_tile.
template <typename V, DenseType kType>
void narrow_rows(const DenseView& matrix, const FloatTokens& x, std::int64_t row, const Outputs& out, bool add) {
  const std::int64_t num_columns = matrix.num_columns;
  const auto scales = matrix.row_scales ? V::load(matrix.row_scales + row) : V::set(1.0F);
  for (std::int64_t token = 0; token < x.num_tokens; ++token) {
    typename V::Float sums[V::kWidth];
    for (auto& sum : sums) sum = V::zero();
    for_vectors<V>(
        num_columns,
        [&](std::int64_t column) {
          const auto inputs = V::load(x.values + token * x.stride + column);
#pragma GCC unroll 16
          for (int r = 0; r < V::kWidth; ++r) {
            const std::int64_t place = (row + r) * num_columns + column;
            fetch_ahead(address_of<kType>(matrix.values, place));
            sums[r] = V::fma(V::template load_as<kType>(matrix.values, place), inputs, sums[r]);
          }
        },
        [&](std::int64_t column, int n) {
          const auto inputs = V::load_first(x.values + token * x.stride + column, n);
#pragma GCC unroll 16
          for (int r = 0; r < V::kWidth; ++r) {
            sums[r] = V::fma(V::template load_first_as<kType>(matrix.values, (row + r) * num_columns + column, n), inputs, sums[r]);
          }
        });
    float* outputs = out.values + token * out.stride + row;
    const auto of_rows = V::mul(V::sum_each(sums), scales);
    V::store(outputs, add ? V::add(V::load(outputs), of_rows) : of_rows);
  }
}

template <typename V, DenseType kType>
void dense_of_type(const DenseView& matrix, const FloatTokens& x, std::int64_t first, std::int64_t last, const Outputs& out, bool add) {
  constexpr int kRows = V::kDenseRows;
  std::int64_t row = first;
  if (matrix.num_columns <= kNarrowVectors * V::kWidth) {
    for (; row + V::kWidth <= last; row += V::kWidth) narrow_rows<V, kType>(matrix, x, row, out, add);
  }
  for (; row + kRows <= last; row += kRows) dense_rows<V, kType, kRows>(matrix, x, row, out, add);
  for (; row < last; ++row) dense_rows<V, kType, 1>(matrix, x, row, out, add);
}

template <typename V>
void dense(const DenseView& matrix, const FloatTokens& x, std::int64_t first, std::int64_t last, const Outputs& out, bool add) {
  switch (matrix.type) {
    case DenseType::kF32:
      return dense_of_type<V, DenseType::kF32>(matrix, x, first, last, out, add);
    case DenseType::kF16:
      return dense_of_type<V, DenseType::kF16>(matrix, x, first, last, out, add);
    case DenseType::kBF16:
      return dense_of_type<V, DenseType::kBF16>(matrix, x, first, last, out, add);
    case DenseType::kI8:
      return dense_of_type<V, DenseType::kI8>(matrix, x, first, last, out, add);
  }
}

// What is not a number loses against the maximum so far, as in the plain loops.
template <typename V>
float largest_magnitude(const float* x, std::int64_t count) {
  auto lanes = V::zero();
  for_vectors<V>(
      count, [&](std::int64_t i) { lanes = V::max(V::abs(V::load(x + i)), lanes); },
      [&](std::int64_t i, int n) { lanes = V::max(V::abs(V::load_first(x + i, n)), lanes); });
  return V::largest(lanes);
}

// Calls `whole(place, vector)` for `padded` floats, a multiple of the vectors' width: zeros after the first `count`.
template <typename V, typename Whole>
void for_padded_vectors(const float* x, std::int64_t count, std::int64_t padded, Whole whole) {
  for (std::int64_t i = round_up(count, V::kWidth); i < padded; i += V::kWidth) whole(i, V::zero());
  for_vectors<V>(
      count, [&](std::int64_t i) { whole(i, V::load(x + i)); }, [&](std::int64_t i, int n) { whole(i, V::load_first(x + i, n)); });
}

// x * inverse, between -bound and bound; what is not a number becomes -bound.
template <typename V>
typename V::Float scaled_within(typename V::Float x, float inverse, float bound) {
  return V::min(V::max(V::mul(x, V::set(inverse)), V::set(-bound)), V::set(bound));
}

template <typename V>
float round_block(const float* x, std::int64_t count, std::int64_t padded, std::int8_t* values) {
  const float largest = largest_magnitude<V>(x, count);
  const float inverse = largest > kSmallestScaled ? kLargestInt8 / largest : 0.0F;
  for_padded_vectors<V>(x, count, padded, [&](std::int64_t i, typename V::Float loaded) {
    V::store_int8(values + i, scaled_within<V>(loaded, inverse, kLargestInt8));
  });
  return largest > kSmallestScaled ? largest / kLargestInt8 : 0.0F;
}

template <typename V>
void quantize(const float* x, std::int64_t num_columns, std::int8_t* values, float* scales, std::int32_t* corrections) {
  for (std::int64_t begin = 0; begin < num_columns; begin += kColumnsPerScale) {
    const std::int64_t left = num_columns - begin;
    const std::int64_t count = left < kColumnsPerScale ? left : kColumnsPerScale;
    scales[begin / kColumnsPerScale] = round_block<V>(x + begin, count, kColumnsPerScale, values + begin);
    std::int32_t sum = 0;
    for (std::int64_t i = 0; i < kColumnsPerScale; ++i) sum += values[begin + i];
    corrections[begin / kColumnsPerScale] = -kUnsignedZero * sum;
  }
}

template <typename V>
void rms_norm(const float* x, const float* weight, float epsilon, std::int64_t count, float* y) {
  auto squares = V::zero();
  const auto add_square = [&](typename V::Float value) { squares = V::fma(value, value, squares); };
  for_vectors<V>(
      count, [&](std::int64_t i) { add_square(V::load(x + i)); },
      [&](std::int64_t i, int n) { add_square(V::load_first(x + i, n)); });
  const auto inverse = V::set(1.0F / sqrtf(V::sum(squares) / static_cast<float>(count) + epsilon));
  for_vectors<V>(
      count, [&](std::int64_t i) { V::store(y + i, V::mul(V::mul(V::load(x + i), inverse), V::load(weight + i))); },
      [&](std::int64_t i, int n) {
        V::store_first(y + i, V::mul(V::mul(V::load_first(x + i, n), inverse), V::load_first(weight + i, n)), n);
      });
}

template <typename V>
void rotate(float* head, const float* cosine, const float* sine, std::int64_t head_dim) {
  float* other = head + head_dim / 2;
  const auto turn = [](auto left, auto right, auto c, auto s, auto& new_left, auto& new_right) {
    new_left = V::sub(V::mul(left, c), V::mul(right, s));
    new_right = V::add(V::mul(right, c), V::mul(left, s));
  };
  typename V::Float left, right;
  for_vectors<V>(
      head_dim / 2,
      [&](std::int64_t i) {
        turn(V::load(head + i), V::load(other + i), V::load(cosine + i), V::load(sine + i), left, right);
        V::store(head + i, left);
        V::store(other + i, right);
      },
      [&](std::int64_t i, int n) {
        turn(V::load_first(head + i, n), V::load_first(other + i, n), V::load_first(cosine + i, n),
             V::load_first(sine + i, n), left, right);
        V::store_first(head + i, left, n);
        V::store_first(other + i, right, n);
      });
}

template <typename V>
void swiglu(float* gate, const float* up, std::int64_t count) {
  const auto gated = [](typename V::Float g, typename V::Float u) {
    const auto one = V::set(1.0F);
    return V::mul(V::div(g, V::add(one, exponential<V>(V::sub(V::zero(), g)))), u);
  };
  for_vectors<V>(
      count, [&](std::int64_t i) { V::store(gate + i, gated(V::load(gate + i), V::load(up + i))); },
      [&](std::int64_t i, int n) { V::store_first(gate + i, gated(V::load_first(gate + i, n), V::load_first(up + i, n)), n); });
}

template <typename V>
void add(float* x, const float* y, std::int64_t count) {
  for_vectors<V>(
      count, [&](std::int64_t i) { V::store(x + i, V::add(V::load(x + i), V::load(y + i))); },
      [&](std::int64_t i, int n) { V::store_first(x + i, V::add(V::load_first(x + i, n), V::load_first(y + i, n)), n); });
}

}  // namespace codling
