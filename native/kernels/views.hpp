// What the kernels read and write: plain structs of pointers into mapped files and buffers.
//
// Kernel files are compiled for processors that this one may not be. They include nothing but headers like this one: a
// function of the standard library that is compiled there but not inlined could be the copy that the whole program runs.
#pragma once

#include <cstdint>

namespace codling {

inline constexpr std::int64_t kRowsPerBlock = 16;
inline constexpr std::int64_t kColumnsPerStep = 4;
inline constexpr std::int64_t kChunkBytes = 64;

// Columns of a token that share one scale when activations are int8.
// More would make the kernels faster by a few hundredths, fewer would let an outlier spoil fewer neighbors.
inline constexpr std::int64_t kColumnsPerScale = 128;

// Float activations are padded with zeros to a multiple of this: whole chunks, whole vectors.
inline constexpr std::int64_t kColumnPadding = 16;

// Slots of one page of the key/value cache.
inline constexpr std::int64_t kSlotsPerPage = 64;

// What int8 table entries and int8 weights are raised by to be unsigned, as four-byte dot products want one factor.
inline constexpr std::int32_t kUnsignedZero = 128;

constexpr std::int64_t divide_up(std::int64_t value, std::int64_t by) { return (value + by - 1) / by; }
constexpr std::int64_t round_up(std::int64_t value, std::int64_t to) { return divide_up(value, to) * to; }

struct PaletteView {
  // Blocks of 16 rows, each a sequence of 64-byte chunks (FORMAT.md).
  const std::uint8_t* indices;
  const std::int8_t* tables;
  const float* table_scales;
  // binary16, or null where rows have no scales.
  const std::uint16_t* row_scales;
  std::int64_t num_rows;
  std::int64_t num_columns;
  std::int64_t rows_per_table;
  int bits;

  constexpr std::int64_t columns_per_chunk() const { return kColumnsPerStep * (8 / bits); }
  constexpr std::int64_t chunks_per_block() const { return divide_up(num_columns, columns_per_chunk()); }
  constexpr std::int64_t num_blocks() const { return divide_up(num_rows, kRowsPerBlock); }
};

enum class DenseType { kF32, kF16, kBF16, kI8 };

constexpr std::int64_t size_bytes(DenseType type) { return type == DenseType::kF32 ? 4 : type == DenseType::kI8 ? 1 : 2; }

struct DenseView {
  // [num_rows, num_columns], without padding.
  const void* values;
  // One a row for int8, otherwise null.
  const float* row_scales;
  std::int64_t num_rows;
  std::int64_t num_columns;
  DenseType type;
};

// Tokens of float activations: `stride` floats from one to the next, zeros from num_columns on to a multiple of
// kColumnPadding.
struct FloatTokens {
  const float* values;
  std::int64_t stride;
  std::int64_t num_tokens;
};

// Int8 activations token after token, for weights that lie row after row. Zeros up to a multiple of kColumnsPerScale.
struct Int8Tokens {
  const std::int8_t* values;
  // value = values[t * stride + c] * scales[t * num_scales + c / kColumnsPerScale]
  const float* scales;
  // -kUnsignedZero * sum of values, for each scale.
  const std::int32_t* corrections;
  std::int64_t stride;
  std::int64_t num_scales;
  std::int64_t num_tokens;
};

// The same activations for a few tokens at once, for weights that lie in blocks of rows: four columns of all `width`
// tokens, then the next four.
struct Int8Tile {
  const std::int8_t* quads;
  // [num_scales, width]
  const float* scales;
  const std::int32_t* corrections;
  int width;
};

// Outputs of tokens: row r of token t at values[t * stride + r].
struct Outputs {
  float* values;
  std::int64_t stride;
};

enum class KvType { kF32, kBF16, kI8 };

// Floats that a head takes where vectors of any width read it whole.
constexpr std::int64_t padded_head_dim(std::int64_t head_dim) { return round_up(head_dim, kColumnPadding); }

// Keys and values of one head in one page of the cache.
struct KvBlock {
  KvType type;
  std::int64_t head_dim;
  // Slots are neighbors, so that scores need no sum across lanes: [head_dim, slots], and for int8, where four dimensions
  // are one product, [head_dim / 4, slots, 4] with zeros at the end.
  const void* keys;
  // [slots, padded_head_dim]; for int8 [slots / 4, padded_head_dim, 4]: there four slots are one product.
  const void* values;
  // One a slot for int8, otherwise null.
  const float* key_scales;
  const float* value_scales;
};

// Softmax of rows of queries over the slots that they have met: with m the largest score so far, `sums` holds
// sum exp(score - m), and `attended` the values weighted likewise.
struct AttentionState {
  float* maxima;
  float* sums;
  // [num_rows, padded_head_dim]
  float* attended;
};

// What an int8 score or value is multiplied with: a whole number of two digits, high * kDigitBase + low, each a byte. So
// the cache is rounded to int8, but not what meets it. They are small enough for pairs of products to sum up in 16 bits.
inline constexpr int kDigitBits = 7;
inline constexpr std::int32_t kDigitBase = 1 << kDigitBits;
// Of a query: digits from -64 to 64.
inline constexpr float kLargestQuery = 8191.0F;
// Of a softmax weight: digits from 0 to 127.
inline constexpr float kLargestWeight = 16383.0F;

// Queries of one key/value head and one page of its cache. Its rows are the heads of the group, token after token.
struct AttentionPage {
  KvBlock block;
  // Where the blocks of the sequence's next two pages lie, to be fetched meanwhile; null at the end.
  const void* next_block;
  const void* later_block;
  // Query of token t, head g of the group: queries[t * token_stride + g * head_dim]. Scaled by 1 / sqrt(head_dim).
  const float* queries;
  std::int64_t token_stride;
  // For int8 the same queries in digits, rows `token_heads` apart from token to token: high digits of a row, its low ones,
  // each padded_head_dim; query = (high * kDigitBase + low) * scale.
  const std::int8_t* digits;
  const float* digit_scales;
  // -kUnsignedZero * sum of (high * kDigitBase + low)
  const std::int32_t* corrections;
  std::int64_t token_heads;
  std::int64_t num_tokens;
  std::int64_t group_size;
  // Token t sees the first first_visible + t slots of the page: none below zero, all above their number.
  std::int64_t first_visible;
  AttentionState state;

  constexpr std::int64_t num_rows() const { return num_tokens * group_size; }
  constexpr std::int64_t num_visible(std::int64_t row) const {
    const std::int64_t visible = first_visible + row / group_size;
    return visible < kSlotsPerPage ? visible : kSlotsPerPage;
  }
  constexpr std::int64_t first_row() const { return first_visible > 0 ? 0 : (1 - first_visible) * group_size; }
  constexpr const float* query(std::int64_t row) const {
    return queries + row / group_size * token_stride + row % group_size * block.head_dim;
  }
  // Of the digits.
  constexpr std::int64_t digit_row(std::int64_t row) const { return row / group_size * token_heads + row % group_size; }
};

}  // namespace codling
