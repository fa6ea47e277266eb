#include "addon/base/status.h"

#include <cstdarg>
#include <cstdio>

namespace hearth {

const char* CodeName(Code code) {
  switch (code) {
    case Code::kOk:
      return "OK";
#define HEARTH_ERROR_CODE(name) \
  case Code::name:              \
    return #name;
#include "addon/base/error_codes.inc"
#undef HEARTH_ERROR_CODE
  }
  return "INTERNAL";
}

Status Error(Code code, const char* format, ...) {
  char buffer[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(buffer, sizeof buffer, format, arguments);
  va_end(arguments);
  return Status(code, buffer);
}

}  // namespace hearth
