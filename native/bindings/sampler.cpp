#include "serve/sampler.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <utility>
#include <vector>

#include "bindings/arrays.hpp"
#include "bindings/serve.hpp"
#include "format/error.hpp"
#include "serve/noise.hpp"

namespace nb = nanobind;

namespace codling {
namespace {

std::vector<std::pair<std::int32_t, float>> best(const Draw& draw) {
  std::vector<std::pair<std::int32_t, float>> pairs;
  for (const TokenLogprob& one : draw.best) pairs.emplace_back(one.token, one.logprob);
  return pairs;
}

// One draw by itself, for tests.
Draw draw(const InputArray<float, 1>& logits, std::int64_t position, const Sampling& sampling, const std::vector<std::int32_t>& seen,
          const std::optional<InputArray<std::uint32_t, 1>>& mask) {
  std::vector<float> copy(logits.data(), logits.data() + logits.size());
  SeenTokens tokens(static_cast<std::int64_t>(copy.size()));
  for (const std::int32_t token : seen) tokens.add(token);
  std::span<const std::uint32_t> words;
  if (mask) words = {mask->data(), mask->size()};
  return Sampler().draw(copy, position, sampling, &tokens, words);
}

}  // namespace

void bind_sampler(nb::module_& module) {
  nb::class_<Sampling>(module, "Sampling")
      .def(
          "__init__",
          [](Sampling* self, double temperature, std::int64_t top_k, double top_p, double min_p, double repetition_penalty,
             std::uint64_t seed, std::int64_t num_logprobs) {
            const Sampling sampling{temperature, top_k, top_p, min_p, repetition_penalty, seed, num_logprobs};
            sampling.check();
            new (self) Sampling(sampling);
          },
          nb::arg("temperature"), nb::arg("top_k"), nb::arg("top_p"), nb::arg("min_p"), nb::arg("repetition_penalty"),
          nb::arg("seed"), nb::arg("num_logprobs"));
  nb::class_<Draw>(module, "Draw")
      .def_ro("token", &Draw::token)
      .def_ro("logprob", &Draw::logprob)
      .def_prop_ro("best", &best);
  module.def("draw", &draw, nb::arg("logits"), nb::arg("position"), nb::arg("sampling"), nb::arg("seen"), nb::arg("mask").none());
  module.def(
      "noise",
      [](std::uint64_t seed, std::int64_t position, std::int32_t token) {
        const std::uint32_t bits = Noise(seed, position).bits(token);
        return std::pair(Noise::gumbel(bits), Noise::bound(bits));
      },
      nb::arg("seed"), nb::arg("position"), nb::arg("token"));
}

}  // namespace codling
