// The Python module `codling.engine._native`.

#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <exception>
#include <optional>
#include <string>
#include <vector>

#include "bindings/arrays.hpp"
#include "bindings/kv_cache.hpp"
#include "bindings/memory.hpp"
#include "bindings/probes.hpp"
#include "bindings/serve.hpp"
#include "format/error.hpp"
#include "kernels/kernels.hpp"
#include "model/adapter.hpp"
#include "model/kv_cache.hpp"
#include "model/model.hpp"

namespace nb = nanobind;

namespace codling {
namespace {

// Bad input is what all of codling calls it.
void translate(const std::exception_ptr& thrown, void*) {
  try {
    std::rethrow_exception(thrown);
  } catch (const InputError& error) {
    const nb::object type = nb::module_::import_("codling.errors").attr("UserError");
    PyErr_SetString(type.ptr(), error.what());
  }
}

struct PySegment {
  KvCache* cache;
  std::int64_t num_kept;
  std::vector<std::int32_t> tokens;
  const Adapter* adapter;
  std::int64_t num_logits;
};

FloatMatrix run(Model& model, const std::vector<PySegment*>& given) {
  std::vector<Segment> segments;
  std::size_t num_logits = 0;
  for (const PySegment* one : given) {
    // What Python calls None.
    if (!one) throw InputError("a segment of a run is missing");
    segments.push_back({one->cache, one->num_kept, one->tokens, one->adapter, one->num_logits});
    // What is wrong with it is the model's to say.
    num_logits += std::clamp(one->num_logits, std::int64_t{0}, static_cast<std::int64_t>(one->tokens.size()));
  }
  const auto vocab_size = static_cast<std::size_t>(model.config().vocab_size);
  std::vector<float> logits(num_logits * vocab_size);
  {
    const nb::gil_scoped_release released;
    model.run(segments, logits);
  }
  return to_array(std::move(logits), num_logits, vocab_size);
}

}  // namespace
}  // namespace codling

NB_MODULE(_native, module) {
  using namespace codling;
  nb::register_exception_translator(translate);
  nb::class_<Adapter>(module, "Adapter")
      .def(
          "__init__",
          [](Adapter* self, const Model& model, const std::string& path, std::int64_t rank) { new (self) Adapter(path, model.config(), rank); },
          nb::arg("model"), nb::arg("path"), nb::arg("rank"));
  // Keeps cache and adapter alive for as long as it is.
  nb::class_<PySegment>(module, "Segment")
      .def(
          "__init__",
          [](PySegment* self, KvCache& cache, std::int64_t num_kept, std::vector<std::int32_t> tokens, const Adapter* adapter,
             std::int64_t num_logits) { new (self) PySegment{&cache, num_kept, std::move(tokens), adapter, num_logits}; },
          nb::arg("cache"), nb::arg("num_kept"), nb::arg("tokens"), nb::arg("adapter").none(), nb::arg("num_logits") = 1,
          nb::keep_alive<1, 2>(), nb::keep_alive<1, 5>());
  nb::class_<Model>(module, "Model")
      .def(
          "__init__",
          [](Model* self, const std::string& config, const std::string& weights, int num_threads, const std::string& kernels,
             bool rounds_activations, const std::string& kv_type, std::int64_t kv_limit_bytes) {
            new (self) Model(config, weights, {num_threads, kernels, rounds_activations, kv_type_named(kv_type), kv_limit_bytes});
          },
          nb::arg("config"), nb::arg("weights"), nb::arg("num_threads"), nb::arg("kernels"), nb::arg("rounds_activations"),
          nb::arg("kv_type") = name_of(ModelOptions{}.kv_type), nb::arg("kv_limit_bytes") = ModelOptions{}.kv_limit_bytes)
      .def("run", &run, nb::arg("segments"))
      .def_prop_ro("kernels", [](const Model& model) { return model.kernels().name; })
      .def_prop_ro("kv_layout", [](const Model& model) { return model.page_pool().layout().description(); })
      .def_prop_ro("kv_page_bytes", [](const Model& model) { return model.page_pool().layout().page_bytes(); })
      .def_prop_ro("num_kv_pages", [](const Model& model) { return model.page_pool().num_used_pages(); })
      .def_prop_ro("vocab_size", [](const Model& model) { return model.config().vocab_size; })
      .def_prop_ro("context_length_tokens", [](const Model& model) { return model.config().context_length_tokens; });
  module.def("runnable_kernels", &runnable_kernels);
  bind_kv_cache(module);
  bind_memory(module);
  bind_sampler(module);
  bind_scheduler(module);
  bind_probes(module);
}
