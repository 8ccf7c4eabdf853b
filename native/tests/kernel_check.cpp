// Compares every set of kernels that runs here with the plain loops, on shapes that fit no register.
// Prints the sets, and a line for each difference; ends with status 1 if there is one.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/kernels.hpp"
#include "model/activations.hpp"
#include "model/kv_layout.hpp"
#include "tests/guarded.hpp"
#include "threads/pool.hpp"

namespace codling {
namespace {

// Of sums in another order, for each term of a size of about one.
constexpr float kSumTolerance = 1e-6F;
// Relative, of what goes through `exp` by a polynomial.
constexpr float kExponentialTolerance = 4e-6F;
// Of values of a size of about one, when what meets them is rounded to two digits.
constexpr float kDigitTolerance = 5e-4F;

constexpr std::int64_t kShapes[][2] = {{16, 128}, {1, 1}, {3, 10}, {17, 8}, {33, 130}, {50, 255}, {75, 257}, {16, 384}};
// Tiles of every width.
constexpr std::int64_t kNumTokens[] = {1, 3, 13, 31};

class Random {
 public:
  float normal() { return normal_(engine_); }
  int whole(int first, int last) { return std::uniform_int_distribution<int>(first, last)(engine_); }
  // Above zero.
  float scale() { return std::uniform_real_distribution<float>(0.5F, 2.0F)(engine_); }

  Guarded<float> normals(std::int64_t count) {
    Guarded<float> values(count);
    for (float& value : values.all()) value = normal();
    return values;
  }

 private:
  std::mt19937 engine_{7};
  std::normal_distribution<float> normal_;
};

class Check {
 public:
  explicit Check(const std::string& name) : set_(choose_kernels(name)), plain_(choose_kernels("scalar")) {}

  bool run() {
    for (const auto& [num_rows, num_columns] : kShapes) {
      for (const std::int64_t num_tokens : kNumTokens) {
        quantize(num_columns);
        for (const int bits : {2, 4}) {
          for (const bool has_row_scales : {false, true}) palettized(bits, has_row_scales, num_rows, num_columns, num_tokens);
        }
        for (const DenseType type : {DenseType::kF32, DenseType::kF16, DenseType::kBF16, DenseType::kI8}) {
          dense(type, num_rows, num_columns, num_tokens);
        }
      }
      elementwise(num_rows * num_columns);
    }
    for (const std::int64_t head_dim : {2, 6, 34, 64, 128}) {
      rotate(head_dim);
      split_query(head_dim);
      merge(head_dim);
      for (const KvType type : {KvType::kF32, KvType::kBF16, KvType::kI8}) {
        for (const std::int64_t first_visible : {-2, 1, 5, 63, 64, 200}) attend(type, head_dim, first_visible);
      }
    }
    return num_differences_ == 0;
  }

 private:
  void compare(const char* what, std::span<const float> found, std::span<const float> expected, float absolute, float relative = 0) {
    for (std::size_t index = 0; index < found.size(); ++index) {
      const float allowed = absolute + relative * std::abs(expected[index]);
      if (found[index] == expected[index] || std::abs(found[index] - expected[index]) <= allowed) continue;
      std::printf("%s: %s differs at %zu of %zu: %.9g, expected %.9g\n", set_.name, what, index, found.size(), found[index], expected[index]);
      ++num_differences_;
      return;
    }
  }

  FloatBuffer tokens(std::int64_t num_tokens, std::int64_t num_columns) {
    FloatBuffer buffer(num_columns);
    buffer.resize(num_tokens);
    for (std::int64_t token = 0; token < num_tokens; ++token) {
      for (std::int64_t column = 0; column < num_columns; ++column) buffer.token(token)[column] = random_.normal();
    }
    return buffer;
  }

  void quantize(std::int64_t num_columns) {
    const std::int64_t num_scales = divide_up(num_columns, kColumnsPerScale), padded = num_scales * kColumnsPerScale;
    Guarded<float> x = random_.normals(num_columns);
    x.data()[0] = random_.whole(0, 1) ? std::nanf("") : 3e38F;
    Guarded<std::int8_t> found(padded, 77), expected(padded);
    Guarded<float> found_scales(num_scales), expected_scales(num_scales);
    Guarded<std::int32_t> found_corrections(num_scales), expected_corrections(num_scales);
    set_.quantize(x.data(), num_columns, found.data(), found_scales.data(), found_corrections.data());
    plain_.quantize(x.data(), num_columns, expected.data(), expected_scales.data(), expected_corrections.data());
    compare("quantize, scales", found_scales.all(), expected_scales.all(), 0);
    const bool same = std::memcmp(found.data(), expected.data(), padded) == 0 &&
                      std::memcmp(found_corrections.data(), expected_corrections.data(), num_scales * sizeof(std::int32_t)) == 0;
    if (same) return;
    std::printf("%s: quantize differs for %lld columns\n", set_.name, static_cast<long long>(num_columns));
    ++num_differences_;
  }

  void palettized(int bits, bool has_row_scales, std::int64_t num_rows, std::int64_t num_columns, std::int64_t num_tokens) {
    PaletteView view{nullptr, nullptr, nullptr, nullptr, num_rows, num_columns, kRowsPerBlock * random_.whole(1, 3), bits};
    const std::int64_t num_tables = divide_up(num_rows, view.rows_per_table);
    Guarded<std::uint8_t> indices(view.num_blocks() * view.chunks_per_block() * kChunkBytes);
    Guarded<std::int8_t> tables(num_tables << bits);
    Guarded<float> table_scales(num_tables);
    Guarded<std::uint16_t> row_scales(num_rows);
    for (auto& byte : indices.all()) byte = static_cast<std::uint8_t>(random_.whole(0, 255));
    for (auto& entry : tables.all()) entry = static_cast<std::int8_t>(random_.whole(-127, 127));
    for (auto& scale : table_scales.all()) scale = random_.scale() / 127;
    // binary16 from 0.5 to 2.
    for (auto& scale : row_scales.all()) scale = static_cast<std::uint16_t>(random_.whole(0x3800, 0x4000));
    view.indices = indices.data();
    view.tables = tables.data();
    view.table_scales = table_scales.data();
    view.row_scales = has_row_scales ? row_scales.data() : nullptr;

    const FloatBuffer x = tokens(num_tokens, num_columns);
    Guarded<float> found(num_tokens * num_rows), expected(num_tokens * num_rows), alone(num_rows);
    set_.palette_float(view, x.tokens(0, num_tokens), 0, view.num_blocks(), {found.data(), num_rows});
    plain_.palette_float(view, x.tokens(0, num_tokens), 0, view.num_blocks(), {expected.data(), num_rows});
    compare("palette_float", found.all(), expected.all(), 4 * kSumTolerance * static_cast<float>(num_columns));
    set_.palette_float(view, x.tokens(num_tokens - 1, 1), 0, view.num_blocks(), {alone.data(), num_rows});
    compare("palette_float, one token alone", alone.all(), found.all().last(num_rows), 0);

    multiply_rounded(set_, view, x, found.data());
    multiply_rounded(plain_, view, x, expected.data());
    compare("palette_int8", found.all(), expected.all(), 0);
  }

  static void multiply_rounded(const Kernels& kernels, const PaletteView& view, const FloatBuffer& x, float* outputs) {
    ThreadPool pool(1);
    Int8Buffer rounded;
    rounded.assign(x, kernels, pool);
    for (std::int64_t tile = 0; tile < rounded.num_tiles(); ++tile) {
      const Outputs out{outputs + rounded.first_token(tile) * view.num_rows, view.num_rows};
      kernels.palette_int8(view, rounded.tile(tile), 0, view.num_blocks(), out);
    }
  }

  void dense(DenseType type, std::int64_t num_rows, std::int64_t num_columns, std::int64_t num_tokens) {
    const std::int64_t count = num_rows * num_columns;
    const Guarded<float> wide = random_.normals(count);
    Guarded<std::uint16_t> halves(count);
    Guarded<std::int8_t> bytes(count);
    Guarded<float> row_scales(num_rows);
    // binary16 of sizes up to 2, subnormal ones among them; as bfloat16, up to 3e-5 and down to nothing.
    for (auto& half : halves.all()) half = static_cast<std::uint16_t>(random_.whole(0, 0x3FFF) | random_.whole(0, 1) << 15);
    for (auto& byte : bytes.all()) byte = static_cast<std::int8_t>(random_.whole(-128, 127));
    for (auto& scale : row_scales.all()) scale = random_.scale() / 127;
    const bool is_int8 = type == DenseType::kI8;
    const void* values = type == DenseType::kF32 ? static_cast<const void*>(wide.data()) : is_int8 ? static_cast<const void*>(bytes.data()) : halves.data();
    const DenseView view{values, is_int8 ? row_scales.data() : nullptr, num_rows, num_columns, type};

    const FloatBuffer x = tokens(num_tokens, num_columns);
    const float tolerance = 4 * kSumTolerance * static_cast<float>(num_columns);
    Guarded<float> found(num_tokens * num_rows, 3), expected(num_tokens * num_rows, 3), alone(num_rows, 3);
    const bool adds = random_.whole(0, 1) == 1;
    set_.dense(view, x.tokens(0, num_tokens), 0, num_rows, {found.data(), num_rows}, adds);
    plain_.dense(view, x.tokens(0, num_tokens), 0, num_rows, {expected.data(), num_rows}, adds);
    compare("dense", found.all(), expected.all(), tolerance);
    set_.dense(view, x.tokens(num_tokens - 1, 1), 0, num_rows, {alone.data(), num_rows}, adds);
    compare("dense, one token alone", alone.all(), found.all().last(num_rows), 0);
    if (!is_int8) return;

    ThreadPool pool(1);
    Int8Buffer rounded;
    rounded.assign(x, set_, pool);
    set_.int8_rows(view, rounded.tokens(), 0, num_rows, {found.data(), num_rows});
    plain_.int8_rows(view, rounded.tokens(), 0, num_rows, {expected.data(), num_rows});
    compare("int8_rows", found.all(), expected.all(), tolerance);
  }

  void elementwise(std::int64_t count) {
    const Guarded<float> x = random_.normals(count), weight = random_.normals(count);
    Guarded<float> found(count), expected(count);
    set_.rms_norm(x.data(), weight.data(), 1e-5F, count, found.data());
    plain_.rms_norm(x.data(), weight.data(), 1e-5F, count, expected.data());
    compare("rms_norm", found.all(), expected.all(), 0, kSumTolerance * 4 + 1e-9F * static_cast<float>(count));
    for (std::int64_t index = 0; index < count; ++index) found.data()[index] = expected.data()[index] = 40 * x.data()[index];
    set_.swiglu(found.data(), weight.data(), count);
    plain_.swiglu(expected.data(), weight.data(), count);
    compare("swiglu", found.all(), expected.all(), 1e-30F, kExponentialTolerance);
    std::memcpy(found.data(), expected.data(), count * sizeof(float));
    set_.add(found.data(), x.data(), count);
    plain_.add(expected.data(), x.data(), count);
    compare("add", found.all(), expected.all(), 0);
  }

  void rotate(std::int64_t head_dim) {
    const Guarded<float> cosine = random_.normals(head_dim / 2), sine = random_.normals(head_dim / 2);
    Guarded<float> found = random_.normals(head_dim), expected(head_dim);
    std::memcpy(expected.data(), found.data(), head_dim * sizeof(float));
    set_.rotate(found.data(), cosine.data(), sine.data(), head_dim);
    plain_.rotate(expected.data(), cosine.data(), sine.data(), head_dim);
    compare("rotate", found.all(), expected.all(), 0);
  }

  void split_query(std::int64_t head_dim) {
    const std::int64_t num_digits = 2 * padded_head_dim(head_dim);
    Guarded<float> query = random_.normals(head_dim);
    for (const float first : {1.0F, 3e38F, std::nanf("")}) {
      query.data()[0] = first;
      Guarded<std::int8_t> found(num_digits, 77), expected(num_digits);
      Guarded<float> found_scale(1), expected_scale(1);
      Guarded<std::int32_t> found_correction(1), expected_correction(1);
      set_.split_query(query.data(), head_dim, found.data(), found_scale.data(), found_correction.data());
      plain_.split_query(query.data(), head_dim, expected.data(), expected_scale.data(), expected_correction.data());
      compare("split_query, scale", found_scale.all(), expected_scale.all(), 0);
      if (std::memcmp(found.data(), expected.data(), num_digits) == 0 && *found_correction.data() == *expected_correction.data()) continue;
      std::printf("%s: split_query differs for %lld dimensions\n", set_.name, static_cast<long long>(head_dim));
      ++num_differences_;
    }
  }

  // Two pages, one after the other, for a few tokens and heads; then the same again, merged.
  void attend(KvType type, std::int64_t head_dim, std::int64_t first_visible) {
    constexpr std::int64_t kTokens = 5, kHeads = 3, kRows = kTokens * kHeads, kNumPages = 2;
    ModelConfig config{};
    config.num_layers = config.num_kv_heads = 1;
    config.head_dim = head_dim;
    const KvLayout layout(type, config);
    const std::int64_t padded = padded_head_dim(head_dim);
    const Guarded<float> queries = random_.normals(kRows * head_dim);
    const Guarded<float> keys = random_.normals(kNumPages * kSlotsPerPage * head_dim);
    const Guarded<float> values = random_.normals(kNumPages * kSlotsPerPage * head_dim);
    const auto run = [&](const Kernels& kernels) {
      Guarded<std::byte> pages[kNumPages] = {Guarded<std::byte>(layout.page_bytes()), Guarded<std::byte>(layout.page_bytes())};
      for (std::int64_t token = 0; token < kNumPages * kSlotsPerPage; ++token) {
        layout.write(pages[token / kSlotsPerPage].data(), 0, 0, token % kSlotsPerPage, keys.data() + token * head_dim,
                     values.data() + token * head_dim, kernels);
      }
      Guarded<std::int8_t> digits(kRows * 2 * padded);
      Guarded<float> scales(kRows);
      Guarded<std::int32_t> corrections(kRows);
      for (std::int64_t row = 0; row < kRows; ++row) {
        kernels.split_query(queries.data() + row * head_dim, head_dim, digits.data() + row * 2 * padded, scales.data() + row,
                            corrections.data() + row);
      }
      Guarded<float> attended(kRows * padded), maxima(kRows, -HUGE_VALF), sums(kRows);
      const AttentionState state{maxima.data(), sums.data(), attended.data()};
      for (std::int64_t page = 0; page < kNumPages; ++page) {
        const auto keys_of = [&](int ahead) { return ahead < kNumPages ? layout.block(pages[ahead].data(), 0, 0).keys : nullptr; };
        kernels.attend({layout.block(pages[page].data(), 0, 0), keys_of(page + 1), keys_of(page + 2), queries.data(), kHeads * head_dim, digits.data(), scales.data(),
                        corrections.data(), kHeads, kTokens, kHeads, first_visible - page * kSlotsPerPage, state});
      }
      for (std::int64_t row = 0; row < kRows; ++row) {
        for (std::int64_t dim = 0; dim < padded; ++dim) {
          // Nothing attended: nothing seen.
          attended.data()[row * padded + dim] /= sums.data()[row] == 0 ? 1 : sums.data()[row];
        }
      }
      return attended;
    };
    // A score's error is the weight's, relatively; of int8, a weight may become the next whole number.
    const float tolerance = kExponentialTolerance + 4 * kSumTolerance * static_cast<float>(head_dim) + (type == KvType::kI8 ? kDigitTolerance : 0);
    compare("attend", run(set_).all(), run(plain_).all(), tolerance);
  }

  void merge(std::int64_t head_dim) {
    constexpr std::int64_t kRows = 7;
    const std::int64_t padded = padded_head_dim(head_dim);
    const Guarded<float> numbers = random_.normals(kRows * padded);
    Guarded<float> from_maxima = random_.normals(kRows), from_sums(kRows, 2), from_attended = random_.normals(kRows * padded);
    // One row has met nothing more, and another nothing before.
    from_maxima.data()[0] = -HUGE_VALF;
    const auto run = [&](const Kernels& kernels) {
      Guarded<float> maxima(kRows, 0.25F), sums(kRows, 3), attended(kRows * padded);
      std::memcpy(attended.data(), numbers.data(), kRows * padded * sizeof(float));
      maxima.data()[1] = -HUGE_VALF;
      kernels.merge({maxima.data(), sums.data(), attended.data()}, {from_maxima.data(), from_sums.data(), from_attended.data()}, kRows, padded);
      return attended;
    };
    compare("merge", run(set_).all(), run(plain_).all(), 0);
  }

  const Kernels& set_;
  const Kernels& plain_;
  Random random_;
  int num_differences_ = 0;
};

}  // namespace
}  // namespace codling

int main() {
  bool all_equal = true;
  for (const std::string& name : codling::runnable_kernels()) {
    const bool equal = codling::Check(name).run();
    std::printf("%s: %s\n", name.c_str(), equal ? "ok" : "DIFFERS");
    all_equal = all_equal && equal;
  }
  return all_equal ? 0 : 1;
}
