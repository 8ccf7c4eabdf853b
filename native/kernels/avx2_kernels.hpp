// AVX2: half a block of rows in a register. What differs between processors with and without VNNI is a struct Dot:
//   raise(int8 weights)                     to unsigned bytes, if it wants them so
//   Weights, prepare(raised weights)        what a product needs of the weights
//   add_products(sums, Weights, int8 x)     sums + four products a lane
//   kCorrected                              whether the weights were raised by kUnsignedZero
//   add_small_products(sums, unsigned, x)   the same for factors whose products, two by two, fit into 16 bits
// Included by kernel files only, which define Dot in their own anonymous namespaces.
#pragma once

#include "kernels/avx2_vectors.hpp"
#include "kernels/prefetch.hpp"

namespace codling {
namespace {

constexpr std::int64_t kRowsPerHalf = 8;
constexpr std::int64_t kHalfBytes = 32;

// Rows of half a block that the matrix has: none or fewer at its end.
int rows_of_half(const PaletteView& matrix, std::int64_t first_row) {
  const std::int64_t left = matrix.num_rows - first_row;
  return static_cast<int>(left < 0 ? 0 : left < kRowsPerHalf ? left : kRowsPerHalf);
}

// The table of a block's rows: its entries in each 128-bit lane, as a byte shuffle wants them.
template <int kBits>
__m256i table_of(const PaletteView& matrix, std::int64_t block) {
  const std::int8_t* table = matrix.tables + ((block * kRowsPerBlock / matrix.rows_per_table) << kBits);
  if constexpr (kBits == 4) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
  } else {
    std::int32_t entries;
    __builtin_memcpy(&entries, table, sizeof entries);
    return _mm256_set1_epi32(entries);
  }
}

// Scales the sums of half a block of rows and stores those that the matrix has.
void store_rows(const PaletteView& matrix, std::int64_t first_row, __m256 sums, float* outputs) {
  const int num_rows = rows_of_half(matrix, first_row);
  if (num_rows == 0) return;
  __m256 scales = _mm256_set1_ps(matrix.table_scales[first_row / matrix.rows_per_table]);
  if (matrix.row_scales) {
    scales = _mm256_mul_ps(scales, V::load_first_as<DenseType::kF16>(matrix.row_scales, first_row, num_rows));
  }
  V::store_first(outputs + first_row, _mm256_mul_ps(sums, scales), num_rows);
}

// kHalves halves of a block, from `half` on, times a tile of tokens.
template <typename Dot, int kBits, int kWidth, int kHalves>
void palette_int8_tile(const PaletteView& matrix, const Int8Tile& tile, std::int64_t block, int half, const Outputs& out) {
  constexpr int kSteps = 8 / kBits;
  const __m256i mask = _mm256_set1_epi8((1 << kBits) - 1);
  const __m256i table = Dot::raise(table_of<kBits>(matrix, block));
  const std::int64_t num_chunks = matrix.chunks_per_block();
  const std::int64_t chunks_per_scale = kColumnsPerScale / matrix.columns_per_chunk();
  const std::uint8_t* chunk = matrix.indices + block * num_chunks * kChunkBytes + half * kHalfBytes;
  const std::int8_t* quads = tile.quads;
  // In memory: the whole numbers of a tile need the registers.
  alignas(32) float sums[kWidth][kHalves][kRowsPerHalf] = {};
  for (std::int64_t begin = 0, scale = 0; begin < num_chunks; begin += chunks_per_scale, scale += kWidth) {
    __m256i dots[kWidth][kHalves];
#pragma GCC unroll 8
    for (int t = 0; t < kWidth; ++t) {
      for (int h = 0; h < kHalves; ++h) dots[t][h] = _mm256_set1_epi32(Dot::kCorrected ? tile.corrections[scale + t] : 0);
    }
    const std::int64_t end = begin + chunks_per_scale < num_chunks ? begin + chunks_per_scale : num_chunks;
    for (std::int64_t index = begin; index < end; ++index, chunk += kChunkBytes) {
      if (half == 0) fetch_ahead(chunk);
      __m256i packed[kHalves];
      for (int h = 0; h < kHalves; ++h) packed[h] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(chunk + h * kHalfBytes));
#pragma GCC unroll 4
      for (int step = 0; step < kSteps; ++step) {
        typename Dot::Weights weights[kHalves];
#pragma GCC unroll 2
        for (int h = 0; h < kHalves; ++h) {
          const __m256i indices = _mm256_and_si256(_mm256_srli_epi16(packed[h], kBits * step), mask);
          weights[h] = Dot::prepare(_mm256_shuffle_epi8(table, indices));
        }
#pragma GCC unroll 8
        for (int t = 0; t < kWidth; ++t) {
          std::int32_t quad;
          __builtin_memcpy(&quad, quads + kColumnsPerStep * t, sizeof quad);
          const __m256i x = _mm256_set1_epi32(quad);
#pragma GCC unroll 2
          for (int h = 0; h < kHalves; ++h) dots[t][h] = Dot::add_products(dots[t][h], weights[h], x);
        }
        quads += kColumnsPerStep * kWidth;
      }
    }
#pragma GCC unroll 8
    for (int t = 0; t < kWidth; ++t) {
      const __m256 factor = _mm256_set1_ps(tile.scales[scale + t]);
      for (int h = 0; h < kHalves; ++h) {
        const __m256 sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[t][h]), factor, _mm256_load_ps(sums[t][h]));
        _mm256_store_ps(sums[t][h], sum);
      }
    }
  }
  for (int t = 0; t < kWidth; ++t) {
    for (int h = 0; h < kHalves; ++h) {
      const std::int64_t first_row = block * kRowsPerBlock + (half + h) * kRowsPerHalf;
      store_rows(matrix, first_row, _mm256_load_ps(sums[t][h]), out.values + t * out.stride);
    }
  }
}

template <typename Dot, int kWidth>
void palette_int8_width(const PaletteView& matrix, const Int8Tile& tile, std::int64_t first, std::int64_t last, const Outputs& out) {
  // Both halves of a wide tile would not fit into the 16 registers.
  constexpr int kHalves = kWidth <= 4 ? 2 : 1;
  for (std::int64_t block = first; block < last; ++block) {
    for (int half = 0; half < 2; half += kHalves) {
      if (matrix.bits == 4) {
        palette_int8_tile<Dot, 4, kWidth, kHalves>(matrix, tile, block, half, out);
      } else {
        palette_int8_tile<Dot, 2, kWidth, kHalves>(matrix, tile, block, half, out);
      }
    }
  }
}

template <typename Dot>
void palette_int8(const PaletteView& matrix, const Int8Tile& tile, std::int64_t first, std::int64_t last, const Outputs& out) {
  switch (tile.width) {
    case 1:
      return palette_int8_width<Dot, 1>(matrix, tile, first, last, out);
    case 2:
      return palette_int8_width<Dot, 2>(matrix, tile, first, last, out);
    case 4:
      return palette_int8_width<Dot, 4>(matrix, tile, first, last, out);
    default:
      return palette_int8_width<Dot, 8>(matrix, tile, first, last, out);
  }
}

// Entries of a table as floats; a look-up of 16 is two of 8 and a choice by the index' highest bit.
template <int kBits>
struct FloatTable {
  __m256 low, high;

  explicit FloatTable(__m256i table) {
    const __m128i bytes = _mm256_castsi256_si128(table);
    low = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
    high = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)));
  }

  __m256 look_up(__m256i indices) const {
    const __m256 below = _mm256_permutevar8x32_ps(low, indices);
    if constexpr (kBits == 2) return below;
    const __m256 above = _mm256_permutevar8x32_ps(high, indices);
    return _mm256_blendv_ps(below, above, _mm256_castsi256_ps(_mm256_slli_epi32(indices, 28)));
  }
};

// Four sums a token, one for each column of a step, whatever the number of tokens: the same order, the same result.
template <int kBits, int kTokens>
void palette_float_tile(const PaletteView& matrix, const FloatTokens& x, std::int64_t token, std::int64_t block, int half, const Outputs& out) {
  constexpr int kSteps = 8 / kBits;
  const FloatTable<kBits> table(table_of<kBits>(matrix, block));
  const __m256i mask = _mm256_set1_epi32((1 << kBits) - 1);
  const std::int64_t num_chunks = matrix.chunks_per_block();
  const std::uint8_t* chunk = matrix.indices + block * num_chunks * kChunkBytes + half * kHalfBytes;
  const float* inputs = x.values + token * x.stride;
  __m256 sums[kTokens][kColumnsPerStep];
  for (auto& of_token : sums) {
    for (auto& sum : of_token) sum = _mm256_setzero_ps();
  }
  for (std::int64_t index = 0; index < num_chunks; ++index, chunk += kChunkBytes) {
    const __m256i packed = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(chunk));
#pragma GCC unroll 4
    for (int step = 0; step < kSteps; ++step, inputs += kColumnsPerStep) {
#pragma GCC unroll 4
      for (int column = 0; column < kColumnsPerStep; ++column) {
        const __m256 weights = table.look_up(_mm256_and_si256(_mm256_srli_epi32(packed, 8 * column + kBits * step), mask));
#pragma GCC unroll 2
        for (int t = 0; t < kTokens; ++t) {
          sums[t][column] = _mm256_fmadd_ps(weights, _mm256_set1_ps(inputs[t * x.stride + column]), sums[t][column]);
        }
      }
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    const __m256 sum = _mm256_add_ps(_mm256_add_ps(sums[t][0], sums[t][1]), _mm256_add_ps(sums[t][2], sums[t][3]));
    store_rows(matrix, block * kRowsPerBlock + half * kRowsPerHalf, sum, out.values + (token + t) * out.stride);
  }
}

template <int kBits>
void palette_float_block(const PaletteView& matrix, const FloatTokens& x, std::int64_t block, const Outputs& out) {
  for (int half = 0; half < 2; ++half) {
    std::int64_t token = 0;
    for (; token + 2 <= x.num_tokens; token += 2) palette_float_tile<kBits, 2>(matrix, x, token, block, half, out);
    for (; token < x.num_tokens; ++token) palette_float_tile<kBits, 1>(matrix, x, token, block, half, out);
  }
}

void palette_float(const PaletteView& matrix, const FloatTokens& x, std::int64_t first, std::int64_t last, const Outputs& out) {
  for (std::int64_t block = first; block < last; ++block) {
    if (matrix.bits == 4) {
      palette_float_block<4>(matrix, x, block, out);
    } else {
      palette_float_block<2>(matrix, x, block, out);
    }
  }
}

__m256i load_weights(const std::int8_t* weights, std::int64_t left) {
  if (left >= kHalfBytes) return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights));
  alignas(32) std::int8_t copy[kHalfBytes] = {};
  for (std::int64_t i = 0; i < left; ++i) copy[i] = weights[i];
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(copy));
}

template <typename Dot, int kRows>
void int8_rows_tile(const DenseView& matrix, const Int8Tokens& x, std::int64_t row, std::int64_t token, const Outputs& out) {
  const auto* weights = static_cast<const std::int8_t*>(matrix.values) + row * matrix.num_columns;
  const std::int8_t* inputs = x.values + token * x.stride;
  __m256 sums[kRows];
  for (auto& sum : sums) sum = _mm256_setzero_ps();
  for (std::int64_t scale = 0; scale < x.num_scales; ++scale) {
    // The correction is for the whole sum: one lane takes it.
    const std::int32_t correction = Dot::kCorrected ? x.corrections[token * x.num_scales + scale] : 0;
    __m256i dots[kRows];
    for (auto& dot : dots) dot = _mm256_setr_epi32(correction, 0, 0, 0, 0, 0, 0, 0);
    for (std::int64_t part = 0; part < kColumnsPerScale; part += kHalfBytes) {
      const std::int64_t column = scale * kColumnsPerScale + part;
      const std::int64_t left = matrix.num_columns - column;
      if (left <= 0) break;
      const __m256i tokens = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(inputs + column));
      for (int r = 0; r < kRows; ++r) {
        const auto prepared = Dot::prepare(Dot::raise(load_weights(weights + r * matrix.num_columns + column, left)));
        dots[r] = Dot::add_products(dots[r], prepared, tokens);
      }
    }
    const __m256 factor = _mm256_set1_ps(x.scales[token * x.num_scales + scale]);
    for (int r = 0; r < kRows; ++r) sums[r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[r]), factor, sums[r]);
  }
  for (int r = 0; r < kRows; ++r) out.values[token * out.stride + row + r] = V::sum(sums[r]) * matrix.row_scales[row + r];
}

template <typename Dot>
void int8_rows(const DenseView& matrix, const Int8Tokens& x, std::int64_t first, std::int64_t last, const Outputs& out) {
  constexpr int kRows = 2;
  std::int64_t row = first;
  for (; row + kRows <= last; row += kRows) {
    for (std::int64_t token = 0; token < x.num_tokens; ++token) int8_rows_tile<Dot, kRows>(matrix, x, row, token, out);
  }
  for (; row < last; ++row) {
    for (std::int64_t token = 0; token < x.num_tokens; ++token) int8_rows_tile<Dot, 1>(matrix, x, row, token, out);
  }
}

template <typename Dot>
constexpr Kernels kernels_with(const char* name) {
  return {
      name,        8,         palette_int8<Dot>, palette_float, dense<V>,       int8_rows<Dot>,        quantize<V>, round_block<V>,
      rms_norm<V>, rotate<V>, swiglu<V>,         add<V>,        split_query<V>, attend<WithInts<Dot>>, merge<V>,
  };
}

}  // namespace
}  // namespace codling
