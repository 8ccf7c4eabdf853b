// Attention over one page, for any instruction set.
#pragma once

#include "kernels/attention_float.hpp"
#include "kernels/attention_int8.hpp"

namespace codling {

template <int kTileRows, typename Attend>
void for_row_tiles(const AttentionPage& page, Attend attend) {
  for (std::int64_t row = page.first_row(); row < page.num_rows(); row += kTileRows) {
    const std::int64_t left = page.num_rows() - row;
    with_count<kTileRows>(left < kTileRows ? left : kTileRows, [&](auto rows) { attend(row, rows); });
  }
}

template <typename V>
void attend(const AttentionPage& page) {
  switch (page.block.type) {
    case KvType::kF32:
      return for_row_tiles<V::kFloatRows>(
          page, [&](std::int64_t row, auto rows) { attend_float_rows<V, DenseType::kF32, decltype(rows)::kValue>(page, row); });
    case KvType::kBF16:
      return for_row_tiles<V::kFloatRows>(
          page, [&](std::int64_t row, auto rows) { attend_float_rows<V, DenseType::kBF16, decltype(rows)::kValue>(page, row); });
    case KvType::kI8:
      return for_row_tiles<V::kInt8Rows>(
          page, [&](std::int64_t row, auto rows) { attend_int8_rows<V, decltype(rows)::kValue>(page, row); });
  }
}

}  // namespace codling
