#include "bindings/kv_cache.hpp"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <span>
#include <string>
#include <vector>

#include "bindings/arrays.hpp"
#include "model/kv_cache.hpp"
#include "model/model.hpp"
#include "model/prefix_cache.hpp"

namespace nb = nanobind;

namespace codling {
namespace {

ByteArray export_pages(const KvCache& cache) {
  std::vector<std::byte> bytes(cache.num_bytes());
  cache.export_pages(bytes);
  return to_array(std::move(bytes));
}

void import_pages(KvCache& cache, const InputArray<std::uint8_t, 1>& pages, std::int64_t num_tokens) {
  cache.import_pages(std::as_bytes(std::span(pages.data(), pages.size())), num_tokens);
}

std::int64_t find(PrefixCache& prefixes, KvCache& cache, const std::string& adapter, const std::vector<std::int32_t>& tokens) {
  cache.assign(prefixes.find(adapter, tokens));
  return cache.num_tokens();
}

void insert(PrefixCache& prefixes, const KvCache& cache, const std::string& adapter, const std::vector<std::int32_t>& tokens) {
  prefixes.insert(adapter, tokens, cache.full_pages());
}

}  // namespace

void bind_kv_cache(nb::module_& module) {
  nb::class_<KvCache>(module, "KvCache")
      .def(
          "__init__", [](KvCache* self, Model& model) { new (self) KvCache(model.page_pool()); }, nb::arg("model"),
          nb::keep_alive<1, 2>())
      .def_prop_ro("num_tokens", &KvCache::num_tokens)
      .def("export_pages", &export_pages)
      .def("import_pages", &import_pages, nb::arg("pages"), nb::arg("num_tokens"));
  nb::class_<PrefixCache>(module, "PrefixCache")
      .def(
          "__init__",
          [](PrefixCache* self, Model& model, std::int64_t limit_bytes) { new (self) PrefixCache(model.page_pool(), limit_bytes); },
          nb::arg("model"), nb::arg("limit_bytes"), nb::keep_alive<1, 2>())
      .def("find", &find, nb::arg("cache"), nb::arg("adapter"), nb::arg("tokens"))
      .def("insert", &insert, nb::arg("cache"), nb::arg("adapter"), nb::arg("tokens"))
      .def_prop_ro("num_asked_tokens", [](const PrefixCache& self) { return self.statistics().num_asked_tokens; })
      .def_prop_ro("num_found_tokens", [](const PrefixCache& self) { return self.statistics().num_found_tokens; })
      .def_prop_ro("num_pages", [](const PrefixCache& self) { return self.statistics().num_pages; })
      .def_prop_ro("num_evicted_pages", [](const PrefixCache& self) { return self.statistics().num_evicted_pages; });
}

}  // namespace codling
