#include "format/mapped_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "format/error.hpp"

namespace codling {
namespace {

// Closes the descriptor however the constructor below is left; a mapping outlives it.
class Descriptor {
 public:
  explicit Descriptor(const std::filesystem::path& path) : value_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int value() const { return value_; }

 private:
  int value_;
};

[[noreturn]] void fail(const std::filesystem::path& path) {
  throw InputError(path.string() + ": cannot be read (" + std::strerror(errno) + ")");
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  const Descriptor file(path);
  if (file.value() < 0) fail(path);
  struct stat status {};
  if (::fstat(file.value(), &status) != 0) fail(path);
  if (!S_ISREG(status.st_mode)) throw InputError(path.string() + ": is not a file");
  if (status.st_size == 0) throw InputError(path.string() + ": is empty");
  const auto size_bytes = static_cast<std::size_t>(status.st_size);
  void* start = ::mmap(nullptr, size_bytes, PROT_READ, MAP_SHARED, file.value(), 0);
  if (start == MAP_FAILED) fail(path);
#ifdef MADV_HUGEPAGE
  // Where the file system has large pages, what is read from the disk through this map lies in them, and every later reader
  // spares most translations of addresses: a tenth of the time of a token. A refusal changes nothing.
  static_cast<void>(::madvise(start, size_bytes, MADV_HUGEPAGE));
#endif
  bytes_ = {static_cast<const std::byte*>(start), size_bytes};
}

MappedFile::~MappedFile() { ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size()); }

}  // namespace codling
