#include "addon/gguf/gguf.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace hearth {
namespace {

constexpr uint64_t kMaxKeys = 1 << 16;
constexpr uint64_t kMaxTensors = 1 << 16;
constexpr uint64_t kMaxNameBytes = 1024;
constexpr uint64_t kMaxAlignment = 1 << 20;

uint64_t TypeBytes(GgufType type) {
  switch (type) {
    case GgufType::kU8:
    case GgufType::kI8:
    case GgufType::kBool:
      return 1;
    case GgufType::kU16:
    case GgufType::kI16:
      return 2;
    case GgufType::kU32:
    case GgufType::kI32:
    case GgufType::kF32:
      return 4;
    case GgufType::kU64:
    case GgufType::kI64:
    case GgufType::kF64:
      return 8;
    case GgufType::kString:
    case GgufType::kArray:
      return 0;
  }
  return 0;
}

// The data has no alignment to rely on.
template <typename T>
T Load(const uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

// Walks over the file; every read checks the bytes that are left first.
class Cursor {
 public:
  Cursor(const uint8_t* data, uint64_t size) : data_(data), size_(size) {}

  uint64_t position() const { return position_; }
  uint64_t left() const { return size_ - position_; }
  const uint8_t* at() const { return data_ + position_; }

  Status Skip(uint64_t bytes, const char* what) {
    if (bytes > left()) {
      return Error(Code::GGUF_TRUNCATED, "the file ends inside %s: %llu bytes wanted at offset %llu, %llu left", what,
                   static_cast<unsigned long long>(bytes), static_cast<unsigned long long>(position_),
                   static_cast<unsigned long long>(left()));
    }
    position_ += bytes;
    return Status();
  }

  template <typename T>
  Status Read(T* value, const char* what) {
    const uint8_t* from = at();
    HEARTH_RETURN_IF_ERROR(Skip(sizeof(T), what));
    *value = Load<T>(from);
    return Status();
  }

  Status ReadString(std::string_view* value, uint64_t max_bytes, const char* what) {
    uint64_t length;
    HEARTH_RETURN_IF_ERROR(Read(&length, what));
    if (length > max_bytes) {
      return Error(Code::GGUF_MALFORMED, "%s at offset %llu is %llu bytes long, at most %llu are allowed", what,
                   static_cast<unsigned long long>(position_), static_cast<unsigned long long>(length),
                   static_cast<unsigned long long>(max_bytes));
    }
    const char* from = reinterpret_cast<const char*>(at());
    HEARTH_RETURN_IF_ERROR(Skip(length, what));
    *value = std::string_view(from, length);
    return Status();
  }

 private:
  const uint8_t* data_;
  uint64_t size_;
  uint64_t position_ = 0;
};

std::string Quoted(std::string_view text) { return "\"" + std::string(text.substr(0, 80)) + "\""; }

Status Missing(std::string_view key) {
  return Error(Code::MODEL_INCOMPLETE, "the file has no key %s", Quoted(key).c_str());
}

Status WrongType(std::string_view key, const char* expected, GgufType type) {
  return Error(Code::GGUF_MALFORMED, "key %s should be %s but has GGUF type %u", Quoted(key).c_str(), expected,
               static_cast<unsigned>(type));
}

}  // namespace

BlockShape BlockShapeOf(uint32_t type) {
  switch (type) {
#define X(name, id, values, bytes) \
  case id:                         \
    return {values, bytes};
    HEARTH_BLOCK_TYPES(X)
#undef X
  }
  return {0, 0};
}

std::string BlockTypeName(uint32_t type) {
  switch (type) {
#define X(name, id, values, bytes) \
  case id:                         \
    return #name;
    HEARTH_BLOCK_TYPES(X)
#undef X
  }
  return "type " + std::to_string(type);
}

uint64_t GgufTensor::row_bytes() const {
  const BlockShape shape = BlockShapeOf(type);
  return static_cast<uint64_t>(cols() / shape.values * shape.bytes);
}

StatusOr<std::shared_ptr<const GgufFile>> GgufFile::Open(const std::string& path) {
  HEARTH_ASSIGN_OR_RETURN(std::unique_ptr<MappedFile> map, MappedFile::Open(path));
  std::shared_ptr<GgufFile> file(new GgufFile());
  file->data_ = map->data();
  file->size_ = map->size();
  file->map_ = std::move(map);
  if (Status status = file->ParseAll(); !status.ok())
    return Error(status.code(), "%s: %s", path.c_str(), status.message().c_str());
  return std::shared_ptr<const GgufFile>(std::move(file));
}

StatusOr<std::shared_ptr<const GgufFile>> GgufFile::Parse(const uint8_t* data, uint64_t size) {
  std::shared_ptr<GgufFile> file(new GgufFile());
  file->data_ = data;
  file->size_ = size;
  HEARTH_RETURN_IF_ERROR(file->ParseAll());
  return std::shared_ptr<const GgufFile>(std::move(file));
}

Status GgufFile::ParseAll() {
  Cursor cursor(data_, size_);
  uint32_t magic, version;
  uint64_t tensor_count, key_count;
  HEARTH_RETURN_IF_ERROR(cursor.Read(&magic, "the magic number"));
  if (magic != 0x46554747)
    return Error(Code::GGUF_MALFORMED, "not a GGUF file: it starts with 0x%08x, not \"GGUF\"", magic);
  HEARTH_RETURN_IF_ERROR(cursor.Read(&version, "the version"));
  if (version != 2 && version != 3)
    return Error(Code::GGUF_UNSUPPORTED, "GGUF version %u; versions 2 and 3 are read", version);
  HEARTH_RETURN_IF_ERROR(cursor.Read(&tensor_count, "the tensor count"));
  HEARTH_RETURN_IF_ERROR(cursor.Read(&key_count, "the key count"));
  if (tensor_count > kMaxTensors || key_count > kMaxKeys) {
    return Error(Code::GGUF_MALFORMED, "%llu tensors and %llu keys; at most %llu of each are allowed",
                 static_cast<unsigned long long>(tensor_count), static_cast<unsigned long long>(key_count),
                 static_cast<unsigned long long>(kMaxTensors));
  }

  for (uint64_t i = 0; i < key_count; ++i) {
    std::string_view name;
    HEARTH_RETURN_IF_ERROR(cursor.ReadString(&name, kMaxNameBytes, "a key's name"));
    Value value;
    uint32_t type;
    HEARTH_RETURN_IF_ERROR(cursor.Read(&type, "a key's type"));
    value.type = static_cast<GgufType>(type);
    value.element = value.type;
    if (value.type == GgufType::kArray) {
      uint32_t element;
      HEARTH_RETURN_IF_ERROR(cursor.Read(&element, "an array's type"));
      HEARTH_RETURN_IF_ERROR(cursor.Read(&value.count, "an array's length"));
      value.element = static_cast<GgufType>(element);
    }
    value.data = cursor.at();
    if (value.element == GgufType::kString) {
      // Each string takes 8 bytes at least, so a lying count runs into the end of the file, not out of memory.
      for (uint64_t n = 0; n < value.count; ++n) {
        std::string_view text;
        HEARTH_RETURN_IF_ERROR(cursor.ReadString(&text, cursor.left(), "a string"));
      }
    } else {
      const uint64_t bytes = TypeBytes(value.element);
      if (bytes == 0) {
        return Error(Code::GGUF_MALFORMED, "key %s has the unknown type %u", Quoted(name).c_str(),
                     static_cast<unsigned>(value.element));
      }
      if (value.count > cursor.left() / bytes) {
        return Error(Code::GGUF_TRUNCATED, "key %s claims %llu values, the file has %llu bytes left",
                     Quoted(name).c_str(), static_cast<unsigned long long>(value.count),
                     static_cast<unsigned long long>(cursor.left()));
      }
      HEARTH_RETURN_IF_ERROR(cursor.Skip(value.count * bytes, "a value"));
    }
    if (!values_.emplace(std::string(name), value).second) {
      return Error(Code::GGUF_MALFORMED, "key %s appears twice", Quoted(name).c_str());
    }
  }

  HEARTH_ASSIGN_OR_RETURN(const int64_t alignment_or, IntOr("general.alignment", 32, 8, kMaxAlignment));
  const uint64_t alignment = static_cast<uint64_t>(alignment_or);
  if ((alignment & (alignment - 1)) != 0) {
    return Error(Code::GGUF_MALFORMED, "general.alignment is %llu, not a power of two",
                 static_cast<unsigned long long>(alignment));
  }

  struct Entry {
    GgufTensor tensor;
    uint64_t offset;
  };
  std::vector<Entry> entries;
  for (uint64_t i = 0; i < tensor_count; ++i) {
    Entry entry;
    GgufTensor& tensor = entry.tensor;
    std::string_view name;
    HEARTH_RETURN_IF_ERROR(cursor.ReadString(&name, kMaxNameBytes, "a tensor's name"));
    tensor.name = std::string(name);
    uint32_t rank;
    HEARTH_RETURN_IF_ERROR(cursor.Read(&rank, "a tensor's rank"));
    if (rank < 1 || rank > 4) {
      return Error(Code::GGUF_MALFORMED, "tensor %s has %u dimensions; 1 to 4 are allowed", Quoted(name).c_str(), rank);
    }
    tensor.rank = static_cast<int>(rank);
    tensor.dims = {1, 1, 1, 1};
    uint64_t elements = 1;
    for (uint32_t d = 0; d < rank; ++d) {
      uint64_t dim;
      HEARTH_RETURN_IF_ERROR(cursor.Read(&dim, "a tensor's shape"));
      if (dim == 0 || dim > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) / elements) {
        return Error(Code::GGUF_MALFORMED, "tensor %s has the impossible dimension %llu", Quoted(name).c_str(),
                     static_cast<unsigned long long>(dim));
      }
      elements *= dim;
      tensor.dims[d] = static_cast<int64_t>(dim);
    }
    HEARTH_RETURN_IF_ERROR(cursor.Read(&tensor.type, "a tensor's type"));
    HEARTH_RETURN_IF_ERROR(cursor.Read(&entry.offset, "a tensor's offset"));
    const BlockShape shape = BlockShapeOf(tensor.type);
    if (shape.values == 0) {
      return Error(Code::GGUF_UNSUPPORTED, "tensor %s has element %s, which is not read here", Quoted(name).c_str(),
                   BlockTypeName(tensor.type).c_str());
    }
    if (tensor.dims[0] % shape.values != 0) {
      return Error(Code::GGUF_MALFORMED, "tensor %s has rows of %lld values, not a multiple of the %lld in a %s block",
                   Quoted(name).c_str(), static_cast<long long>(tensor.dims[0]), static_cast<long long>(shape.values),
                   BlockTypeName(tensor.type).c_str());
    }
    const uint64_t blocks = elements / static_cast<uint64_t>(shape.values);
    if (blocks > size_ / static_cast<uint64_t>(shape.bytes)) {
      return Error(Code::GGUF_TRUNCATED, "tensor %s claims %llu values, more than the whole file of %llu bytes holds",
                   Quoted(name).c_str(), static_cast<unsigned long long>(elements),
                   static_cast<unsigned long long>(size_));
    }
    tensor.bytes = blocks * static_cast<uint64_t>(shape.bytes);
    if (!by_name_.emplace(tensor.name, entries.size()).second) {
      return Error(Code::GGUF_MALFORMED, "tensor %s appears twice", Quoted(name).c_str());
    }
    entries.push_back(std::move(entry));
  }

  const uint64_t padding = (alignment - cursor.position() % alignment) % alignment;
  if (tensor_count > 0) HEARTH_RETURN_IF_ERROR(cursor.Skip(padding, "the padding before the tensors"));
  const uint8_t* section = cursor.at();
  const uint64_t section_bytes = cursor.left();
  tensors_.reserve(entries.size());
  for (Entry& entry : entries) {
    if (entry.offset % alignment != 0) {
      return Error(Code::GGUF_MALFORMED, "tensor %s starts at offset %llu, not a multiple of %llu",
                   Quoted(entry.tensor.name).c_str(), static_cast<unsigned long long>(entry.offset),
                   static_cast<unsigned long long>(alignment));
    }
    if (entry.offset > section_bytes || entry.tensor.bytes > section_bytes - entry.offset) {
      return Error(Code::GGUF_TRUNCATED, "tensor %s needs bytes %llu to %llu of a data section of %llu",
                   Quoted(entry.tensor.name).c_str(), static_cast<unsigned long long>(entry.offset),
                   static_cast<unsigned long long>(entry.offset + entry.tensor.bytes),
                   static_cast<unsigned long long>(section_bytes));
    }
    entry.tensor.data = section + entry.offset;
    tensors_.push_back(std::move(entry.tensor));
  }
  return Status();
}

const GgufTensor* GgufFile::Find(std::string_view name) const {
  const auto it = by_name_.find(std::string(name));
  return it == by_name_.end() ? nullptr : &tensors_[it->second];
}

StatusOr<const GgufTensor*> GgufFile::Require(std::string_view name) const {
  const GgufTensor* tensor = Find(name);
  if (tensor == nullptr) return Error(Code::MODEL_INCOMPLETE, "the file has no tensor %s", Quoted(name).c_str());
  return tensor;
}

const GgufFile::Value* GgufFile::FindValue(std::string_view key) const {
  const auto it = values_.find(std::string(key));
  return it == values_.end() ? nullptr : &it->second;
}

bool GgufFile::Has(std::string_view key) const { return FindValue(key) != nullptr; }

StatusOr<int64_t> GgufFile::ReadInt(std::string_view key, GgufType type, const uint8_t* at) {
  switch (type) {
    case GgufType::kU8:
    case GgufType::kBool:
      return static_cast<int64_t>(*at);
    case GgufType::kI8:
      return static_cast<int64_t>(Load<int8_t>(at));
    case GgufType::kU16:
      return static_cast<int64_t>(Load<uint16_t>(at));
    case GgufType::kI16:
      return static_cast<int64_t>(Load<int16_t>(at));
    case GgufType::kU32:
      return static_cast<int64_t>(Load<uint32_t>(at));
    case GgufType::kI32:
      return static_cast<int64_t>(Load<int32_t>(at));
    case GgufType::kI64:
      return Load<int64_t>(at);
    case GgufType::kU64: {
      const uint64_t value = Load<uint64_t>(at);
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) break;
      return static_cast<int64_t>(value);
    }
    default:
      break;
  }
  return WrongType(key, "an integer", type);
}

StatusOr<double> GgufFile::ReadFloat(std::string_view key, GgufType type, const uint8_t* at) {
  if (type == GgufType::kF32) return static_cast<double>(Load<float>(at));
  if (type == GgufType::kF64) return Load<double>(at);
  return WrongType(key, "a number", type);
}

StatusOr<int64_t> GgufFile::Int(std::string_view key, int64_t min, int64_t max) const {
  const Value* value = FindValue(key);
  if (value == nullptr) return Missing(key);
  HEARTH_ASSIGN_OR_RETURN(const int64_t number, ReadInt(key, value->type, value->data));
  if (number < min || number > max) {
    return Error(Code::GGUF_MALFORMED, "key %s is %lld; %lld to %lld is allowed", Quoted(key).c_str(),
                 static_cast<long long>(number), static_cast<long long>(min), static_cast<long long>(max));
  }
  return number;
}

StatusOr<int64_t> GgufFile::IntOr(std::string_view key, int64_t otherwise, int64_t min, int64_t max) const {
  return Has(key) ? Int(key, min, max) : StatusOr<int64_t>(otherwise);
}

StatusOr<double> GgufFile::FloatOr(std::string_view key, double otherwise) const {
  const Value* value = FindValue(key);
  if (value == nullptr) return otherwise;
  HEARTH_ASSIGN_OR_RETURN(const double number, ReadFloat(key, value->type, value->data));
  if (!std::isfinite(number)) return Error(Code::GGUF_MALFORMED, "key %s is not a finite number", Quoted(key).c_str());
  return number;
}

StatusOr<bool> GgufFile::BoolOr(std::string_view key, bool otherwise) const {
  const Value* value = FindValue(key);
  if (value == nullptr) return otherwise;
  if (value->type != GgufType::kBool) return WrongType(key, "a boolean", value->type);
  return *value->data != 0;
}

StatusOr<std::string> GgufFile::StringOr(std::string_view key, std::string_view otherwise) const {
  const Value* value = FindValue(key);
  if (value == nullptr) return std::string(otherwise);
  if (value->type != GgufType::kString) return WrongType(key, "a string", value->type);
  return std::string(reinterpret_cast<const char*>(value->data + 8), Load<uint64_t>(value->data));
}

StatusOr<std::vector<std::string_view>> GgufFile::Strings(std::string_view key) const {
  const Value* value = FindValue(key);
  if (value == nullptr) return Missing(key);
  if (value->type != GgufType::kArray || value->element != GgufType::kString) {
    return WrongType(key, "an array of strings", value->type);
  }
  std::vector<std::string_view> strings;
  strings.reserve(value->count);
  const uint8_t* at = value->data;
  for (uint64_t i = 0; i < value->count; ++i) {
    const uint64_t length = Load<uint64_t>(at);
    strings.emplace_back(reinterpret_cast<const char*>(at + 8), length);
    at += 8 + length;
  }
  return strings;
}

StatusOr<std::vector<int64_t>> GgufFile::Ints(std::string_view key) const {
  const Value* value = FindValue(key);
  if (value == nullptr) return Missing(key);
  if (value->type != GgufType::kArray) return WrongType(key, "an array of integers", value->type);
  std::vector<int64_t> numbers;
  numbers.reserve(value->count);
  for (uint64_t i = 0; i < value->count; ++i) {
    HEARTH_ASSIGN_OR_RETURN(const int64_t number,
                            ReadInt(key, value->element, value->data + i * TypeBytes(value->element)));
    numbers.push_back(number);
  }
  return numbers;
}

StatusOr<std::vector<double>> GgufFile::Floats(std::string_view key) const {
  const Value* value = FindValue(key);
  if (value == nullptr) return Missing(key);
  if (value->type != GgufType::kArray) return WrongType(key, "an array of numbers", value->type);
  std::vector<double> numbers;
  numbers.reserve(value->count);
  for (uint64_t i = 0; i < value->count; ++i) {
    HEARTH_ASSIGN_OR_RETURN(const double number,
                            ReadFloat(key, value->element, value->data + i * TypeBytes(value->element)));
    numbers.push_back(number);
  }
  return numbers;
}

void GgufFile::Drop(const uint8_t* begin, uint64_t bytes) const {
  if (map_ != nullptr) map_->Drop(begin, bytes);
}

void GgufFile::WillNeed(const uint8_t* begin, uint64_t bytes) const {
  if (map_ != nullptr) map_->WillNeed(begin, bytes);
}

void GgufFile::DropHeader() const {
  if (tensors_.empty()) return;
  const auto first = std::min_element(tensors_.begin(), tensors_.end(),
                                      [](const GgufTensor& a, const GgufTensor& b) { return a.data < b.data; });
  Drop(data_, static_cast<uint64_t>(first->data - data_));
}

Status GgufFile::Read(const uint8_t* from, uint64_t bytes, void* out) const {
  if (map_ != nullptr) return map_->Read(static_cast<uint64_t>(from - data_), bytes, out);
  std::memcpy(out, from, bytes);
  return Status();
}

}  // namespace hearth
