#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string_view>

#include "emulator/runtime/vocabulary.h"

namespace kw::emulator {

/// The languages that the front end takes.
enum class Dialect : uint8_t { metal, cuda };

struct DialectRow {
  Dialect dialect;
  std::string_view name;      // as --dialect says it
  std::string_view language;  // in sentences: "the Metal source does not compile"
  std::string_view id;        // begins the ids of failures: "msl.syntax"
  std::string_view refuser;   // who would refuse what lint finds
  std::string_view kernel;    // the word that marks a kernel
  std::string_view header;    // of the host library, which is precompiled
  std::string_view macros;    // what its headers give to the preprocessor
  std::string_view shadow;    // folder of the names under which the language offers them
  std::string_view standard;  // of the preprocessor
  std::span<const char* const> defines;
  std::span<const std::string_view> extensions;  // of files
  Vocabulary words;
};

std::span<const DialectRow> dialects();
const DialectRow& row_of(Dialect dialect);
/// By name ("cuda") and by a file's extension (".cu").
std::optional<Dialect> dialect_named(std::string_view name);
std::optional<Dialect> dialect_of_file(const std::filesystem::path& file);

}  // namespace kw::emulator
