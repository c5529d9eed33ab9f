#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace kw::author {

struct HttpRequest {
  std::string url;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;  // "": a GET
  double connect_timeout_s = 5;
  double timeout_s = 600;
  double idle_timeout_s = 120;  // without a single byte
  size_t reply_limit_bytes = 4u << 20;
};

struct HttpReply {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
};

/// Sends one request. Redirects are not followed: a key goes to the host that it was given for.
class HttpTransport {
 public:
  /// Bytes of the body as they come, with the status that they belong to; false stops the transfer.
  using OnBytes = std::function<bool(int status, std::string_view bytes)>;
  virtual ~HttpTransport() = default;
  /// fails: http.dns, http.connect, http.tls (nothing was sent); http.timeout, http.cut, http.too_large, http.stopped
  virtual Result<HttpReply> send(const HttpRequest& request, const OnBytes& on_bytes,
                                 const std::function<bool()>& cancelled) = 0;
};

std::unique_ptr<HttpTransport> make_curl_transport();

/// May the provider have worked, and billed, although the transfer failed?
bool was_sent(const Failure& failure);

}  // namespace kw::author
