#pragma once
#include <memory>
#include <string>
#include <vector>

#include "app/options.h"
#include "author/command/command.h"
#include "author/llm/spec.h"

namespace kw::app {

/// The authors of a run, opened: what they share lives as long as they do.
struct Roster {
  author::Catalogue catalogue;
  std::unique_ptr<author::HttpTransport> transport;
  std::unique_ptr<author::Buckets> buckets;
  std::vector<std::unique_ptr<author::Correspondent>> voices;  // all but the embedded one
  bool search = false;
  std::vector<author::Correspondent*> pointers() const;
};

/// throws UserError: an author that is unknown, has no key or no price, needs the network although --offline is given,
/// or is named twice
Roster open_roster(const std::vector<std::string>& authors, const CommonOptions& common);

}  // namespace kw::app
