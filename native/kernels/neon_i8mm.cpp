// NEON with int8 matrix products (FEAT_I8MM): one instruction multiplies two rows with two tokens, eight columns deep, so
// prompts take half the products that the dot product would. One token alone uses that one.

#include "kernels/neon_kernels.hpp"

namespace codling {
namespace {

// Two quads of x, or of the rows of a quarter, side by side: of the lower two lanes, and of the upper two.
int8x16_t lower_pair(int8x16_t first, int8x16_t second) {
  return vreinterpretq_s8_s32(vzip1q_s32(vreinterpretq_s32_s8(first), vreinterpretq_s32_s8(second)));
}
int8x16_t upper_pair(int8x16_t first, int8x16_t second) {
  return vreinterpretq_s8_s32(vzip2q_s32(vreinterpretq_s32_s8(first), vreinterpretq_s32_s8(second)));
}

// The quads of up to four tokens; zeros for those that the tile has not.
template <int kTokens>
int8x16_t load_quads(const std::int8_t* quads) {
  if constexpr (kTokens == 4) return read<int8x16_t>(quads);
  return vcombine_s8(read<int8x8_t>(quads), vdup_n_s8(0));
}

// Half a block, from `quarter` on, times a tile of tokens. dots[p][i] are rows 2i and 2i + 1 of the half times tokens 2p
// and 2p + 1: row by row, and of each row both tokens.
template <int kBits, int kWidth>
void pairs_tile(const PaletteView& matrix, const Int8Tile& tile, std::int64_t block, int quarter, const Outputs& out) {
  constexpr int kSteps = 8 / kBits, kQuarters = 2;
  constexpr int kPairs = kWidth / 2, kRowPairs = kQuarters * kRowsPerQuarter / 2;
  // Tokens whose quads one register holds.
  constexpr int kTokens = kWidth < 4 ? kWidth : 4;
  const int8x16_t table = table_of<kBits>(matrix, block);
  const std::int64_t num_chunks = matrix.chunks_per_block();
  const std::int64_t chunks_per_scale = kColumnsPerScale / matrix.columns_per_chunk();
  const std::uint8_t* chunk = matrix.indices + block * num_chunks * kChunkBytes + quarter * kQuarterBytes;
  const std::int8_t* quads = tile.quads;
  // In memory: the whole numbers of a tile need the registers.
  float sums[kWidth][kQuarters][kRowsPerQuarter] = {};
  for (std::int64_t begin = 0, scale = 0; begin < num_chunks; begin += chunks_per_scale, scale += kWidth) {
    int32x4_t dots[kPairs][kRowPairs];
    for (auto& of_tokens : dots) {
      for (auto& dot : of_tokens) dot = vdupq_n_s32(0);
    }
    const std::int64_t end = begin + chunks_per_scale < num_chunks ? begin + chunks_per_scale : num_chunks;
    for (std::int64_t index = begin; index < end; ++index, chunk += kChunkBytes) {
      uint8x16_t packed[kQuarters];
      for (int q = 0; q < kQuarters; ++q) packed[q] = read<uint8x16_t>(chunk + q * kQuarterBytes);
#pragma GCC unroll 2
      for (int step = 0; step < kSteps; step += 2) {
        int8x16_t rows[kRowPairs];
#pragma GCC unroll 2
        for (int q = 0; q < kQuarters; ++q) {
          const int8x16_t first = look_up<kBits>(table, packed[q], step), second = look_up<kBits>(table, packed[q], step + 1);
          rows[2 * q] = lower_pair(first, second);
          rows[2 * q + 1] = upper_pair(first, second);
        }
#pragma GCC unroll 2
        for (int t = 0; t < kWidth; t += kTokens) {
          const int8x16_t first = load_quads<kTokens>(quads + t * kColumnsPerStep);
          const int8x16_t second = load_quads<kTokens>(quads + (kWidth + t) * kColumnsPerStep);
          const int8x16_t tokens[] = {lower_pair(first, second), upper_pair(first, second)};
#pragma GCC unroll 2
          for (int p = 0; p < kTokens / 2; ++p) {
#pragma GCC unroll 4
            for (int i = 0; i < kRowPairs; ++i) dots[t / 2 + p][i] = vmmlaq_s32(dots[t / 2 + p][i], rows[i], tokens[p]);
          }
        }
        quads += 2 * kWidth * kColumnsPerStep;
      }
    }
#pragma GCC unroll 8
    for (int t = 0; t < kWidth; ++t) {
#pragma GCC unroll 2
      for (int q = 0; q < kQuarters; ++q) {
        const int32x4_t low = dots[t / 2][2 * q], high = dots[t / 2][2 * q + 1];
        const int32x4_t of_token = t % 2 == 0 ? vuzp1q_s32(low, high) : vuzp2q_s32(low, high);
        V::store(sums[t][q], vfmaq_n_f32(V::load(sums[t][q]), vcvtq_f32_s32(of_token), tile.scales[scale + t]));
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
void pairs_width(const PaletteView& matrix, const Int8Tile& tile, std::int64_t first, std::int64_t last, const Outputs& out) {
  for (std::int64_t block = first; block < last; ++block) {
    for (int quarter = 0; quarter < kQuartersPerBlock; quarter += 2) {
      if (matrix.bits == 4) {
        pairs_tile<4, kWidth>(matrix, tile, block, quarter, out);
      } else {
        pairs_tile<2, kWidth>(matrix, tile, block, quarter, out);
      }
    }
  }
}

void palette_int8(const PaletteView& matrix, const Int8Tile& tile, std::int64_t first, std::int64_t last, const Outputs& out) {
  switch (tile.width) {
    case 1:
      return palette_int8_width<1>(matrix, tile, first, last, out);
    case 2:
      return pairs_width<2>(matrix, tile, first, last, out);
    case 4:
      return pairs_width<4>(matrix, tile, first, last, out);
    default:
      return pairs_width<8>(matrix, tile, first, last, out);
  }
}

}  // namespace

const Kernels kNeonI8mmKernels = {
    "neon_i8mm", 8,         palette_int8, palette_float, dense<V>,       int8_rows, quantize<V>, round_block<V>,
    rms_norm<V>, rotate<V>, swiglu<V>,    add<V>,        split_query<V>, attend<V>, merge<V>,
};

}  // namespace codling
