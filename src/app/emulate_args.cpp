#include "app/emulate_args.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "base/file.h"
#include "base/half.h"
#include "base/random.h"

namespace kw::app {
namespace {

template <class T>
double load_as(const void* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return static_cast<double>(value);
}
template <class T>
void store_as(void* at, double value) {
  const T typed = std::is_integral_v<T> ? static_cast<T>(static_cast<int64_t>(value)) : static_cast<T>(value);
  std::memcpy(at, &typed, sizeof typed);
}
double load_half(const void* at) { return half_to_float(static_cast<uint16_t>(load_as<uint16_t>(at))); }
void store_half(void* at, double value) {
  const uint16_t bits = half_from_double(value);
  std::memcpy(at, &bits, 2);
}
double load_bfloat(const void* at) { return bfloat_to_float(static_cast<uint16_t>(load_as<uint16_t>(at))); }
void store_bfloat(void* at, double value) {
  const uint16_t bits = bfloat_from_double(value);
  std::memcpy(at, &bits, 2);
}

constexpr ElementType types[] = {
    {"f32", 4, load_as<float>, store_as<float>},
    {"f16", 2, load_half, store_half},
    {"bf16", 2, load_bfloat, store_bfloat},
    {"i32", 4, load_as<int32_t>, store_as<int32_t>},
    {"u32", 4, load_as<uint32_t>, store_as<uint32_t>},
    {"i64", 8, load_as<int64_t>, store_as<int64_t>},
    {"u64", 8, load_as<uint64_t>, store_as<uint64_t>},
    {"i16", 2, load_as<int16_t>, store_as<int16_t>},
    {"u16", 2, load_as<uint16_t>, store_as<uint16_t>},
    {"i8", 1, load_as<int8_t>, store_as<int8_t>},
    {"u8", 1, load_as<uint8_t>, store_as<uint8_t>},
    {"bool", 1, load_as<uint8_t>, store_as<uint8_t>},
};

constexpr uint64_t most_elements = uint64_t{1} << 34;

Failure bad(std::string_view text, std::string_view why) {
  return {"arguments", fmt::format("{} is no argument: {}", text, why),
          "write out:f32[64,32], rand:f16[8], zeros:u32[4], ones:..., iota:..., file=PATH:f32[8], or a scalar u32:64"};
}

/// "f32[4,8]". False if it is not that.
bool parse_shaped(std::string_view text, EmulateArg& arg, std::string& why) {
  const size_t open = text.find('[');
  const ElementType* type = element_type(text.substr(0, open));
  if (!type) {
    why = fmt::format("no type is called {}", text.substr(0, open));
    return false;
  }
  arg.type = *type;
  why = "the shape stands in brackets, like [64,32]";
  if (open == std::string_view::npos || text.back() != ']') return false;
  text = text.substr(open + 1, text.size() - open - 2);
  uint64_t count = 1;
  while (!text.empty()) {
    int64_t extent = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), extent);
    if (error != std::errc() || extent < 1 || count > most_elements / static_cast<uint64_t>(extent)) return false;
    count *= static_cast<uint64_t>(extent);
    arg.shape.push_back(extent);
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    if (!text.empty() && text[0] != ',') return false;
    if (!text.empty()) text.remove_prefix(1);
  }
  return !arg.shape.empty();
}

template <class Value>
std::string filled(const EmulateArg& arg, Value value) {
  std::string content(arg.bytes(), '\0');
  for (uint64_t i = 0; i * arg.type.bytes < content.size(); ++i) arg.type.store(&content[i * arg.type.bytes], value(i));
  return content;
}

Result<EmulateArg> from_file(std::string_view text, std::string_view path, EmulateArg arg) {
  auto content = read_file(std::string(path));
  if (!content) return content.failure();
  if (content->size() != arg.bytes())
    return bad(text, fmt::format("{} holds {} bytes and {} are needed", path, content->size(), arg.bytes()));
  arg.content = std::move(*content);
  return arg;
}

Result<EmulateArg> scalar(std::string_view text, const ElementType& type, const std::string& word) {
  EmulateArg arg;
  arg.kind = EmulateArg::Kind::scalar;
  arg.type = type;
  arg.content.resize(type.bytes);
  if (type.name == "i64" || type.name == "u64") {
    char* end = nullptr;
    const int64_t value = type.name == "i64" ? std::strtoll(word.c_str(), &end, 10)
                                             : static_cast<int64_t>(std::strtoull(word.c_str(), &end, 10));
    if (word.empty() || *end) return bad(text, fmt::format("{} is no number", word));
    std::memcpy(arg.content.data(), &value, sizeof value);
    return arg;
  }
  const std::string number = word == "true" ? "1" : word == "false" ? "0" : word;
  char* end = nullptr;
  const double value = std::strtod(number.c_str(), &end);
  if (number.empty() || *end) return bad(text, fmt::format("{} is no number", word));
  arg.type.store(arg.content.data(), value);
  const double kept = arg.type.load(arg.content.data());
  const bool floating = type.name[0] == 'f' || type.name[0] == 'b';
  if (!floating && kept != value) return bad(text, fmt::format("{} does not fit into {}", word, type.name));
  return arg;
}

}  // namespace

const ElementType* element_type(std::string_view name) {
  for (const ElementType& type : types)
    if (type.name == name) return &type;
  return nullptr;
}

uint64_t EmulateArg::bytes() const {
  uint64_t count = 1;
  for (const int64_t extent : shape) count *= static_cast<uint64_t>(extent);
  return count * type.bytes;
}

EmulateArg random_argument(const ElementType& type, const std::vector<int64_t>& shape, uint64_t seed) {
  EmulateArg arg;
  arg.type = type;
  arg.shape = shape;
  Random random(seed * 0x9e3779b97f4a7c15u + 1);
  const bool floating = type.name[0] == 'f' || type.name == "bf16";
  arg.content =
      filled(arg, [&](uint64_t) { return floating ? random.normal() : static_cast<double>(random.integer(0, 9)); });
  return arg;
}

Result<EmulateArg> parse_argument(std::string_view text, uint64_t seed) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return bad(text, "a colon is missing");
  const std::string_view kind = text.substr(0, colon), rest = text.substr(colon + 1);
  if (const ElementType* type = element_type(kind)) return scalar(text, *type, std::string(rest));
  EmulateArg arg;
  std::string why;
  if (!parse_shaped(rest, arg, why)) return bad(text, why);
  if (kind == "out") {
    arg.kind = EmulateArg::Kind::out;
    return arg;
  }
  if (kind == "rand") return random_argument(arg.type, arg.shape, seed);
  if (kind == "zeros")
    arg.content = filled(arg, [](uint64_t) { return 0.0; });
  else if (kind == "ones")
    arg.content = filled(arg, [](uint64_t) { return 1.0; });
  else if (kind == "iota")
    arg.content = filled(arg, [](uint64_t i) { return static_cast<double>(i); });
  else if (kind.substr(0, 5) == "file=")
    return from_file(text, kind.substr(5), std::move(arg));
  else
    return bad(text, fmt::format("nothing is called {}", kind));
  return arg;
}

Result<emulator::Size3> parse_size3(std::string_view flag, std::string_view text) {
  const Failure failure{"arguments", fmt::format("{} {} is no size", flag, text),
                        "write X, X,Y or X,Y,Z, all at least 1"};
  emulator::Size3 size{1, 1, 1};
  for (size_t i = 0; i < 3; ++i) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), size[i]);
    if (error != std::errc() || size[i] == 0) return failure;
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    if (text.empty()) return size;
    if (text[0] != ',') return failure;
    text.remove_prefix(1);
  }
  return failure;
}

Result<emulator::wire::GroupBytes> parse_group_bytes(std::string_view text) {
  const Failure failure{"arguments", fmt::format("{} is no threadgroup argument", text),
                        "write INDEX=BYTES, like 0=4096"};
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos) return failure;
  emulator::wire::GroupBytes bytes;
  const char* const end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, bytes.index);
  const auto second = std::from_chars(text.data() + equals + 1, end, bytes.bytes);
  if (first.ec != std::errc() || first.ptr != text.data() + equals || second.ec != std::errc() || second.ptr != end ||
      bytes.index > 30)
    return failure;
  return bytes;
}

Result<emulator::wire::ConstantValue> parse_constant(std::string_view text, const emulator::Reflection& reflection) {
  const size_t equals = text.find('='), colon = text.find(':', equals == std::string_view::npos ? 0 : equals);
  const ElementType* type = equals == std::string_view::npos || colon == std::string_view::npos
                                ? nullptr
                                : element_type(text.substr(equals + 1, colon - equals - 1));
  if (!type)
    return Failure{"arguments", fmt::format("{} is no function constant", text), "write NAME=bool:true or INDEX=u32:4"};
  auto value = scalar(text, *type, std::string(text.substr(colon + 1)));
  if (!value) return value.failure();
  const std::string name(text.substr(0, equals));
  emulator::wire::ConstantValue constant{0, value->content};
  for (const auto& known : reflection.constants)
    if (known.index && (known.name == name || std::to_string(*known.index) == name)) {
      constant.index = *known.index;
      return constant;
    }
  return Failure{"arguments", fmt::format("there is no function constant {}", name), ""};
}

}  // namespace kw::app
