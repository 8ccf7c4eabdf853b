// AVX-512 with VNNI: a register is 16 rows of a block, its lanes four neighboring columns each.

#include "kernels/avx512_vectors.hpp"
#include "kernels/prefetch.hpp"

namespace codling {
namespace {

__mmask16 rows_of_block(const PaletteView& matrix, std::int64_t block) {
  const std::int64_t left = matrix.num_rows - block * kRowsPerBlock;
  return left < kRowsPerBlock ? V::first(static_cast<int>(left)) : static_cast<__mmask16>(-1);
}

// The table of a block's rows: its entries in each 128-bit lane, as a byte shuffle wants them.
template <int kBits>
__m512i table_of(const PaletteView& matrix, std::int64_t block) {
  const std::int8_t* table = matrix.tables + ((block * kRowsPerBlock / matrix.rows_per_table) << kBits);
  if constexpr (kBits == 4) return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
  std::int32_t entries;
  __builtin_memcpy(&entries, table, sizeof entries);
  return _mm512_set1_epi32(entries);
}

// Scales of the rows of a block, table and row together.
__m512 scales_of(const PaletteView& matrix, std::int64_t block, __mmask16 rows) {
  const __m512 of_table = _mm512_set1_ps(matrix.table_scales[block * kRowsPerBlock / matrix.rows_per_table]);
  if (!matrix.row_scales) return of_table;
  const __m256i halves = _mm256_maskz_loadu_epi16(rows, matrix.row_scales + block * kRowsPerBlock);
  return _mm512_mul_ps(of_table, _mm512_cvtph_ps(halves));
}

// Adds four products a lane: a quad of a token, from memory to all lanes, and the weights. gcc 12 loads quads into registers
// of their own, until sums have to leave theirs.
void add_quad(__m512i& sums, __m512i weights, const std::int8_t* quad) {
  asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sums) : "v"(weights), "m"(*reinterpret_cast<const char(*)[kColumnsPerStep]>(quad)));
}

// A block of 16 rows times a tile of tokens. Few tokens alone would wait for one product after the other, so they sum in
// several chains; whole numbers, so that chains change nothing.
template <int kBits, int kWidth>
void palette_int8_tile(const PaletteView& matrix, const Int8Tile& tile, std::int64_t block, const Outputs& out) {
  constexpr int kSteps = 8 / kBits;
  constexpr int kChains = kWidth >= kSteps ? 1 : kSteps / kWidth;
  const __m512i mask = _mm512_set1_epi8((1 << kBits) - 1);
  const __m512i table = _mm512_xor_si512(table_of<kBits>(matrix, block), _mm512_set1_epi8(-128));
  const std::int64_t num_chunks = matrix.chunks_per_block();
  const std::int64_t chunks_per_scale = kColumnsPerScale / matrix.columns_per_chunk();
  const std::uint8_t* chunk = matrix.indices + block * num_chunks * kChunkBytes;
  const std::int8_t* quads = tile.quads;
  // In memory: a wide tile's whole numbers need the registers.
  alignas(64) float sums[kWidth][kRowsPerBlock] = {};
  for (std::int64_t begin = 0, scale = 0; begin < num_chunks; begin += chunks_per_scale, scale += kWidth) {
    __m512i dots[kWidth][kChains];
#pragma GCC unroll 24
    for (int t = 0; t < kWidth; ++t) {
      dots[t][0] = _mm512_set1_epi32(tile.corrections[scale + t]);
      for (int chain = 1; chain < kChains; ++chain) dots[t][chain] = _mm512_setzero_si512();
    }
    const std::int64_t end = begin + chunks_per_scale < num_chunks ? begin + chunks_per_scale : num_chunks;
    for (std::int64_t index = begin; index < end; ++index, chunk += kChunkBytes) {
      fetch_ahead(chunk);
      const __m512i packed = _mm512_loadu_si512(chunk);
#pragma GCC unroll 4
      for (int step = 0; step < kSteps; ++step) {
        const __m512i weights = _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16(packed, kBits * step), mask));
#pragma GCC unroll 24
        for (int t = 0; t < kWidth; ++t) add_quad(dots[t][step % kChains], weights, quads + kColumnsPerStep * t);
        quads += kColumnsPerStep * kWidth;
      }
    }
#pragma GCC unroll 24
    for (int t = 0; t < kWidth; ++t) {
      __m512i dot = dots[t][0];
      for (int chain = 1; chain < kChains; ++chain) dot = _mm512_add_epi32(dot, dots[t][chain]);
      const __m512 sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), _mm512_set1_ps(tile.scales[scale + t]), _mm512_load_ps(sums[t]));
      _mm512_store_ps(sums[t], sum);
    }
  }
  const __mmask16 rows = rows_of_block(matrix, block);
  const __m512 scales = scales_of(matrix, block, rows);
  for (int t = 0; t < kWidth; ++t) {
    _mm512_mask_storeu_ps(out.values + t * out.stride + block * kRowsPerBlock, rows, _mm512_mul_ps(_mm512_load_ps(sums[t]), scales));
  }
}

template <int kWidth>
void palette_int8_width(const PaletteView& matrix, const Int8Tile& tile, std::int64_t first, std::int64_t last, const Outputs& out) {
  for (std::int64_t block = first; block < last; ++block) {
    if (matrix.bits == 4) {
      palette_int8_tile<4, kWidth>(matrix, tile, block, out);
    } else {
      palette_int8_tile<2, kWidth>(matrix, tile, block, out);
    }
  }
}

void palette_int8(const PaletteView& matrix, const Int8Tile& tile, std::int64_t first, std::int64_t last, const Outputs& out) {
  switch (tile.width) {
    case 1:
      return palette_int8_width<1>(matrix, tile, first, last, out);
    case 2:
      return palette_int8_width<2>(matrix, tile, first, last, out);
    case 4:
      return palette_int8_width<4>(matrix, tile, first, last, out);
    case 8:
      return palette_int8_width<8>(matrix, tile, first, last, out);
    default:
      return palette_int8_width<24>(matrix, tile, first, last, out);
  }
}

// Four sums a token, one for each column of a step, whatever the number of tokens: the same order, the same result.
template <int kBits, int kTokens>
void palette_float_tile(const PaletteView& matrix, const FloatTokens& x, std::int64_t token, std::int64_t block, const Outputs& out) {
  constexpr int kSteps = 8 / kBits;
  const __m512 entries = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm512_castsi512_si128(table_of<kBits>(matrix, block))));
  const __m512i mask = _mm512_set1_epi32((1 << kBits) - 1);
  const std::int64_t num_chunks = matrix.chunks_per_block();
  const std::uint8_t* chunk = matrix.indices + block * num_chunks * kChunkBytes;
  const float* inputs = x.values + token * x.stride;
  __m512 sums[kTokens][kColumnsPerStep];
  for (auto& of_token : sums) {
    for (auto& sum : of_token) sum = _mm512_setzero_ps();
  }
  for (std::int64_t index = 0; index < num_chunks; ++index, chunk += kChunkBytes) {
    fetch_ahead(chunk);
    const __m512i packed = _mm512_loadu_si512(chunk);
#pragma GCC unroll 4
    for (int step = 0; step < kSteps; ++step, inputs += kColumnsPerStep) {
#pragma GCC unroll 4
      for (int column = 0; column < kColumnsPerStep; ++column) {
        const __m512i indices = _mm512_and_si512(_mm512_srli_epi32(packed, 8 * column + kBits * step), mask);
        const __m512 weights = _mm512_permutexvar_ps(indices, entries);
#pragma GCC unroll 4
        for (int t = 0; t < kTokens; ++t) {
          sums[t][column] = _mm512_fmadd_ps(weights, _mm512_set1_ps(inputs[t * x.stride + column]), sums[t][column]);
        }
      }
    }
  }
  const __mmask16 rows = rows_of_block(matrix, block);
  const __m512 scales = scales_of(matrix, block, rows);
  for (int t = 0; t < kTokens; ++t) {
    const __m512 sum = _mm512_add_ps(_mm512_add_ps(sums[t][0], sums[t][1]), _mm512_add_ps(sums[t][2], sums[t][3]));
    _mm512_mask_storeu_ps(out.values + (token + t) * out.stride + block * kRowsPerBlock, rows, _mm512_mul_ps(sum, scales));
  }
}

template <int kBits>
void palette_float_block(const PaletteView& matrix, const FloatTokens& x, std::int64_t block, const Outputs& out) {
  std::int64_t token = 0;
  for (; token + 4 <= x.num_tokens; token += 4) palette_float_tile<kBits, 4>(matrix, x, token, block, out);
  for (; token < x.num_tokens; ++token) palette_float_tile<kBits, 1>(matrix, x, token, block, out);
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

// Outputs are summed in the same order whatever the tile.
template <int kRows, int kTokens>
void int8_rows_tile(const DenseView& matrix, const Int8Tokens& x, std::int64_t row, std::int64_t token, const Outputs& out) {
  constexpr std::int64_t kVectorBytes = 64;
  const auto* weights = static_cast<const std::int8_t*>(matrix.values) + row * matrix.num_columns;
  const __m512i to_unsigned = _mm512_set1_epi8(-128);
  __m512 sums[kRows][kTokens];
  for (auto& of_row : sums) {
    for (auto& sum : of_row) sum = _mm512_setzero_ps();
  }
  for (std::int64_t scale = 0; scale < x.num_scales; ++scale) {
    __m512i dots[kRows][kTokens];
#pragma GCC unroll 2
    for (int t = 0; t < kTokens; ++t) {
      // The correction is for the whole sum: one lane takes it.
      const __m512i correction = _mm512_maskz_set1_epi32(1, x.corrections[(token + t) * x.num_scales + scale]);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) dots[r][t] = correction;
    }
    for (std::int64_t part = 0; part < kColumnsPerScale; part += kVectorBytes) {
      const std::int64_t column = scale * kColumnsPerScale + part;
      const std::int64_t left = matrix.num_columns - column;
      if (left <= 0) break;
      const __mmask64 mask = left < kVectorBytes ? (std::uint64_t{1} << left) - 1 : ~std::uint64_t{0};
      const std::int8_t* inputs = x.values + token * x.stride + column;
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        const std::int8_t* line = weights + r * matrix.num_columns + column;
        if (token == 0) fetch_ahead(line);
        const __m512i raised = _mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, line), to_unsigned);
#pragma GCC unroll 2
        for (int t = 0; t < kTokens; ++t) dots[r][t] = _mm512_dpbusd_epi32(dots[r][t], raised, _mm512_loadu_si512(inputs + t * x.stride));
      }
    }
#pragma GCC unroll 2
    for (int t = 0; t < kTokens; ++t) {
      const __m512 factor = _mm512_set1_ps(x.scales[(token + t) * x.num_scales + scale]);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) sums[r][t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[r][t]), factor, sums[r][t]);
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    float* outputs = out.values + (token + t) * out.stride + row;
    for (int r = 0; r < kRows; ++r) outputs[r] = V::sum(sums[r][t]) * matrix.row_scales[row + r];
  }
}

template <int kRows>
void int8_rows_of(const DenseView& matrix, const Int8Tokens& x, std::int64_t row, const Outputs& out) {
  std::int64_t token = 0;
  for (; token + 2 <= x.num_tokens; token += 2) int8_rows_tile<kRows, 2>(matrix, x, row, token, out);
  if (token < x.num_tokens) int8_rows_tile<kRows, 1>(matrix, x, row, token, out);
}

void int8_rows(const DenseView& matrix, const Int8Tokens& x, std::int64_t first, std::int64_t last, const Outputs& out) {
  constexpr int kRows = 4;
  std::int64_t row = first;
  for (; row + kRows <= last; row += kRows) int8_rows_of<kRows>(matrix, x, row, out);
  for (; row < last; ++row) int8_rows_of<1>(matrix, x, row, out);
}

}  // namespace

const Kernels kAvx512Kernels = {
    "avx512",    24,        palette_int8, palette_float, dense<V>,       int8_rows, quantize<V>, round_block<V>,
    rms_norm<V>, rotate<V>, swiglu<V>,    add<V>,        split_query<V>, attend<V>, merge<V>,
};

}  // namespace codling
