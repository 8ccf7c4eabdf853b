// NEON with the dot product: processors from about 2018 on.

#include "kernels/neon_kernels.hpp"

namespace codling {
namespace {

void palette_int8(const PaletteView& matrix, const Int8Tile& tile, std::int64_t first, std::int64_t last, const Outputs& out) {
  switch (tile.width) {
    case 1:
      return palette_int8_width<1>(matrix, tile, first, last, out);
    case 2:
      return palette_int8_width<2>(matrix, tile, first, last, out);
    case 4:
      return palette_int8_width<4>(matrix, tile, first, last, out);
    default:
      return palette_int8_width<8>(matrix, tile, first, last, out);
  }
}

}  // namespace

const Kernels kNeonKernels = {
    "neon",      8,         palette_int8, palette_float, dense<V>,       int8_rows, quantize<V>, round_block<V>,
    rms_norm<V>, rotate<V>, swiglu<V>,    add<V>,        split_query<V>, attend<V>, merge<V>,
};

}  // namespace codling
