#pragma once
#include <string>
#include <string_view>

#include "author/llm/prompt.h"
#include "base/result.h"

namespace kw::author {

struct ParsedReply {
  std::string source, plan_json;
};

/// The source and the Plan of a reply. Form is forgiven: fences of ~ or `, other tags or none, text around, thoughts in
/// <think>, JSON with comments or trailing commas, one JSON object with `source` and `plan`, a last fence left open. Of
/// several blocks of a kind the last counts. What a block says is not touched.
/// fails: reply.source, reply.plan, reply.cut (words for the author)
Result<ParsedReply> parse_reply(std::string_view text, const Language& language);

}  // namespace kw::author
