#include "module/pt2.h"

#include <doctest/doctest.h>

#include <cstdlib>

using namespace kw;
using namespace kw::module;

TEST_CASE("a missing file is told so") {
  const auto loaded = load_pt2("/nonexistent/x.pt2");
  REQUIRE(!loaded.ok());
  CHECK(loaded.failure().id == "pt2.missing");
}

TEST_CASE("try one") {
  const char* p = std::getenv("KW_TRY");
  if (!p) return;
  const auto loaded = load_pt2(p);
  if (!loaded) MESSAGE(loaded.failure().id, loaded.failure().message);
  REQUIRE(loaded.ok());
  for (auto& n : loaded->program.nodes)
    MESSAGE(n.target, " ", n.outputs.size(), " ", n.source.file, n.source.line, n.source.text, n.source.module_path);
  for (auto& [n, t] : loaded->weights.tensors) MESSAGE(n, " ", t.bytes(), " ", (t.data ? load_element(t, 0) : 0.0));
}
