// The one system call of the service protocol that Node has no way to make: a datagram to a Unix socket. An addon of
// its own, in C's Node-API, so that the daemon can load it and never has the runtime in its address space.
//
// notify(socketPath, message): undefined when the message was handed over, else the reason as a string. `socketPath` is
// what NOTIFY_SOCKET holds (sd_notify(3)): an absolute path, or '@' and a name in the abstract namespace.
#include <errno.h>
#include <node_api.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>

namespace {

// The service manager empties its queue at once; where it does not, the daemon's event loop must not wait for it.
constexpr timeval kSendTimeout = {0, 250'000};

bool Text(napi_env env, napi_value value, std::string* text) {
  size_t length = 0;
  if (napi_get_value_string_utf8(env, value, nullptr, 0, &length) != napi_ok) return false;
  text->resize(length + 1);
  if (napi_get_value_string_utf8(env, value, text->data(), text->size(), &length) != napi_ok) return false;
  text->resize(length);
  return true;
}

// Empty when it was sent.
std::string Send(const std::string& path, const std::string& message) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() < 2 || (path[0] != '/' && path[0] != '@')) return "expected an absolute path or '@' and a name";
  if (path.size() >= sizeof(address.sun_path)) return strerror(ENAMETOOLONG);
  memcpy(address.sun_path, path.data(), path.size());
  if (path[0] == '@') address.sun_path[0] = '\0';
  // An abstract name is as long as the address says it is; a path ends with its zero byte.
  const size_t length = offsetof(sockaddr_un, sun_path) + path.size() + (path[0] == '@' ? 0 : 1);

  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return strerror(errno);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &kSendTimeout, sizeof(kSendTimeout));
  ssize_t sent;
  do {
    sent = sendto(fd, message.data(), message.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&address),
                  static_cast<socklen_t>(length));
  } while (sent < 0 && errno == EINTR);
  const int error = errno;
  close(fd);
  return sent == static_cast<ssize_t>(message.size()) ? std::string() : strerror(error);
}

napi_value Notify(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value args[2];
  std::string path, message;
  std::string problem = "expected two strings";
  if (napi_get_cb_info(env, info, &count, args, nullptr, nullptr) == napi_ok && count == 2 &&
      Text(env, args[0], &path) && Text(env, args[1], &message)) {
    problem = Send(path, message);
  }
  napi_value result = nullptr;
  if (problem.empty()) {
    napi_get_undefined(env, &result);
  } else {
    napi_create_string_utf8(env, problem.data(), problem.size(), &result);
  }
  return result;
}

}  // namespace

NAPI_MODULE_INIT() {
  napi_value notify = nullptr;
  napi_create_function(env, "notify", NAPI_AUTO_LENGTH, Notify, nullptr, &notify);
  napi_set_named_property(env, exports, "notify", notify);
  return exports;
}
