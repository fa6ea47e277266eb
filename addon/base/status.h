// Status and StatusOr: how every fallible function of the runtime reports. No input may abort the process, so nothing
// here throws; reading the value of a failed StatusOr is a defect and is asserted.
#ifndef HEARTH_BASE_STATUS_H_
#define HEARTH_BASE_STATUS_H_

#include <cassert>
#include <optional>
#include <string>
#include <utility>

namespace hearth {

enum class Code {
  kOk = 0,
#define HEARTH_ERROR_CODE(name) name,
#include "addon/base/error_codes.inc"
#undef HEARTH_ERROR_CODE
};

// The code's name as it appears in messages and in the TypeScript catalogue, such as "GGUF_TRUNCATED".
const char* CodeName(Code code);

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == Code::kOk; }
  Code code() const { return code_; }
  // What was expected, for what, and what was found.
  const std::string& message() const { return message_; }

 private:
  Code code_ = Code::kOk;
  std::string message_;
};

template <typename T>
class [[nodiscard]] StatusOr {
 public:
  StatusOr(Status status) : status_(std::move(status)) { assert(!status_.ok()); }  // NOLINT: implicit by design
  StatusOr(T value) : value_(std::move(value)) {}                                  // NOLINT: implicit by design

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  T& value() {
    assert(ok());
    return *value_;
  }
  const T& value() const {
    assert(ok());
    return *value_;
  }
  T& operator*() { return value(); }
  const T& operator*() const { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  Status status_;
  std::optional<T> value_;
};

// printf-style construction: Error(Code::GGUF_TRUNCATED, "tensor %s ends at byte %zu of %zu", ...).
Status Error(Code code, const char* format, ...) __attribute__((format(printf, 2, 3)));

}  // namespace hearth

#define HEARTH_CONCAT_INNER(a, b) a##b
#define HEARTH_CONCAT(a, b) HEARTH_CONCAT_INNER(a, b)
#define HEARTH_RETURN_IF_ERROR(expression)                                      \
  do {                                                                          \
    if (::hearth::Status status_ = (expression); !status_.ok()) return status_; \
  } while (false)
// HEARTH_ASSIGN_OR_RETURN(auto x, F()): declares x, or returns F's error.
#define HEARTH_ASSIGN_OR_RETURN(declaration, expression) \
  HEARTH_ASSIGN_OR_RETURN_INNER(HEARTH_CONCAT(status_or_, __LINE__), declaration, expression)
#define HEARTH_ASSIGN_OR_RETURN_INNER(temporary, declaration, expression) \
  auto temporary = (expression);                                          \
  if (!temporary.ok()) return temporary.status();                         \
  declaration = std::move(*temporary)

#endif  // HEARTH_BASE_STATUS_H_
