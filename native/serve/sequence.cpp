#include "serve/sequence.hpp"

#include <string>

#include "format/error.hpp"

namespace codling {

void CachedTokens::restore(const Model& model, std::span<const std::int32_t> tokens, std::span<const std::byte> pages) {
  tokens_.clear();
  model.check_tokens(tokens);
  const auto size = static_cast<std::int64_t>(tokens.size());
  if (size > model.config().context_length_tokens) {
    throw InputError("has " + std::to_string(size) + " tokens, the context of this model holds " +
                     std::to_string(model.config().context_length_tokens));
  }
  cache_.import_pages(pages, size);
  append(tokens);
}

std::vector<std::byte> CachedTokens::export_pages() {
  cache_.truncate(size());
  std::vector<std::byte> bytes(cache_.num_bytes());
  cache_.export_pages(bytes);
  return bytes;
}

}  // namespace codling
