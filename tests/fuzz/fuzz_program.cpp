// The text of any program: reader and op table answer with a Graph or a failure that has an id.
#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>

#include "graph/import.h"
#include "module/program_reader.h"

extern "C" size_t LLVMFuzzerMutate(unsigned char* data, size_t size, size_t max_size);

namespace {

/// Sizes, axes and factors that arithmetic trips over.
constexpr std::array<std::string_view, 12> numbers = {
    "0", "1", "2", "-1", "-2", "3", "7", "64", "65536", "4294967296", "9223372036854775807", "-9223372036854775808"};

/// Where the digits of some number begin; text.size() where there is none behind `from`.
size_t number_at(const std::string& text, size_t from) {
  const auto found = std::find_if(text.begin() + static_cast<std::ptrdiff_t>(from), text.end(),
                                  [](unsigned char c) { return std::isdigit(c) != 0; });
  return static_cast<size_t>(found - text.begin());
}

void replace_number(std::string& text, std::minstd_rand& random) {
  const size_t begin = number_at(text, random() % (text.size() + 1));
  size_t end = begin;
  while (end < text.size() && std::isdigit(static_cast<unsigned char>(text[end]))) ++end;
  text.replace(begin, end - begin, numbers[random() % numbers.size()]);
}

}  // namespace

/// Bytes changed blindly seldom stay JSON: mostly some numbers change.
extern "C" size_t LLVMFuzzerCustomMutator(unsigned char* data, size_t size, size_t max_size, unsigned int seed) {
  std::minstd_rand random(seed);
  if (random() % 8 == 0) return LLVMFuzzerMutate(data, size, max_size);
  std::string text(reinterpret_cast<const char*>(data), size);
  for (auto changes = 1 + random() % 3; changes > 0; --changes) replace_number(text, random);
  if (text.size() > max_size) return size;
  std::copy(text.begin(), text.end(), data);
  return text.size();
}

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, size_t size) {
  const kw::module::Json json = kw::module::Json::parse(data, data + size, nullptr, false);
  if (json.is_discarded()) return 0;
  const auto program = kw::module::read_program(json);
  const auto sound = [](const auto& result) {
    if (!result && (result.failure().id.empty() || result.failure().message.empty())) std::abort();
    return static_cast<bool>(result);
  };
  if (sound(program)) sound(kw::graph::import_program(*program));
  return 0;
}
