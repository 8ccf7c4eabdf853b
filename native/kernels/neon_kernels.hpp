// NEON with the dot product (FEAT_DotProd): a register is 4 rows of a block, its lanes four neighboring columns each. Both
// factors of the product are signed, so nothing is raised and nothing corrected.
// Included by kernel files only, each of which has its own copy, compiled for its own processors.
#pragma once

#include "kernels/neon_vectors.hpp"

namespace codling {
namespace {

constexpr int kRowsPerQuarter = 4;
constexpr int kQuarterBytes = 16;
constexpr int kQuartersPerBlock = 4;

// The table of a block's rows, as a look-up of bytes wants it; beyond its entries, zeros.
template <int kBits>
int8x16_t table_of(const PaletteView& matrix, std::int64_t block) {
  const std::int8_t* table = matrix.tables + ((block * kRowsPerBlock / matrix.rows_per_table) << kBits);
  if constexpr (kBits == 4) {
    return read<int8x16_t>(table);
  } else {
    return vreinterpretq_s8_u32(vsetq_lane_u32(read<std::uint32_t>(table), vdupq_n_u32(0), 0));
  }
}

// Entries of a quarter of a chunk at one of its steps.
template <int kBits>
int8x16_t look_up(int8x16_t table, uint8x16_t packed, int step) {
  const uint8x16_t shifted = packed >> (kBits * step);
  // The last step's bits have nothing above them.
  const bool is_last = step + 1 == 8 / kBits;
  return vqtbl1q_s8(table, is_last ? shifted : vandq_u8(shifted, vdupq_n_u8((1 << kBits) - 1)));
}

// Scales the sums of a quarter of a block's rows and stores those that the matrix has.
void store_rows(const PaletteView& matrix, std::int64_t first_row, float32x4_t sums, float* outputs) {
  const std::int64_t left = matrix.num_rows - first_row;
  if (left <= 0) return;
  const int num_rows = left < kRowsPerQuarter ? static_cast<int>(left) : kRowsPerQuarter;
  float32x4_t scales = vdupq_n_f32(matrix.table_scales[first_row / matrix.rows_per_table]);
  if (matrix.row_scales) scales = vmulq_f32(scales, V::load_first_as<DenseType::kF16>(matrix.row_scales, first_row, num_rows));
  V::store_first(outputs + first_row, vmulq_f32(sums, scales), num_rows);
}

// Adds four products a lane; all lanes take one of the two quads of x.
int32x4_t add_products(int32x4_t sums, int8x16_t weights, int8x8_t x, int which) {
  return which == 0 ? vdotq_lane_s32(sums, weights, x, 0) : vdotq_lane_s32(sums, weights, x, 1);
}

// kQuarters quarters of a block, from `quarter` on, times a tile of tokens. Few tokens alone would wait for one product
// after the other, so they sum in several chains; whole numbers, so that chains change nothing.
template <int kBits, int kWidth, int kQuarters>
void palette_int8_tile(const PaletteView& matrix, const Int8Tile& tile, std::int64_t block, int quarter, const Outputs& out) {
  constexpr int kSteps = 8 / kBits;
  constexpr int kChains = kWidth >= kSteps ? 1 : kSteps / kWidth;
  const int8x16_t table = table_of<kBits>(matrix, block);
  const std::int64_t num_chunks = matrix.chunks_per_block();
  const std::int64_t chunks_per_scale = kColumnsPerScale / matrix.columns_per_chunk();
  const std::uint8_t* chunk = matrix.indices + block * num_chunks * kChunkBytes + quarter * kQuarterBytes;
  const std::int8_t* quads = tile.quads;
  // In memory: the whole numbers of a tile need the registers.
  float sums[kWidth][kQuarters][kRowsPerQuarter] = {};
  for (std::int64_t begin = 0, scale = 0; begin < num_chunks; begin += chunks_per_scale, scale += kWidth) {
    int32x4_t dots[kWidth][kQuarters][kChains];
    for (auto& of_token : dots) {
      for (auto& of_quarter : of_token) {
        for (auto& dot : of_quarter) dot = vdupq_n_s32(0);
      }
    }
    const std::int64_t end = begin + chunks_per_scale < num_chunks ? begin + chunks_per_scale : num_chunks;
    for (std::int64_t index = begin; index < end; ++index, chunk += kChunkBytes) {
      uint8x16_t packed[kQuarters];
      for (int q = 0; q < kQuarters; ++q) packed[q] = read<uint8x16_t>(chunk + q * kQuarterBytes);
      int8x8_t x;
#pragma GCC unroll 4
      for (int step = 0; step < kSteps; ++step) {
        int8x16_t weights[kQuarters];
#pragma GCC unroll 4
        for (int q = 0; q < kQuarters; ++q) weights[q] = look_up<kBits>(table, packed[q], step);
#pragma GCC unroll 8
        for (int t = 0; t < kWidth; ++t) {
          const int which = (step * kWidth + t) % 2;
          if (which == 0) x = read<int8x8_t>(quads + (step * kWidth + t) * kColumnsPerStep);
#pragma GCC unroll 4
          for (int q = 0; q < kQuarters; ++q) {
            int32x4_t& dot = dots[t][q][step % kChains];
            dot = add_products(dot, weights[q], x, which);
          }
        }
      }
      quads += kSteps * kWidth * kColumnsPerStep;
    }
#pragma GCC unroll 8
    for (int t = 0; t < kWidth; ++t) {
      for (int q = 0; q < kQuarters; ++q) {
        int32x4_t dot = dots[t][q][0];
        for (int chain = 1; chain < kChains; ++chain) dot = vaddq_s32(dot, dots[t][q][chain]);
        V::store(sums[t][q], vfmaq_n_f32(V::load(sums[t][q]), vcvtq_f32_s32(dot), tile.scales[scale + t]));
      }
    }
  }
  for (int t = 0; t < kWidth; ++t) {
    for (int q = 0; q < kQuarters; ++q) {
      const std::int64_t first_row = block * kRowsPerBlock + (quarter + q) * kRowsPerQuarter;
      store_rows(matrix, first_row, V::load(sums[t][q]), out.values + t * out.stride);
    }
  }
}

template <int kWidth>
void palette_int8_width(const PaletteView& matrix, const Int8Tile& tile, std::int64_t first, std::int64_t last, const Outputs& out) {
  // All quarters of a wide tile would not fit into the 32 registers.
  constexpr int kQuarters = kWidth <= 4 ? 4 : 2;
  for (std::int64_t block = first; block < last; ++block) {
    for (int quarter = 0; quarter < kQuartersPerBlock; quarter += kQuarters) {
      if (matrix.bits == 4) {
        palette_int8_tile<4, kWidth, kQuarters>(matrix, tile, block, quarter, out);
      } else {
        palette_int8_tile<2, kWidth, kQuarters>(matrix, tile, block, quarter, out);
      }
    }
  }
}

// A quarter of a block times a few tokens. A vector is four columns of one row: its lanes are the four sums that the plain
// loops have, in the same order.
template <int kBits, int kTokens>
void palette_float_tile(const PaletteView& matrix, const FloatTokens& x, std::int64_t token, std::int64_t block, int quarter,
                        const Outputs& out) {
  constexpr int kSteps = 8 / kBits;
  const int8x16_t table = table_of<kBits>(matrix, block);
  const std::int64_t num_chunks = matrix.chunks_per_block();
  const std::uint8_t* chunk = matrix.indices + block * num_chunks * kChunkBytes + quarter * kQuarterBytes;
  const float* inputs = x.values + token * x.stride;
  float32x4_t sums[kTokens][kRowsPerQuarter];
  for (auto& of_token : sums) {
    for (auto& sum : of_token) sum = vdupq_n_f32(0);
  }
  for (std::int64_t index = 0; index < num_chunks; ++index, chunk += kChunkBytes) {
    const auto packed = read<uint8x16_t>(chunk);
#pragma GCC unroll 4
    for (int step = 0; step < kSteps; ++step, inputs += kColumnsPerStep) {
      const int8x16_t entries = look_up<kBits>(table, packed, step);
      const int16x8_t low = vmovl_s8(vget_low_s8(entries)), high = vmovl_s8(vget_high_s8(entries));
      const float32x4_t weights[kRowsPerQuarter] = {
          vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(low))),
          vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(high)))};
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
        const float32x4_t columns = V::load(inputs + t * x.stride);
#pragma GCC unroll 4
        for (int r = 0; r < kRowsPerQuarter; ++r) sums[t][r] = vfmaq_f32(sums[t][r], weights[r], columns);
      }
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    // (0 + 1) + (2 + 3) of each row.
    const float32x4_t of_rows = vpaddq_f32(vpaddq_f32(sums[t][0], sums[t][1]), vpaddq_f32(sums[t][2], sums[t][3]));
    store_rows(matrix, block * kRowsPerBlock + quarter * kRowsPerQuarter, of_rows, out.values + (token + t) * out.stride);
  }
}

template <int kBits>
void palette_float_block(const PaletteView& matrix, const FloatTokens& x, std::int64_t block, const Outputs& out) {
  for (int quarter = 0; quarter < kQuartersPerBlock; ++quarter) {
    std::int64_t token = 0;
    for (; token + 4 <= x.num_tokens; token += 4) palette_float_tile<kBits, 4>(matrix, x, token, block, quarter, out);
    for (; token < x.num_tokens; ++token) palette_float_tile<kBits, 1>(matrix, x, token, block, quarter, out);
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

int8x16_t load_weights(const std::int8_t* weights, std::int64_t left) {
  if (left >= kQuarterBytes) return read<int8x16_t>(weights);
  std::int8_t copy[kQuarterBytes] = {};
  __builtin_memcpy(copy, weights, left);
  return read<int8x16_t>(copy);
}

// Four rows, or the last of a matrix alone: its sums are those of the plain loops, so they do not depend on neighbors.
template <int kRows>
void int8_rows_tile(const DenseView& matrix, const Int8Tokens& x, std::int64_t row, std::int64_t token, const Outputs& out) {
  const auto* weights = static_cast<const std::int8_t*>(matrix.values) + row * matrix.num_columns;
  const std::int8_t* inputs = x.values + token * x.stride;
  float sums[kRows] = {};
  for (std::int64_t scale = 0; scale < x.num_scales; ++scale) {
    int32x4_t dots[kRows];
    for (auto& dot : dots) dot = vdupq_n_s32(0);
    for (std::int64_t part = 0; part < kColumnsPerScale; part += kQuarterBytes) {
      const std::int64_t column = scale * kColumnsPerScale + part;
      const std::int64_t left = matrix.num_columns - column;
      if (left <= 0) break;
      const auto tokens = read<int8x16_t>(inputs + column);
      for (int r = 0; r < kRows; ++r) dots[r] = vdotq_s32(dots[r], load_weights(weights + r * matrix.num_columns + column, left), tokens);
    }
    const float factor = x.scales[token * x.num_scales + scale];
    for (int r = 0; r < kRows; ++r) sums[r] = __builtin_fmaf(static_cast<float>(vaddvq_s32(dots[r])), factor, sums[r]);
  }
  for (int r = 0; r < kRows; ++r) out.values[token * out.stride + row + r] = sums[r] * matrix.row_scales[row + r];
}

void int8_rows(const DenseView& matrix, const Int8Tokens& x, std::int64_t first, std::int64_t last, const Outputs& out) {
  constexpr int kRows = 4;
  std::int64_t row = first;
  for (; row + kRows <= last; row += kRows) {
    for (std::int64_t token = 0; token < x.num_tokens; ++token) int8_rows_tile<kRows>(matrix, x, row, token, out);
  }
  for (; row < last; ++row) {
    for (std::int64_t token = 0; token < x.num_tokens; ++token) int8_rows_tile<1>(matrix, x, row, token, out);
  }
}

}  // namespace
}  // namespace codling
