// Plain loops: what every other set is compared with, and what runs where there is no other.

#include <math.h>

#include "kernels/half.hpp"
#include "kernels/scalar_attention.hpp"
#include "kernels/sets.hpp"

namespace codling {
namespace {

int index_at(const PaletteView& matrix, std::int64_t block, std::int64_t row, std::int64_t column) {
  const std::int64_t step = column / kColumnsPerStep;
  const std::int64_t steps_per_chunk = 8 / matrix.bits;
  const std::int64_t chunk = block * matrix.chunks_per_block() + step / steps_per_chunk;
  const std::uint8_t byte = matrix.indices[chunk * kChunkBytes + kColumnsPerStep * row + column % kColumnsPerStep];
  return (byte >> (matrix.bits * (step % steps_per_chunk))) & ((1 << matrix.bits) - 1);
}

const std::int8_t* table_of(const PaletteView& matrix, std::int64_t block) {
  return matrix.tables + ((block * kRowsPerBlock / matrix.rows_per_table) << matrix.bits);
}

float scale_of(const PaletteView& matrix, std::int64_t row) {
  const float of_row = matrix.row_scales ? half_to_float(matrix.row_scales[row]) : 1.0F;
  return matrix.table_scales[row / matrix.rows_per_table] * of_row;
}

std::int64_t rows_in_block(const PaletteView& matrix, std::int64_t block) {
  const std::int64_t left = matrix.num_rows - block * kRowsPerBlock;
  return left < kRowsPerBlock ? left : kRowsPerBlock;
}

void palette_int8(const PaletteView& matrix, const Int8Tile& tile, std::int64_t first, std::int64_t last, const Outputs& out) {
  for (std::int64_t block = first; block < last; ++block) {
    for (std::int64_t row = 0; row < rows_in_block(matrix, block); ++row) {
      for (int token = 0; token < tile.width; ++token) {
        float sum = 0;
        for (std::int64_t begin = 0; begin < matrix.num_columns; begin += kColumnsPerScale) {
          const std::int64_t end = begin + kColumnsPerScale < matrix.num_columns ? begin + kColumnsPerScale : matrix.num_columns;
          std::int32_t dot = 0;
          for (std::int64_t column = begin; column < end; ++column) {
            const std::int64_t quad = column / kColumnsPerStep * tile.width + token;
            const int x = tile.quads[quad * kColumnsPerStep + column % kColumnsPerStep];
            dot += table_of(matrix, block)[index_at(matrix, block, row, column)] * x;
          }
          sum = fmaf(static_cast<float>(dot), tile.scales[begin / kColumnsPerScale * tile.width + token], sum);
        }
        const std::int64_t global_row = block * kRowsPerBlock + row;
        out.values[token * out.stride + global_row] = sum * scale_of(matrix, global_row);
      }
    }
  }
}

void palette_float(const PaletteView& matrix, const FloatTokens& x, std::int64_t first, std::int64_t last, const Outputs& out) {
  for (std::int64_t block = first; block < last; ++block) {
    for (std::int64_t row = 0; row < rows_in_block(matrix, block); ++row) {
      const std::int64_t global_row = block * kRowsPerBlock + row;
      for (std::int64_t token = 0; token < x.num_tokens; ++token) {
        float sums[kColumnsPerStep] = {};
        for (std::int64_t column = 0; column < matrix.num_columns; ++column) {
          const float entry = table_of(matrix, block)[index_at(matrix, block, row, column)];
          float& sum = sums[column % kColumnsPerStep];
          sum = fmaf(entry, x.values[token * x.stride + column], sum);
        }
        out.values[token * out.stride + global_row] = ((sums[0] + sums[1]) + (sums[2] + sums[3])) * scale_of(matrix, global_row);
      }
    }
  }
}

float value_at(const DenseView& matrix, std::int64_t place) {
  switch (matrix.type) {
    case DenseType::kF32:
      return static_cast<const float*>(matrix.values)[place];
    case DenseType::kF16:
      return half_to_float(static_cast<const std::uint16_t*>(matrix.values)[place]);
    case DenseType::kBF16:
      return bfloat16_to_float(static_cast<const std::uint16_t*>(matrix.values)[place]);
    case DenseType::kI8:
      return static_cast<const std::int8_t*>(matrix.values)[place];
  }
  __builtin_unreachable();
}

void dense(const DenseView& matrix, const FloatTokens& x, std::int64_t first, std::int64_t last, const Outputs& out, bool add) {
  for (std::int64_t row = first; row < last; ++row) {
    for (std::int64_t token = 0; token < x.num_tokens; ++token) {
      float sum = 0;
      for (std::int64_t column = 0; column < matrix.num_columns; ++column) {
        sum = fmaf(value_at(matrix, row * matrix.num_columns + column), x.values[token * x.stride + column], sum);
      }
      if (matrix.row_scales) sum *= matrix.row_scales[row];
      float& output = out.values[token * out.stride + row];
      output = add ? output + sum : sum;
    }
  }
}

void int8_rows(const DenseView& matrix, const Int8Tokens& x, std::int64_t first, std::int64_t last, const Outputs& out) {
  const auto* weights = static_cast<const std::int8_t*>(matrix.values);
  for (std::int64_t row = first; row < last; ++row) {
    for (std::int64_t token = 0; token < x.num_tokens; ++token) {
      float sum = 0;
      for (std::int64_t begin = 0; begin < matrix.num_columns; begin += kColumnsPerScale) {
        const std::int64_t end = begin + kColumnsPerScale < matrix.num_columns ? begin + kColumnsPerScale : matrix.num_columns;
        std::int32_t dot = 0;
        for (std::int64_t column = begin; column < end; ++column) {
          dot += weights[row * matrix.num_columns + column] * x.values[token * x.stride + column];
        }
        sum = fmaf(static_cast<float>(dot), x.scales[token * x.num_scales + begin / kColumnsPerScale], sum);
      }
      out.values[token * out.stride + row] = sum * matrix.row_scales[row];
    }
  }
}

float round_block(const float* x, std::int64_t count, std::int64_t padded, std::int8_t* values) {
  const float largest = largest_magnitude(x, count);
  const float inverse = largest > kSmallestScaled ? kLargestInt8 / largest : 0.0F;
  for (std::int64_t index = 0; index < padded; ++index) {
    values[index] = index < count ? static_cast<std::int8_t>(nearbyintf(scaled_within(x[index], inverse, kLargestInt8))) : std::int8_t{0};
  }
  return largest > kSmallestScaled ? largest / kLargestInt8 : 0.0F;
}

void quantize(const float* x, std::int64_t num_columns, std::int8_t* values, float* scales, std::int32_t* corrections) {
  for (std::int64_t begin = 0; begin < num_columns; begin += kColumnsPerScale) {
    const std::int64_t left = num_columns - begin;
    const std::int64_t count = left < kColumnsPerScale ? left : kColumnsPerScale;
    scales[begin / kColumnsPerScale] = round_block(x + begin, count, kColumnsPerScale, values + begin);
    std::int32_t sum = 0;
    for (std::int64_t index = 0; index < kColumnsPerScale; ++index) sum += values[begin + index];
    corrections[begin / kColumnsPerScale] = -kUnsignedZero * sum;
  }
}

void rms_norm(const float* x, const float* weight, float epsilon, std::int64_t count, float* y) {
  float sum = 0;
  for (std::int64_t index = 0; index < count; ++index) sum = fmaf(x[index], x[index], sum);
  const float inverse = 1.0F / sqrtf(sum / static_cast<float>(count) + epsilon);
  for (std::int64_t index = 0; index < count; ++index) y[index] = x[index] * inverse * weight[index];
}

void rotate(float* head, const float* cosine, const float* sine, std::int64_t head_dim) {
  const std::int64_t half = head_dim / 2;
  for (std::int64_t index = 0; index < half; ++index) {
    const float left = head[index], right = head[index + half];
    head[index] = left * cosine[index] - right * sine[index];
    head[index + half] = right * cosine[index] + left * sine[index];
  }
}

void swiglu(float* gate, const float* up, std::int64_t count) {
  for (std::int64_t index = 0; index < count; ++index) gate[index] = gate[index] / (1.0F + expf(-gate[index])) * up[index];
}

void add(float* x, const float* y, std::int64_t count) {
  for (std::int64_t index = 0; index < count; ++index) x[index] += y[index];
}

}  // namespace

const Kernels kScalarKernels = {
    "scalar", 8,      palette_int8, palette_float, dense,       int8_rows, quantize, round_block,
    rms_norm, rotate, swiglu,       add,           split_query, attend,    merge,
};

}  // namespace codling
