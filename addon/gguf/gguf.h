// GGUF, the file a model comes in. Little-endian throughout:
//
//   magic "GGUF" | u32 version (2 or 3) | u64 tensor count | u64 key count
//   key x n:     string name | u32 type | value        (string = u64 length, bytes; array = u32 type, u64 n, values)
//   tensor x n:  string name | u32 rank | u64 dims[rank], fastest first | u32 type | u64 offset from the data section
//   padding to `general.alignment` (32 unless given) | data section
//
// The reader checks every length against the bytes that are left before it believes it; a file can be truncated,
// bit-flipped or lying and the worst that happens is a Status. Tensor data stays in the map and is never copied here.
#ifndef HEARTH_GGUF_GGUF_H_
#define HEARTH_GGUF_GGUF_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "addon/base/status.h"
#include "addon/gguf/block_types.h"
#include "addon/gguf/mapped_file.h"

namespace hearth {

enum class GgufType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

// Values per block and bytes per block of a type id; {0, 0} for one hearth does not read.
struct BlockShape {
  int64_t values;
  int64_t bytes;
};
BlockShape BlockShapeOf(uint32_t type);
// "Q4_0", or "type 12" for one hearth does not read.
std::string BlockTypeName(uint32_t type);

struct GgufTensor {
  std::string name;
  uint32_t type;                // hearth_block_type
  int rank;                     // 1..4
  std::array<int64_t, 4> dims;  // fastest-varying first; unused ones are 1
  const uint8_t* data;          // in the map
  uint64_t bytes;

  int64_t elements() const { return dims[0] * dims[1] * dims[2] * dims[3]; }
  // As a matrix: rows of dims[0] values.
  int64_t cols() const { return dims[0]; }
  int64_t rows() const { return dims[1] * dims[2] * dims[3]; }
  uint64_t row_bytes() const;
};

class GgufFile {
 public:
  static StatusOr<std::shared_ptr<const GgufFile>> Open(const std::string& path);
  // For tests: parses bytes that the caller keeps alive.
  static StatusOr<std::shared_ptr<const GgufFile>> Parse(const uint8_t* data, uint64_t size);

  // Null when there is no tensor of that name.
  const GgufTensor* Find(std::string_view name) const;
  // MODEL_INCOMPLETE when there is no tensor of that name.
  StatusOr<const GgufTensor*> Require(std::string_view name) const;
  const std::vector<GgufTensor>& tensors() const { return tensors_; }

  bool Has(std::string_view key) const;
  // Numbers of any integer type, range-checked; a value of another type is GGUF_MALFORMED, a missing key
  // MODEL_INCOMPLETE. The ...Or forms return `otherwise` for a missing key only.
  StatusOr<int64_t> Int(std::string_view key, int64_t min, int64_t max) const;
  StatusOr<int64_t> IntOr(std::string_view key, int64_t otherwise, int64_t min, int64_t max) const;
  StatusOr<double> FloatOr(std::string_view key, double otherwise) const;
  StatusOr<bool> BoolOr(std::string_view key, bool otherwise) const;
  StatusOr<std::string> StringOr(std::string_view key, std::string_view otherwise) const;
  // Arrays. Strings are views into the map.
  StatusOr<std::vector<std::string_view>> Strings(std::string_view key) const;
  StatusOr<std::vector<int64_t>> Ints(std::string_view key) const;
  StatusOr<std::vector<double>> Floats(std::string_view key) const;

  uint64_t file_bytes() const { return size_; }

  // As MappedFile's, for bytes of tensors; a file that was parsed from memory just copies.
  void Drop(const uint8_t* begin, uint64_t bytes) const;
  void WillNeed(const uint8_t* begin, uint64_t bytes) const;
  // Drops keys and tensor descriptions: whoever needed them has made copies.
  void DropHeader() const;
  Status Read(const uint8_t* from, uint64_t bytes, void* out) const;

 private:
  struct Value {
    GgufType type;
    GgufType element = GgufType::kU8;  // of an array
    uint64_t count = 1;
    const uint8_t* data = nullptr;  // first value; strings as u64 length + bytes
  };

  GgufFile() = default;
  Status ParseAll();
  const Value* FindValue(std::string_view key) const;
  static StatusOr<int64_t> ReadInt(std::string_view key, GgufType type, const uint8_t* at);
  static StatusOr<double> ReadFloat(std::string_view key, GgufType type, const uint8_t* at);

  std::unique_ptr<MappedFile> map_;
  const uint8_t* data_ = nullptr;
  uint64_t size_ = 0;
  std::unordered_map<std::string, Value> values_;
  std::vector<GgufTensor> tensors_;
  std::unordered_map<std::string, size_t> by_name_;
};

}  // namespace hearth

#endif  // HEARTH_GGUF_GGUF_H_
