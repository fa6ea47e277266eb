#include "addon/base/arena.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

namespace hearth {

Arena::~Arena() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

Status Arena::Reserve(size_t size, Pages pages) {
  if (size == 0) return Status();
  void* data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED)
    return Error(Code::OUT_OF_MEMORY, "%zu bytes could not be allocated: %s", size, std::strerror(errno));
  // A wish; without it everything works.
  ::madvise(data, size, pages == Pages::kHuge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  data_ = static_cast<uint8_t*>(data);
  size_ = size;
  return Status();
}

uint8_t* Arena::Take(size_t bytes) {
  uint8_t* piece = data_ + used_;
  used_ += Rounded(bytes);
  return piece;
}

}  // namespace hearth
