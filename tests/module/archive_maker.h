#pragma once
#include <cstdint>
#include <string>
#include <vector>

/// Writes small zip and .pt2 archives for tests, well-formed or wrong on purpose.
namespace kw::test {

struct Member {
  std::string name;
  std::string content;
  bool deflate = false;
  int64_t declared_bytes = -1;  // lies about the size when not negative
};

/// A zip archive of these members, checksums right.
std::string make_zip(const std::vector<Member>& members);

/// The members of a .pt2 of `y = linear(x, w, b)`, x [2, 3], w [4, 3], as torch 2.13 lays them out.
std::vector<Member> linear_members();

/// Replaces the first `from` in the member called `name`; the test fails to mean anything if it is absent (checked).
std::vector<Member> with_edit(std::vector<Member> members, const std::string& name, const std::string& from,
                              const std::string& to);

}  // namespace kw::test
