#include "serve/scheduler.hpp"

#include <nanobind/ndarray.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bindings/arrays.hpp"
#include "bindings/serve.hpp"
#include "format/error.hpp"
#include "model/model.hpp"
#include "serve/draft_model.hpp"
#include "serve/prompt_lookup.hpp"

namespace nb = nanobind;

namespace codling {
namespace {

using AnyArray = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;

std::vector<std::int32_t> to_vector(std::span<const std::int32_t> ids) { return {ids.begin(), ids.end()}; }

// One boolean a token, or the words themselves.
void read_mask(const nb::object& given, std::int64_t vocab_size, std::vector<std::uint32_t>& words) {
  const std::int64_t num_words = (vocab_size + 31) / 32;
  AnyArray array;
  if (nb::try_cast(given, array, false) && array.ndim() == 1) {
    const auto size = static_cast<std::int64_t>(array.shape(0));
    if (array.dtype() == nb::dtype<bool>() && size == vocab_size) {
      const auto* allowed = static_cast<const std::uint8_t*>(array.data());
      words.assign(num_words, 0);
      for (std::int64_t token = 0; token < size; ++token) words[token / 32] |= static_cast<std::uint32_t>(allowed[token] != 0) << (token % 32);
      return;
    }
    if (array.dtype() == nb::dtype<std::uint32_t>() && size == num_words) {
      const auto* values = static_cast<const std::uint32_t*>(array.data());
      words.assign(values, values + size);
      return;
    }
  }
  throw InputError("a mask gives None, a NumPy array of " + std::to_string(vocab_size) + " booleans, or one of " +
                   std::to_string(num_words) + " uint32 words; this one gave " + nb::repr(given.type()).c_str());
}

// Calls back into Python, wherever the step runs.
Mask to_mask(nb::object callable, std::int64_t vocab_size) {
  if (callable.is_none()) return {};
  const auto free = [](nb::object* held) {
    const nb::gil_scoped_acquire acquired;
    delete held;
  };
  const std::shared_ptr<nb::object> held(new nb::object(std::move(callable)), free);
  return [held, vocab_size](std::span<const std::int32_t> answer, std::vector<std::uint32_t>& words) {
    const nb::gil_scoped_acquire acquired;
    const nb::object given = (*held)(to_array(to_vector(answer)));
    if (given.is_none()) return false;
    read_mask(given, vocab_size, words);
    return true;
  };
}

std::shared_ptr<Request> add(Scheduler& scheduler, std::shared_ptr<Sequence> sequence, std::vector<std::int32_t> prompt,
                             const Sampling& sampling, std::int64_t max_new_tokens, std::vector<std::int32_t> stop_ids,
                             Speculation speculation, nb::object mask, std::int64_t num_dropped) {
  Order order{std::move(sequence), std::move(prompt), sampling, max_new_tokens, std::move(stop_ids), speculation,
              to_mask(std::move(mask), scheduler.vocab_size()), num_dropped};
  const nb::gil_scoped_release released;
  return scheduler.add(std::move(order));
}

void wait(Scheduler& scheduler, Request& request) {
  if (scheduler.is_ready(request)) return;
  while (true) {
    {
      const nb::gil_scoped_release released;
      if (scheduler.advance(request)) return;
    }
    // Ctrl-C between two steps of a long prompt.
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
  }
}

nb::tuple take(Scheduler& scheduler, Request& request) {
  Update update = scheduler.take(request);
  nb::list draws;
  for (Draw& draw : update.draws) draws.append(nb::cast(std::move(draw)));
  return nb::make_tuple(draws, update.finish);
}

void settle(Scheduler& scheduler, const Sequence& sequence) {
  const nb::gil_scoped_release released;
  scheduler.settle(sequence);
}

void restore(Sequence& sequence, const Model& model, const InputArray<std::int32_t, 1>& ids, const InputArray<std::uint8_t, 1>& pages) {
  sequence.cached.restore(model, std::span(ids.data(), ids.size()), std::as_bytes(std::span(pages.data(), pages.size())));
}

void close(Scheduler& scheduler) {
  const nb::gil_scoped_release released;
  scheduler.close();
}

}  // namespace

void bind_scheduler(nb::module_& module) {
  nb::enum_<Finish>(module, "Finish")
      .value("NONE", Finish::kNone)
      .value("STOP", Finish::kStop)
      .value("LENGTH", Finish::kLength)
      .value("CONTEXT", Finish::kContext)
      .value("CANCELLED", Finish::kCancelled)
      .value("FAILED", Finish::kFailed);
  nb::enum_<Speculation>(module, "Speculation")
      .value("NONE", Speculation::kNone)
      .value("LOOKUP", Speculation::kLookup)
      .value("DRAFT", Speculation::kDraft);
  nb::class_<RequestUsage>(module, "RequestUsage")
      .def_ro("num_cached", &RequestUsage::num_cached)
      .def_ro("num_proposed", &RequestUsage::num_proposed)
      .def_ro("num_accepted", &RequestUsage::num_accepted);
  // Keep alive what they point to.
  nb::class_<Sequence>(module, "CachedSequence")
      .def(nb::init<Model&, const Adapter*, std::string>(), nb::arg("model"), nb::arg("adapter").none(), nb::arg("adapter_name"),
           nb::keep_alive<1, 2>(), nb::keep_alive<1, 3>())
      .def("ids", [](const Sequence& sequence) { return to_array(to_vector(sequence.cached.tokens())); })
      .def("export_pages", [](Sequence& sequence) { return to_array(sequence.cached.export_pages()); })
      .def("restore", &restore, nb::arg("model"), nb::arg("ids"), nb::arg("pages"));
  nb::class_<DraftModel>(module, "DraftModel")
      .def(nb::init<Model&, const Adapter*>(), nb::arg("model"), nb::arg("adapter").none(), nb::keep_alive<1, 2>(), nb::keep_alive<1, 3>());
  nb::class_<Request>(module, "Request");
  nb::class_<Scheduler>(module, "Scheduler")
      .def(nb::init<Model&, DraftModel*, PrefixCache*, std::int64_t>(), nb::arg("model"), nb::arg("draft").none(),
           nb::arg("prefixes").none(), nb::arg("tokens_per_step"), nb::keep_alive<1, 2>(), nb::keep_alive<1, 3>(), nb::keep_alive<1, 4>())
      .def("add", &add, nb::arg("sequence"), nb::arg("prompt"), nb::arg("sampling"), nb::arg("max_new_tokens"),
           nb::arg("stop_ids"), nb::arg("speculation"), nb::arg("mask").none(), nb::arg("num_dropped"), nb::keep_alive<0, 1>())
      .def("check_fits", &Scheduler::check_fits, nb::arg("num_tokens"))
      .def("is_ready", &Scheduler::is_ready, nb::arg("request"))
      .def("wait", &wait, nb::arg("request"))
      .def("take", &take, nb::arg("request"))
      .def("usage", &Scheduler::usage, nb::arg("request"))
      .def("cancel", &Scheduler::cancel, nb::arg("request"))
      .def("settle", &settle, nb::arg("sequence"))
      .def("close", &close);
  module.def(
      "look_up", [](const std::vector<std::int32_t>& tokens, std::int64_t count) { return to_vector(look_up(tokens, count)); },
      nb::arg("tokens"), nb::arg("count"));
}

}  // namespace codling
