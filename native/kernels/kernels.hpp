// The functions that every instruction set has: one table of pointers a set, chosen when a model is opened.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/views.hpp"

namespace codling {

struct Kernels {
  const char* name;
  // Widest Int8Tile that `palette_int8` takes; `tile_width` lists the narrower ones.
  int max_tile_width;

  // Blocks [first, last) of 16 rows times tokens. Outputs of tokens do not depend on how many there are.
  void (*palette_int8)(const PaletteView&, const Int8Tile&, std::int64_t first, std::int64_t last, const Outputs&);
  void (*palette_float)(const PaletteView&, const FloatTokens&, std::int64_t first, std::int64_t last, const Outputs&);
  // Rows [first, last) times tokens; `add` adds to what the outputs hold.
  void (*dense)(const DenseView&, const FloatTokens&, std::int64_t first, std::int64_t last, const Outputs&, bool add);
  // The same for DenseType::kI8 and int8 activations.
  void (*int8_rows)(const DenseView&, const Int8Tokens&, std::int64_t first, std::int64_t last, const Outputs&);

  // One token: rounds `num_columns` floats to int8 with one scale each kColumnsPerScale; pads with zeros.
  void (*quantize)(const float* x, std::int64_t num_columns, std::int8_t* values, float* scales, std::int32_t* corrections);
  // The same with one scale for all `count` floats, which it returns, and zeros up to `padded`, a multiple of kColumnPadding.
  float (*round_block)(const float* x, std::int64_t count, std::int64_t padded, std::int8_t* values);
  // y = x / sqrt(mean(x^2) + epsilon) * weight; y may be x.
  void (*rms_norm)(const float* x, const float* weight, float epsilon, std::int64_t count, float* y);
  // Rotates dimension i of a head with i + head_dim / 2, in place.
  void (*rotate)(float* head, const float* cosine, const float* sine, std::int64_t head_dim);
  // gate = silu(gate) * up
  void (*swiglu)(float* gate, const float* up, std::int64_t count);
  // x += y
  void (*add)(float* x, const float* y, std::int64_t count);
  // A head of a query in digits, as AttentionPage has them.
  void (*split_query)(const float* query, std::int64_t head_dim, std::int8_t* digits, float* scale, std::int32_t* correction);
  // Goes on with the softmax over one page more. Outputs of a row do not depend on the others.
  void (*attend)(const AttentionPage&);
  // The softmax over the slots of both, in `into`.
  void (*merge)(const AttentionState& into, const AttentionState& from, std::int64_t num_rows, std::int64_t padded_head_dim);
};

// Tokens of the next tile when so many are left: the kernels are compiled for these widths only.
constexpr int tile_width(std::int64_t tokens_left, int max_width) {
  if (tokens_left >= max_width) return max_width;
  int width = 8;
  while (width > tokens_left) width /= 2;
  return width;
}

// Names of the sets that were compiled in and that this processor runs, slowest first.
std::vector<std::string> runnable_kernels();

// The set of this name, or the fastest that this processor runs if it is empty.
// Throws InputError for one that is unknown or cannot run here.
const Kernels& choose_kernels(const std::string& name);

}  // namespace codling
