#pragma once
#include <string>

namespace kw::package {

/// The page inside a package: what it is, how to use it, what was measured. From the manifest.
std::string readme_text(const std::string& manifest_json);

}  // namespace kw::package
