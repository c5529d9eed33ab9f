#include "author/llm/sse.h"

#include "base/utf8.h"

namespace kw::author {

Status SseParser::feed(std::string_view bytes, const OnEvent& on_event) {
  for (const char c : bytes) {
    const bool second_half = after_cr_ && c == '\n';
    after_cr_ = c == '\r';
    if (second_half) continue;
    if (c == '\n' || c == '\r') {
      if (Status status = line(on_event); !status) return status;
      continue;
    }
    line_ += c;
    if (line_.size() + event_.data.size() > limit_bytes_)
      return Failure{"llm.too_large", "one event of the stream exceeds " + std::to_string(limit_bytes_) + " bytes", ""};
  }
  return ok_status();
}

Status SseParser::finish(const OnEvent& on_event) {
  if (!line_.empty())
    if (Status status = line(on_event); !status) return status;
  return dispatch(on_event);
}

Status SseParser::line(const OnEvent& on_event) {
  std::string text;
  text.swap(line_);
  if (first_ && text.starts_with("\xef\xbb\xbf")) text.erase(0, 3);
  first_ = false;
  if (text.empty()) return dispatch(on_event);
  const size_t colon = text.find(':');
  if (colon == 0) return ok_status();  // a comment
  if (colon == std::string::npos) {
    field(text, "");
    return ok_status();
  }
  const size_t value = colon + (colon + 1 < text.size() && text[colon + 1] == ' ' ? 2 : 1);
  field(std::string_view(text).substr(0, colon), std::string_view(text).substr(value));
  return ok_status();
}

void SseParser::field(std::string_view name, std::string_view value) {
  if (name == "event") event_.name = value;
  if (name != "data") return;
  if (has_data_) event_.data += '\n';
  event_.data += value;
  has_data_ = true;
}

Status SseParser::dispatch(const OnEvent& on_event) {
  const SseEvent event = std::move(event_);
  const bool has_data = has_data_;
  event_ = {};
  has_data_ = false;
  if (!has_data) return ok_status();
  if (!valid_utf8(event.data)) return Failure{"llm.utf8", "the reply is not valid UTF-8", ""};
  return on_event(event);
}

}  // namespace kw::author
