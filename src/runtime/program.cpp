#include "runtime/program.h"

#include <charconv>
#include <cstring>

namespace kw::runtime {
namespace {

constexpr uint64_t max_bytes = uint64_t{1} << 42;
constexpr uint64_t max_buffers = 1 << 20;
constexpr uint64_t max_launches = 1 << 22;
constexpr uint64_t max_args = 256;
constexpr uint64_t max_rank = 64;
constexpr uint64_t max_groups = uint64_t{1} << 31;
constexpr std::string_view header = "kernelwright-program";
constexpr const char* role_names[] = {"input", "parameter", "state", "prepared", "scratch", "output"};

struct DtypeRow {
  std::string_view name;
  uint64_t bytes;
};
constexpr DtypeRow dtypes[] = {{"f16", 2}, {"bf16", 2}, {"f32", 4}, {"f64", 8}, {"bool", 1},
                               {"u8", 1},  {"i8", 1},   {"i16", 2}, {"i32", 4}, {"i64", 8}};

bool parse_role(std::string_view text, Role& role) {
  for (int i = 0; i < 6; ++i) {
    if (text == role_names[i]) {
      role = static_cast<Role>(i);
      return true;
    }
  }
  return false;
}

void put(std::string& out, std::string_view field) {
  out += field;
  out += ' ';
}
void put(std::string& out, int64_t value) { put(out, std::to_string(value)); }
void end(std::string& out) { out.back() = '\n'; }

std::string real_bits(double value) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  char text[32];
  const auto done = std::to_chars(text, text + sizeof text, bits, 16);
  return {text, done.ptr};
}

void put_buffer(std::string& out, const BufferSpec& buffer) {
  put(out, role_names[static_cast<int>(buffer.role)]);
  put(out, buffer.index);
  put(out, escape(buffer.name));
  put(out, buffer.dtype);
  put(out, static_cast<int64_t>(buffer.bytes));
  put(out, static_cast<int64_t>(buffer.offset));
  put(out, static_cast<int64_t>(buffer.shape.size()));
  for (int64_t extent : buffer.shape) put(out, extent);
  end(out);
}

void put_launches(std::string& out, std::string_view title, const std::vector<Launch>& launches) {
  put(out, title);
  put(out, static_cast<int64_t>(launches.size()));
  end(out);
  for (const Launch& launch : launches) {
    put(out, launch.kernel);
    for (int64_t extent : launch.groups) put(out, extent);
    put(out, static_cast<int64_t>(launch.args.size()));
    for (const Argument& arg : launch.args) {
      const bool real = arg.kind == Argument::Kind::real;
      put(out, real ? "r" : arg.kind == Argument::Kind::integer ? "i" : "b");
      put(out, real ? real_bits(arg.real) : std::to_string(arg.integer));
    }
    end(out);
  }
}

bool read_shape(Fields& in, BufferSpec& buffer) {
  uint64_t rank = 0;
  if (!in.size(rank, max_rank)) return false;
  uint64_t bytes = dtype_bytes(buffer.dtype);
  for (uint64_t i = 0; i < rank; ++i) {
    uint64_t extent = 0;
    if (!in.size(extent, max_bytes) || __builtin_mul_overflow(bytes, extent, &bytes)) return false;
    buffer.shape.push_back(static_cast<int64_t>(extent));
  }
  return bytes == buffer.bytes;
}

bool placed(const BufferSpec& buffer, const Program& program) {
  const bool scratch = buffer.role == Role::scratch, prepared = buffer.role == Role::prepared;
  if (!scratch && !prepared) return buffer.offset == 0;
  const uint64_t room = scratch ? program.workspace_bytes : program.prepared_bytes;
  return buffer.offset % 64 == 0 && buffer.offset <= room && buffer.bytes <= room - buffer.offset;
}

bool read_buffer(Fields& in, const Program& program, BufferSpec& buffer) {
  std::string_view role, dtype;
  uint64_t index = 0;
  if (!in.word(role) || !parse_role(role, buffer.role) || !in.size(index, 1 << 20) || !in.name(buffer.name))
    return false;
  buffer.index = static_cast<int>(index);
  if (!in.word(dtype) || dtype_bytes(dtype) == 0) return false;
  buffer.dtype = dtype;
  if (!in.size(buffer.bytes, max_bytes) || !in.size(buffer.offset, max_bytes)) return false;
  return read_shape(in, buffer) && placed(buffer, program) && in.end_line();
}

bool read_argument(Fields& in, const Program& program, Argument& arg) {
  std::string_view kind;
  if (!in.word(kind) || kind.size() != 1) return false;
  if (kind == "r") {
    arg.kind = Argument::Kind::real;
    return in.real(arg.real);
  }
  arg.kind = kind == "b" ? Argument::Kind::buffer : Argument::Kind::integer;
  if (!in.number(arg.integer)) return false;
  if (kind == "i") return true;
  return kind == "b" && arg.integer >= 0 && arg.integer < static_cast<int64_t>(program.buffers.size());
}

bool read_launch(Fields& in, const Program& program, Launch& launch) {
  uint64_t kernel = 0, args = 0, count = 1;
  if (!in.size(kernel, max_launches) || kernel >= program.kernels.size()) return false;
  launch.kernel = static_cast<int>(kernel);
  for (int64_t& extent : launch.groups) {
    uint64_t value = 0;
    if (!in.size(value, max_groups)) return false;
    count *= value;
    if (count > max_groups) return false;
    extent = static_cast<int64_t>(value);
  }
  if (!in.size(args, max_args)) return false;
  launch.args.resize(args);
  for (Argument& arg : launch.args)
    if (!read_argument(in, program, arg)) return false;
  return in.end_line();
}

bool read_launches(Fields& in, std::string_view title, const Program& program, std::vector<Launch>& launches) {
  uint64_t count = 0;
  if (!in.expect(title) || !in.size(count, max_launches) || !in.end_line()) return false;
  for (uint64_t i = 0; i < count; ++i) {
    launches.emplace_back();
    if (!read_launch(in, program, launches.back())) return false;
  }
  return true;
}

bool read_kernels(Fields& in, Program& program) {
  uint64_t count = 0;
  if (!in.expect("kernels") || !in.size(count, max_launches) || !in.end_line()) return false;
  for (uint64_t i = 0; i < count; ++i) {
    program.kernels.emplace_back();
    if (!in.name(program.kernels.back()) || !in.end_line()) return false;
  }
  return true;
}

bool read_buffers(Fields& in, Program& program) {
  uint64_t count = 0;
  if (!in.expect("buffers") || !in.size(count, max_buffers)) return false;
  if (!in.size(program.workspace_bytes, max_bytes) || !in.size(program.prepared_bytes, max_bytes)) return false;
  if (!in.end_line()) return false;
  for (uint64_t i = 0; i < count; ++i) {
    program.buffers.emplace_back();
    if (!read_buffer(in, program, program.buffers.back())) return false;
  }
  return true;
}

}  // namespace

uint64_t dtype_bytes(std::string_view name) {
  for (const DtypeRow& row : dtypes)
    if (row.name == name) return row.bytes;
  return 0;
}

std::string encode(const Program& program) {
  std::string out = std::string(header) + " 1\n";
  put(out, "kernels");
  put(out, static_cast<int64_t>(program.kernels.size()));
  end(out);
  for (const std::string& kernel : program.kernels) out += escape(kernel) + "\n";
  put(out, "buffers");
  put(out, static_cast<int64_t>(program.buffers.size()));
  put(out, static_cast<int64_t>(program.workspace_bytes));
  put(out, static_cast<int64_t>(program.prepared_bytes));
  end(out);
  for (const BufferSpec& buffer : program.buffers) put_buffer(out, buffer);
  put_launches(out, "prepare", program.prepare);
  put_launches(out, "steps", program.steps);
  return out + "end\n";
}

bool decode(std::string_view text, Program& program, std::string& why) {
  Fields in(text);
  program = {};
  int64_t version = 0;
  why = "it is no program of version 1";
  if (!in.expect(header) || !in.number(version) || version != 1 || !in.end_line()) return false;
  why = "its kernel names are damaged";
  if (!read_kernels(in, program)) return false;
  why = "its buffers are damaged";
  if (!read_buffers(in, program)) return false;
  why = "its launches are damaged";
  if (!read_launches(in, "prepare", program, program.prepare)) return false;
  if (!read_launches(in, "steps", program, program.steps)) return false;
  why = "it has no proper end";
  return in.expect("end") && in.end_line() && in.at_end();
}

std::string escape(std::string_view name) {
  constexpr char digits[] = "0123456789abcdef";
  std::string out = "=";  // so that an empty name is a field too
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 32 && byte < 127 && c != '%') {
      out += c;
    } else {
      out += '%';
      out += digits[byte >> 4];
      out += digits[byte & 15];
    }
  }
  return out;
}

bool unescape(std::string_view field, std::string& name) {
  name.clear();
  if (field.empty() || field[0] != '=') return false;
  for (size_t i = 1; i < field.size(); ++i) {
    if (field[i] != '%') {
      name += field[i];
      continue;
    }
    unsigned byte = 0;
    if (i + 2 >= field.size()) return false;
    const auto done = std::from_chars(&field[i + 1], &field[i + 1] + 2, byte, 16);
    if (done.ec != std::errc{} || done.ptr != &field[i + 1] + 2) return false;
    name += static_cast<char>(byte);
    i += 2;
  }
  return true;
}

bool Fields::word(std::string_view& out) {
  size_t length = 0;
  while (length < text_.size() && text_[length] != ' ' && text_[length] != '\n') ++length;
  if (length == 0) return false;
  out = text_.substr(0, length);
  text_.remove_prefix(length);
  if (!text_.empty() && text_[0] == ' ') text_.remove_prefix(1);
  return true;
}

bool Fields::expect(std::string_view literal) {
  std::string_view field;
  return word(field) && field == literal;
}

bool Fields::number(int64_t& out) {
  std::string_view field;
  if (!word(field)) return false;
  const auto done = std::from_chars(field.data(), field.data() + field.size(), out);
  return done.ec == std::errc{} && done.ptr == field.data() + field.size();
}

bool Fields::size(uint64_t& out, uint64_t limit) {
  int64_t value = 0;
  if (!number(value) || value < 0 || static_cast<uint64_t>(value) > limit) return false;
  out = static_cast<uint64_t>(value);
  return true;
}

bool Fields::real(double& out) {
  std::string_view field;
  uint64_t bits = 0;
  if (!word(field)) return false;
  const auto done = std::from_chars(field.data(), field.data() + field.size(), bits, 16);
  std::memcpy(&out, &bits, sizeof out);
  return done.ec == std::errc{} && done.ptr == field.data() + field.size();
}

bool Fields::name(std::string& out) {
  std::string_view field;
  return word(field) && unescape(field, out);
}

bool Fields::end_line() {
  if (text_.empty() || text_[0] != '\n') return false;
  text_.remove_prefix(1);
  return true;
}

}  // namespace kw::runtime
