#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace kw::author {

struct SseEvent {
  std::string name;  // "" where the stream names none
  std::string data;  // lines joined by \n; valid UTF-8
};

/// A stream of server-sent events, cut into reads anywhere, inside a character too. Lines end in LF, CR or CRLF;
/// comments and unknown fields are ignored.
class SseParser {
 public:
  using OnEvent = std::function<Status(const SseEvent&)>;
  explicit SseParser(size_t event_limit_bytes = 2u << 20) : limit_bytes_(event_limit_bytes) {}
  /// fails: llm.too_large (one event), llm.utf8, or what `on_event` fails with
  Status feed(std::string_view bytes, const OnEvent& on_event);
  /// The stream ended: an event that lacks its closing blank line is still delivered.
  Status finish(const OnEvent& on_event);

 private:
  Status line(const OnEvent& on_event);
  Status dispatch(const OnEvent& on_event);
  void field(std::string_view name, std::string_view value);

  size_t limit_bytes_;
  std::string line_;
  SseEvent event_;
  bool has_data_ = false, after_cr_ = false, first_ = true;
};

}  // namespace kw::author
