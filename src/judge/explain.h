#pragma once
#include <string>
#include <string_view>

#include "base/result.h"

namespace kw::judge {

/// A certificate in words: what was shown, what was not, and how a rejection is reproduced.
/// fails: certificate.format (not JSON, or not a certificate)
Result<std::string> explain_certificate(std::string_view json);

}  // namespace kw::judge
