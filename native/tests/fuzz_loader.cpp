// A libFuzzer target over all that is read from files: config.json, the safetensors container, the matrices and vectors of a
// model or of an adapter in it. Whatever the bytes are, they are refused with InputError, or run.
//
// An input is four bytes with the length of the config, the config, and the weights file. The mutator knows this form, and
// that of safetensors, as random changes of a length would seldom get past the first check.

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "format/error.hpp"
#include "model/adapter.hpp"
#include "model/kv_cache.hpp"
#include "model/model.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace {

using Bytes = std::vector<std::uint8_t>;

// A file in memory, with a path.
class MemoryFile {
 public:
  explicit MemoryFile(const Bytes& bytes) : descriptor_(memfd_create("fuzz", 0)) {
    if (descriptor_ < 0 || write(descriptor_, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) std::abort();
  }
  ~MemoryFile() { close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

// Splits off a part that begins with its own length, as a number of this type; a length beyond the end means all.
template <typename Length>
Bytes take_part(Bytes& bytes) {
  Length length = 0;
  const std::size_t length_bytes = std::min(sizeof length, bytes.size());
  std::copy_n(bytes.begin(), length_bytes, reinterpret_cast<std::uint8_t*>(&length));
  bytes.erase(bytes.begin(), bytes.begin() + length_bytes);
  const std::size_t taken = std::min<std::uint64_t>(length, bytes.size());
  Bytes part(bytes.begin(), bytes.begin() + taken);
  bytes.erase(bytes.begin(), bytes.begin() + taken);
  return part;
}

template <typename Length>
void append_part(Bytes& bytes, const Bytes& part) {
  const auto length = static_cast<Length>(part.size());
  const auto* start = reinterpret_cast<const std::uint8_t*>(&length);
  bytes.insert(bytes.end(), start, start + sizeof length);
  bytes.insert(bytes.end(), part.begin(), part.end());
}

void mutate(Bytes& part, std::size_t max_size) {
  const std::size_t size = part.size();
  part.resize(std::max(max_size, size));
  part.resize(LLVMFuzzerMutate(part.data(), size, part.size()));
}

template <typename Load>
void load_or_refuse(const Load& load) {
  try {
    load();
  } catch (const codling::InputError&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Bytes rest(data, data + size);
  const MemoryFile config(take_part<std::uint32_t>(rest)), weights(rest);
  load_or_refuse([&] {
    codling::Model model(config.path(), weights.path(), {1, "", true});
    codling::KvCache cache(model.page_pool());
    const std::int32_t tokens[] = {0, 0};
    const codling::Segment segment{&cache, 0, tokens, nullptr};
    std::vector<float> logits(model.config().vocab_size);
    model.run({&segment, 1}, logits);
  });
  load_or_refuse([&] { const codling::Adapter adapter(weights.path(), codling::read_config(config.path()), 2); });
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size, unsigned seed) {
  Bytes rest(data, data + size);
  Bytes config = take_part<std::uint32_t>(rest);
  Bytes header = take_part<std::uint64_t>(rest);
  // Room for the two lengths, and for the parts that stay as they are.
  const std::size_t used = 12 + config.size() + header.size() + rest.size();
  Bytes& changed = seed % 8 == 0 ? config : seed % 8 == 1 ? rest : header;
  if (seed % 64 == 63 || used > max_size) return LLVMFuzzerMutate(data, size, max_size);
  mutate(changed, changed.size() + std::min<std::size_t>(max_size - used, 64));
  Bytes whole;
  append_part<std::uint32_t>(whole, config);
  append_part<std::uint64_t>(whole, header);
  whole.insert(whole.end(), rest.begin(), rest.end());
  std::memcpy(data, whole.data(), whole.size());
  return whole.size();
}
