#include "bindings/probes.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "bindings/arrays.hpp"
#include "format/error.hpp"
#include "kernels/kernels.hpp"
#include "model/activations.hpp"
#include "model/attention.hpp"
#include "model/page_pool.hpp"
#include "threads/pool.hpp"

namespace nb = nanobind;

namespace codling {
namespace {

FloatBuffer copy_tokens(const InputArray<float, 2>& x) {
  const auto num_tokens = static_cast<std::int64_t>(x.shape(0)), num_columns = static_cast<std::int64_t>(x.shape(1));
  FloatBuffer buffer(num_columns);
  buffer.resize(num_tokens);
  for (std::int64_t token = 0; token < num_tokens; ++token) {
    std::copy_n(x.data() + token * num_columns, num_columns, buffer.token(token));
  }
  return buffer;
}

FloatMatrix multiply_palettized(const std::string& kernels_name, const InputArray<std::uint8_t, 2>& indices,
                                const InputArray<std::int8_t, 2>& tables, const InputArray<float, 1>& scales,
                                const std::optional<InputArray<std::uint16_t, 1>>& row_scales, std::int64_t num_rows,
                                std::int64_t rows_per_table, const InputArray<float, 2>& x, bool rounds) {
  const Kernels& kernels = choose_kernels(kernels_name);
  const FloatBuffer tokens = copy_tokens(x);
  const PaletteView view{indices.data(),     tables.data(), scales.data(), row_scales ? row_scales->data() : nullptr, num_rows,
                         tokens.num_columns(), rows_per_table, tables.shape(1) == 16 ? 4 : 2};
  std::vector<float> values(tokens.num_tokens() * num_rows);
  if (!rounds) {
    kernels.palette_float(view, tokens.tokens(0, tokens.num_tokens()), 0, view.num_blocks(), {values.data(), num_rows});
  } else {
    ThreadPool alone(1);
    Int8Buffer rounded;
    rounded.assign(tokens, kernels, alone);
    for (std::int64_t tile = 0; tile < rounded.num_tiles(); ++tile) {
      const Outputs out{values.data() + rounded.first_token(tile) * num_rows, num_rows};
      kernels.palette_int8(view, rounded.tile(tile), 0, view.num_blocks(), out);
    }
  }
  return to_array(std::move(values), tokens.num_tokens(), num_rows);
}

DenseType type_named(const std::string& name) {
  constexpr std::pair<const char*, DenseType> kNames[] = {
      {"F32", DenseType::kF32}, {"F16", DenseType::kF16}, {"BF16", DenseType::kBF16}, {"I8", DenseType::kI8}};
  for (const auto& [known, type] : kNames) {
    if (name == known) return type;
  }
  throw InputError("no dense type is called '" + name + "'");
}

// `values` are the bytes of each row; `start` is what the outputs hold before, and is added to if given.
FloatMatrix multiply_dense(const std::string& kernels_name, const InputArray<std::uint8_t, 2>& values, const std::string& type,
                           const std::optional<InputArray<float, 1>>& row_scales, const InputArray<float, 2>& x, bool rounds,
                           std::optional<float> start) {
  const Kernels& kernels = choose_kernels(kernels_name);
  const FloatBuffer tokens = copy_tokens(x);
  const auto num_rows = static_cast<std::int64_t>(values.shape(0));
  const DenseView view{values.data(), row_scales ? row_scales->data() : nullptr, num_rows, tokens.num_columns(), type_named(type)};
  std::vector<float> outputs(tokens.num_tokens() * num_rows, start.value_or(0.0F));
  const Outputs out{outputs.data(), num_rows};
  if (!rounds) {
    kernels.dense(view, tokens.tokens(0, tokens.num_tokens()), 0, num_rows, out, start.has_value());
  } else {
    ThreadPool alone(1);
    Int8Buffer rounded;
    rounded.assign(tokens, kernels, alone);
    kernels.int8_rows(view, rounded.tokens(), 0, num_rows, out);
  }
  return to_array(std::move(outputs), tokens.num_tokens(), num_rows);
}

FloatMatrix rms_norm(const std::string& kernels_name, const InputArray<float, 2>& x, const InputArray<float, 1>& weight, float epsilon) {
  FloatBuffer tokens = copy_tokens(x);
  const std::int64_t count = tokens.num_columns();
  std::vector<float> values(tokens.num_tokens() * count);
  for (std::int64_t token = 0; token < tokens.num_tokens(); ++token) {
    choose_kernels(kernels_name).rms_norm(tokens.token(token), weight.data(), epsilon, count, values.data() + token * count);
  }
  return to_array(std::move(values), tokens.num_tokens(), count);
}

FloatMatrix swiglu(const std::string& kernels_name, const InputArray<float, 2>& gate, const InputArray<float, 2>& up) {
  std::vector<float> values(gate.data(), gate.data() + gate.size());
  choose_kernels(kernels_name).swiglu(values.data(), up.data(), static_cast<std::int64_t>(values.size()));
  return to_array(std::move(values), gate.shape(0), gate.shape(1));
}

// Row by row: each head with its own angles.
FloatMatrix rotate(const std::string& kernels_name, const InputArray<float, 2>& heads, const InputArray<float, 2>& cosine,
                   const InputArray<float, 2>& sine) {
  std::vector<float> values(heads.data(), heads.data() + heads.size());
  const std::size_t head_dim = heads.shape(1);
  for (std::size_t row = 0; row < heads.shape(0); ++row) {
    choose_kernels(kernels_name)
        .rotate(values.data() + row * head_dim, cosine.data() + row * head_dim / 2, sine.data() + row * head_dim / 2,
                static_cast<std::int64_t>(head_dim));
  }
  return to_array(std::move(values), heads.shape(0), head_dim);
}

// Queries of the last tokens of a sequence, over the keys and values of all: [tokens, heads * head_dim] each.
FloatMatrix attend(const std::string& kernels_name, const std::string& kv_type, std::int64_t head_dim, const InputArray<float, 2>& queries,
                   const InputArray<float, 2>& keys, const InputArray<float, 2>& values, int num_threads) {
  const Kernels& kernels = choose_kernels(kernels_name);
  ModelConfig config{};
  config.num_layers = 1;
  config.head_dim = head_dim;
  config.num_query_heads = static_cast<std::int64_t>(queries.shape(1)) / head_dim;
  config.num_kv_heads = static_cast<std::int64_t>(keys.shape(1)) / head_dim;
  PagePool pages(KvLayout(kv_type_named(kv_type), config), 0);
  KvCache cache(pages);
  const auto num_slots = static_cast<std::int64_t>(keys.shape(0)), num_tokens = static_cast<std::int64_t>(queries.shape(0));
  cache.reserve(0, num_slots);
  for (std::int64_t slot = 0; slot < num_slots; ++slot) {
    for (std::int64_t head = 0; head < config.num_kv_heads; ++head) {
      const std::int64_t place = (slot * config.num_kv_heads + head) * head_dim;
      cache.write(0, head, slot, keys.data() + place, values.data() + place, kernels);
    }
  }
  ThreadPool pool(num_threads);
  Attention attention(config, pages.layout().type(), kernels, pool);
  const SequencePart part{&cache, 0, num_tokens, num_slots - num_tokens};
  attention.plan({&part, 1});
  const FloatBuffer heads = copy_tokens(queries);
  for (std::int64_t token = 0; token < num_tokens; ++token) attention.take_query(token, heads.token(token));
  FloatBuffer attended(heads.num_columns());
  attended.resize(num_tokens);
  attention.run(0, heads, attended);
  std::vector<float> outputs;
  for (std::int64_t token = 0; token < num_tokens; ++token) {
    outputs.insert(outputs.end(), attended.token(token), attended.token(token) + heads.num_columns());
  }
  return to_array(std::move(outputs), queries.shape(0), queries.shape(1));
}

}  // namespace

void bind_probes(nb::module_& module) {
  module.def("multiply_palettized", &multiply_palettized, nb::arg("kernels"), nb::arg("indices"), nb::arg("tables"),
             nb::arg("scales"), nb::arg("row_scales").none(), nb::arg("num_rows"), nb::arg("rows_per_table"), nb::arg("x"),
             nb::arg("rounds"));
  module.def("multiply_dense", &multiply_dense, nb::arg("kernels"), nb::arg("values"), nb::arg("type"),
             nb::arg("row_scales").none(), nb::arg("x"), nb::arg("rounds"), nb::arg("start").none());
  module.def("rms_norm", &rms_norm, nb::arg("kernels"), nb::arg("x"), nb::arg("weight"), nb::arg("epsilon"));
  module.def("swiglu", &swiglu, nb::arg("kernels"), nb::arg("gate"), nb::arg("up"));
  module.def("rotate", &rotate, nb::arg("kernels"), nb::arg("heads"), nb::arg("cosine"), nb::arg("sine"));
  module.def("attend", &attend, nb::arg("kernels"), nb::arg("kv_type"), nb::arg("head_dim"), nb::arg("queries"), nb::arg("keys"),
             nb::arg("values"), nb::arg("num_threads"));
}

}  // namespace codling
