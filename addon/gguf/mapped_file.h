// A file mapped read-only. Pages come in as they are touched, and the kernel may drop them again.
#ifndef HEARTH_GGUF_MAPPED_FILE_H_
#define HEARTH_GGUF_MAPPED_FILE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "addon/base/status.h"

namespace hearth {

class MappedFile {
 public:
  // FILE_NOT_FOUND when it can't be opened, is not a regular file, or is empty.
  static StatusOr<std::unique_ptr<MappedFile>> Open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const uint8_t* data() const { return data_; }
  uint64_t size() const { return size_; }

  // Takes the pages of a range out of this process's memory; they are read again when touched.
  void Drop(const uint8_t* begin, uint64_t bytes) const;
  // Has the system begin to read a range that will be touched soon; it does not count as the process's memory yet.
  void WillNeed(const uint8_t* begin, uint64_t bytes) const;

  // Copies bytes [offset, offset + bytes) without mapping them in: what is read so never counts as the process's
  // memory. GGUF_TRUNCATED when the file has become shorter, or the medium is gone.
  Status Read(uint64_t offset, uint64_t bytes, void* out) const;

 private:
  MappedFile(const uint8_t* data, uint64_t size, int fd) : data_(data), size_(size), fd_(fd) {}

  const uint8_t* data_;
  uint64_t size_;
  int fd_;
};

}  // namespace hearth

#endif  // HEARTH_GGUF_MAPPED_FILE_H_
