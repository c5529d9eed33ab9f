#include <doctest/doctest.h>

#include <fstream>

#include "base/file.h"
#include "module/zip.h"
#include "package/pack.h"
#include "package/read.h"
#include "package/zip_writer.h"
#include "runtime/archive.h"

using namespace kw;
using namespace kw::package;

namespace {

std::string bytes_of(const std::filesystem::path& path) { return read_file(path).value_or_throw(); }

}  // namespace

TEST_CASE("stored members start at 64-byte boundaries and are read back by both readers") {
  const TempDir folder("kw-package-test");
  const auto path = folder.path() / "a.zip";
  ZipWriter zip(path);
  const uint64_t a = zip.add("a", "hello").value_or_throw(),
                 b = zip.add("kernels/b", std::string(1000, 'x')).value_or_throw();
  CHECK(a % 64 == 0);
  CHECK(b % 64 == 0);
  CHECK_FALSE(std::filesystem::exists(path));
  REQUIRE(zip.finish().ok());
  const std::string bytes = bytes_of(path);
  CHECK(bytes.substr(a, 5) == "hello");
  CHECK(runtime::find_stored(bytes, "kernels/b") == std::string(1000, 'x'));
  CHECK(runtime::find_stored(bytes, "c").empty());
  const auto archive = module::ZipArchive::open(std::as_bytes(std::span(bytes)));
  REQUIRE(archive.ok());
  REQUIRE(archive->find("a") != nullptr);
  CHECK(archive->read_text(*archive->find("a"), 100).value_or_throw() == "hello");
}

TEST_CASE("an archive that is not finished leaves nothing") {
  const TempDir folder("kw-package-test");
  { ZipWriter(folder.path() / "a.zip").add("a", "hello").value_or_throw(); }
  CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("the runtime's zip reader survives any cut and any flipped byte") {
  const TempDir folder("kw-package-test");
  ZipWriter zip(folder.path() / "a.zip");
  zip.add("kernels/index", std::string(100, 'i')).value_or_throw();
  REQUIRE(zip.finish().ok());
  const std::string good = bytes_of(folder.path() / "a.zip");
  for (size_t cut = 0; cut < good.size(); ++cut)
    CHECK(runtime::find_stored(good.substr(0, cut), "kernels/index").empty());
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0xff);
    const auto found = runtime::find_stored(bad, "kernels/index");
    CHECK(found.size() <= bad.size());
  }
}

TEST_CASE("the index refuses what lies outside the file") {
  runtime::Index index;
  index.threads = 2;
  index.weights.push_back({"fc.weight", "f32", false, {2, 3}, {64, 24}});
  index.limits.push_back({1, -10, 10});
  index.variants.push_back({"avx2", {128, 10}, {192, 100}});
  const std::string text = runtime::encode_index(index);
  runtime::Index back;
  REQUIRE(runtime::decode_index(text, 292, back));
  CHECK(runtime::encode_index(back) == text);
  runtime::Index cut;
  CHECK_FALSE(runtime::decode_index(text, 291, cut));
  for (size_t i = 0; i < text.size(); ++i) {
    runtime::Index partial;
    CHECK_FALSE(runtime::decode_index(text.substr(0, i), 1000, partial));
  }
}

TEST_CASE("what is no package is refused with a reason") {
  const TempDir folder("kw-package-test");
  CHECK(open_package((folder.path() / "none.kw").string()).failure().id == "package.missing");
  std::ofstream(folder.path() / "text.kw") << "not a zip";
  CHECK(open_package((folder.path() / "text.kw").string()).failure().id == "package.damaged");
  ZipWriter zip(folder.path() / "empty.kw");
  zip.add("manifest.json", R"({"format":"kernelwright-package/2"})").value_or_throw();
  REQUIRE(zip.finish().ok());
  CHECK(open_package((folder.path() / "empty.kw").string()).failure().id == "package.format");
  CHECK(check_writable("/nonexistent/folder/a.kw").failure().id == "package.write");
}
