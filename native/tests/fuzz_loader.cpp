// A libFuzzer target over all that is read from files: config.json, the safetensors container, the matrices and vectors of a
// model or of an adapter in it. Whatever the bytes are, they are refused with InputError, or run.
//
// An input is four bytes with the length of the config, the config, and the weights file. The mutator knows this form, and
// that of safetensors, as random changes of a length would seldom get past the first check.

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "format/error.hpp"
#include "model/adapter.hpp"
#include "model/kv_cache.hpp"
#include "model/model.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);
extern "C" void* __real_mmap(void* address, std::size_t size, int protection, int flags, int descriptor, off_t offset);
extern "C" int __real_munmap(void* address, std::size_t size);

namespace {

using Bytes = std::vector<std::uint8_t>;

// Bytes that a mutation adds at most.
constexpr std::size_t kMostAdded = 64;

// Files that are mapped, as copies that the address sanitizer watches: what lies behind a file in its last page it does not.
std::set<void*> mapped_copies;

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
  part.resize(max_size);
  part.resize(LLVMFuzzerMutate(part.data(), size, part.size()));
}

// Puts another number in the place of one: near to it, or one that stands elsewhere. Shapes, offsets and bits then still fit
// often enough to get far.
void change_number(Bytes& text, std::minstd_rand& random) {
  const auto is_digit = [](std::uint8_t byte) { return byte >= '0' && byte <= '9'; };
  std::vector<std::pair<std::size_t, std::size_t>> places;
  for (std::size_t begin = 0, end = 0; begin < text.size(); begin = end + 1) {
    for (end = begin; end < text.size() && is_digit(text[end]);) ++end;
    if (end > begin) places.emplace_back(begin, end);
  }
  if (places.empty()) return;
  const auto number_at = [&](const auto& place) {
    return std::strtoull(std::string(text.begin() + place.first, text.begin() + place.second).c_str(), nullptr, 10);
  };
  const auto place = places[random() % places.size()];
  const std::uint64_t value = number_at(place), other = number_at(places[random() % places.size()]);
  const std::uint64_t choices[] = {value + 1, value - 1, value * 2, value / 2, other, value + other};
  const std::string number = std::to_string(choices[random() % std::size(choices)]);
  text.erase(text.begin() + place.first, text.begin() + place.second);
  text.insert(text.begin() + place.first, number.begin(), number.end());
}

template <typename Load>
void load_or_refuse(const Load& load) {
  try {
    load();
  } catch (const codling::InputError&) {
  }
}

}  // namespace

// The linker puts them in place of the system's (CMakeLists.txt).
extern "C" void* __wrap_mmap(void* address, std::size_t size, int protection, int flags, int descriptor, off_t offset) {
  if (descriptor < 0 || protection != PROT_READ) return __real_mmap(address, size, protection, flags, descriptor, offset);
  void* copy = nullptr;
  if (posix_memalign(&copy, 4096, size) != 0 || pread(descriptor, copy, size, offset) != static_cast<ssize_t>(size)) std::abort();
  mapped_copies.insert(copy);
  return copy;
}

extern "C" int __wrap_munmap(void* address, std::size_t size) {
  if (mapped_copies.erase(address) == 0) return __real_munmap(address, size);
  std::free(address);
  return 0;
}

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
  // With the two lengths.
  const std::size_t used = 12 + config.size() + header.size() + rest.size();
  std::minstd_rand random(seed);
  if (random() % 64 == 0 || used + kMostAdded > max_size) return LLVMFuzzerMutate(data, size, max_size);
  Bytes* const parts[] = {&config, &rest, &header, &header, &header, &header};
  Bytes& changed = *parts[random() % std::size(parts)];
  if (&changed != &rest && random() % 2 == 0) {
    change_number(changed, random);
  } else {
    mutate(changed, changed.size() + kMostAdded);
  }
  Bytes whole;
  append_part<std::uint32_t>(whole, config);
  append_part<std::uint64_t>(whole, header);
  whole.insert(whole.end(), rest.begin(), rest.end());
  std::memcpy(data, whole.data(), whole.size());
  return whole.size();
}
