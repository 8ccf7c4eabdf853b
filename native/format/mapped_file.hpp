// A file's bytes, mapped for reading: weights are used where they lie and never copied.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace codling {

class MappedFile {
 public:
  // Throws InputError for a file that is missing, empty or cannot be read.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return bytes_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  std::span<const std::byte> bytes_;
};

}  // namespace codling
