#include <curl/curl.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <mutex>

#include "author/llm/http.h"
#include "base/secret.h"

namespace kw::author {
namespace {

/// What curl's words mean to us; everything else is a cut transfer.
struct CodeRow {
  CURLcode code;
  const char* id;
  const char* hint;
};
constexpr CodeRow kCodes[] = {
    {CURLE_COULDNT_RESOLVE_HOST, "http.dns", "check the address and the network"},
    {CURLE_COULDNT_RESOLVE_PROXY, "http.dns", "check the proxy's address"},
    {CURLE_COULDNT_CONNECT, "http.connect", "check that the server runs and listens there"},
    {CURLE_SSL_CONNECT_ERROR, "http.tls", "check the server's certificate"},
    {CURLE_PEER_FAILED_VERIFICATION, "http.tls", "check the server's certificate"},
    {CURLE_URL_MALFORMAT, "http.url", "write it as http://host:port/path"},
    {CURLE_UNSUPPORTED_PROTOCOL, "http.url", "only http and https are spoken"},
    {CURLE_OPERATION_TIMEDOUT, "http.timeout", "the server may be overloaded"},
};

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  return begin == std::string_view::npos ? "" : text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

/// One transfer under way; curl's callbacks get a pointer to it.
struct Transfer {
  CURL* handle;
  const HttpRequest& request;
  const HttpTransport::OnBytes& on_bytes;
  const std::function<bool()>& cancelled;
  HttpReply reply;
  size_t received_bytes = 0;
  bool too_large = false, refused = false, was_cancelled = false;
  std::chrono::steady_clock::time_point last_byte = std::chrono::steady_clock::now();
  bool idle = false;
};

size_t on_header(char* data, size_t size, size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  const std::string_view line(data, size * count);
  if (line.starts_with("HTTP/")) transfer.reply.headers.clear();  // of an earlier, interim answer
  if (const size_t colon = line.find(':'); colon != std::string_view::npos)
    transfer.reply.headers[lower(line.substr(0, colon))] = trimmed(line.substr(colon + 1));
  return size * count;
}

size_t on_body(char* data, size_t size, size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  const size_t bytes = size * count;
  transfer.received_bytes += bytes;
  transfer.last_byte = std::chrono::steady_clock::now();
  transfer.too_large = transfer.received_bytes > transfer.request.reply_limit_bytes;
  if (transfer.too_large) return 0;
  long status = 0;
  curl_easy_getinfo(transfer.handle, CURLINFO_RESPONSE_CODE, &status);
  transfer.refused = !transfer.on_bytes(static_cast<int>(status), std::string_view(data, bytes));
  return transfer.refused ? 0 : bytes;
}

int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  auto& transfer = *static_cast<Transfer*>(user);
  transfer.was_cancelled = transfer.cancelled && transfer.cancelled();
  const double silent_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - transfer.last_byte).count();
  transfer.idle = silent_s > transfer.request.idle_timeout_s;
  return transfer.was_cancelled || transfer.idle ? 1 : 0;
}

Failure failure_of(CURLcode code, const Transfer& transfer, const char* words) {
  const std::string host = transfer.request.url.substr(0, transfer.request.url.find('?'));
  if (transfer.was_cancelled) return {"http.stopped", "the call to " + host + " was stopped", ""};
  if (transfer.idle) return {"http.timeout", "no byte came from " + host + " for too long", "the server may hang"};
  if (transfer.too_large)
    return {"http.too_large",
            "the reply of " + host + " exceeds " + std::to_string(transfer.request.reply_limit_bytes) + " bytes", ""};
  if (transfer.refused) return {"http.stopped", "the reply of " + host + " was refused half way", ""};
  const std::string why = std::string(*words ? words : curl_easy_strerror(code));
  for (const CodeRow& row : kCodes)
    if (row.code == code) return {row.id, redact("cannot reach " + host + ": " + why), row.hint};
  return {"http.cut", redact("the transfer from " + host + " broke off: " + why), ""};
}

/// Owns what curl wants to have freed.
struct Handle {
  CURL* curl = curl_easy_init();
  curl_slist* headers = nullptr;
  ~Handle() {
    curl_slist_free_all(headers);
    if (curl) curl_easy_cleanup(curl);
  }
};

void set_request(Handle& handle, const HttpRequest& request) {
  CURL* curl = handle.curl;
  curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(request.connect_timeout_s * 1000));
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(request.timeout_s * 1000));
  for (const auto& [name, value] : request.headers)
    handle.headers = curl_slist_append(handle.headers, (name + ": " + value).c_str());
  handle.headers = curl_slist_append(handle.headers, "Expect:");
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, handle.headers);
  if (request.body.empty()) return;
  curl_easy_setopt(curl, CURLOPT_POST, 1L);
  curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
  curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request.body.c_str());
}

void set_callbacks(CURL* curl, Transfer& transfer) {
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &transfer);
}

class CurlTransport final : public HttpTransport {
 public:
  CurlTransport() {
    static std::once_flag once;
    std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  }

  Result<HttpReply> send(const HttpRequest& request, const OnBytes& on_bytes,
                         const std::function<bool()>& cancelled) override {
    Handle handle;
    if (handle.curl == nullptr) return Failure{"http.connect", "libcurl cannot start", "check the installation"};
    Transfer transfer{handle.curl, request, on_bytes, cancelled, {}};
    char words[CURL_ERROR_SIZE] = "";
    curl_easy_setopt(handle.curl, CURLOPT_ERRORBUFFER, words);
    set_request(handle, request);
    set_callbacks(handle.curl, transfer);
    const CURLcode code = curl_easy_perform(handle.curl);
    if (code != CURLE_OK) return failure_of(code, transfer, words);
    long status = 0;
    curl_easy_getinfo(handle.curl, CURLINFO_RESPONSE_CODE, &status);
    transfer.reply.status = static_cast<int>(status);
    return transfer.reply;
  }
};

}  // namespace

std::unique_ptr<HttpTransport> make_curl_transport() { return std::make_unique<CurlTransport>(); }

bool was_sent(const Failure& failure) {
  for (const char* id : {"http.dns", "http.connect", "http.tls", "http.url"})
    if (failure.id == id) return false;
  return true;
}

}  // namespace kw::author
