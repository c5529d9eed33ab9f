#include "target/cpu/elf_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>

#include "base/file.h"

#ifdef __linux__
#include <elf.h>

namespace kw::target {
namespace {

constexpr std::string_view allowed_symbols[] = {
    "memcpy", "memset", "memmove", "memcmp",    "exp",   "exp2",     "expm1", "log",    "log2",   "log10",
    "log1p",  "pow",    "sin",     "cos",       "tan",   "asin",     "acos",  "atan",   "atan2",  "sinh",
    "cosh",   "tanh",   "asinh",   "acosh",     "atanh", "sqrt",     "cbrt",  "hypot",  "erf",    "erfc",
    "lgamma", "tgamma", "fmod",    "remainder", "floor", "ceil",     "trunc", "round",  "rint",   "nearbyint",
    "ldexp",  "frexp",  "fma",     "fmin",      "fmax",  "copysign", "fabs",  "sincos", "scalbn", "lrint",
    "lround", "llrint", "llround", "nextafter", "modf"};
constexpr std::string_view allowed_libraries[] = {"libm.so.6", "libc.so.6"};
constexpr std::string_view harmless_sections[] = {".got",         ".got.plt",           ".dynamic",
                                                  ".data.rel.ro", ".data.rel.ro.local", ".relro_padding"};

#if defined(__aarch64__)
constexpr uint32_t calling_relocation = R_AARCH64_IRELATIVE;
#else
constexpr uint32_t calling_relocation = R_X86_64_IRELATIVE;
#endif

Failure damaged(std::string_view what) {
  return {"binary.damaged", fmt::format("the kernel binary is damaged: {}", what), ""};
}
Failure forbidden(std::string_view what) { return {"binary.forbidden", fmt::format("the kernel binary {}", what), ""}; }

/// Bounds-checked reads of a 64-bit little-endian shared object.
class Elf {
 public:
  explicit Elf(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <class T>
  std::optional<T> at(uint64_t offset) const {
    if (offset > bytes_.size() || sizeof(T) > bytes_.size() - offset) return std::nullopt;
    T value;
    std::memcpy(&value, bytes_.data() + offset, sizeof value);
    return value;
  }
  std::optional<std::string_view> text(uint64_t offset, uint64_t limit) const {
    if (offset >= bytes_.size()) return std::nullopt;
    const auto* begin = reinterpret_cast<const char*>(bytes_.data() + offset);
    const size_t room = static_cast<size_t>(std::min<uint64_t>(limit, bytes_.size() - offset));
    const size_t length = strnlen(begin, room);
    if (length == room) return std::nullopt;
    return std::string_view(begin, length);
  }

 private:
  std::span<const std::byte> bytes_;
};

struct Sections {
  std::vector<Elf64_Shdr> headers;
  std::vector<std::string_view> names;
  const Elf64_Shdr* find(uint32_t type) const {
    for (const Elf64_Shdr& header : headers)
      if (header.sh_type == type) return &header;
    return nullptr;
  }
};

std::optional<Elf64_Ehdr> file_header(const Elf& elf) {
  const auto header = elf.at<Elf64_Ehdr>(0);
  if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) return std::nullopt;
  if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_type != ET_DYN) return std::nullopt;
  if (header->e_shnum == 0 || header->e_shnum > 200 || header->e_shstrndx >= header->e_shnum) return std::nullopt;
  return header;
}

std::optional<Sections> read_sections(const Elf& elf, const Elf64_Ehdr& header) {
  Sections sections;
  for (uint64_t i = 0; i < header.e_shnum; ++i) {
    const auto section = elf.at<Elf64_Shdr>(header.e_shoff + i * sizeof(Elf64_Shdr));
    if (!section) return std::nullopt;
    sections.headers.push_back(*section);
  }
  const Elf64_Shdr& strings = sections.headers[header.e_shstrndx];
  for (const Elf64_Shdr& section : sections.headers) {
    if (section.sh_name >= strings.sh_size) return std::nullopt;
    const auto name = elf.text(strings.sh_offset + section.sh_name, strings.sh_size - section.sh_name);
    if (!name) return std::nullopt;
    sections.names.push_back(*name);
  }
  return sections;
}

Status check_sections(const Sections& sections) {
  for (size_t i = 0; i < sections.headers.size(); ++i) {
    const Elf64_Shdr& section = sections.headers[i];
    const bool loaded = (section.sh_flags & SHF_ALLOC) != 0 && section.sh_size > 0;
    const bool writable = loaded && (section.sh_flags & SHF_WRITE) != 0;
    const bool harmless = std::find(std::begin(harmless_sections), std::end(harmless_sections), sections.names[i]) !=
                          std::end(harmless_sections);
    if (loaded && (section.sh_flags & SHF_TLS) != 0) return forbidden("holds thread-local data");
    if (writable && (section.sh_flags & SHF_EXECINSTR) != 0) return forbidden("holds code that can be rewritten");
    if (writable && !harmless)
      return forbidden(fmt::format("holds {} bytes of writable data in {}", section.sh_size, sections.names[i]));
  }
  return ok_status();
}

Status check_segments(const Elf& elf, const Elf64_Ehdr& header) {
  for (uint64_t i = 0; i < header.e_phnum; ++i) {
    const auto segment = elf.at<Elf64_Phdr>(header.e_phoff + i * sizeof(Elf64_Phdr));
    if (!segment) return damaged("a segment lies outside the file");
    const bool both = (segment->p_flags & PF_W) != 0 && (segment->p_flags & PF_X) != 0;
    if ((segment->p_type == PT_LOAD || segment->p_type == PT_GNU_STACK) && both)
      return forbidden("asks for memory that is writable and executable");
    if (segment->p_type == PT_INTERP || segment->p_type == PT_TLS) return forbidden("is no plain kernel library");
  }
  return ok_status();
}

Status check_dynamic_entry(const Elf& elf, const Elf64_Dyn& entry, const Elf64_Shdr& strings) {
  switch (entry.d_tag) {
    case DT_INIT:
    case DT_FINI:
    case DT_INIT_ARRAY:
    case DT_FINI_ARRAY:
    case DT_PREINIT_ARRAY:
      return forbidden("runs code when it is loaded");
    case DT_TEXTREL:
      return forbidden("rewrites its own code when it is loaded");
    case DT_RPATH:
    case DT_RUNPATH:
    case DT_AUDIT:
    case DT_DEPAUDIT:
    case DT_FILTER:
    case DT_AUXILIARY:
      return forbidden("names a library search path");
    case DT_NEEDED:
      break;
    default:
      return ok_status();
  }
  if (entry.d_un.d_val >= strings.sh_size) return damaged("a library name lies outside its table");
  const auto name = elf.text(strings.sh_offset + entry.d_un.d_val, strings.sh_size - entry.d_un.d_val);
  if (!name) return damaged("a library name has no end");
  for (std::string_view allowed : allowed_libraries)
    if (*name == allowed) return ok_status();
  return forbidden(fmt::format("needs the library {}", *name));
}

Status check_dynamic(const Elf& elf, const Sections& sections, const Elf64_Shdr& strings) {
  const Elf64_Shdr* dynamic = sections.find(SHT_DYNAMIC);
  if (!dynamic) return damaged("it has no dynamic section");
  for (uint64_t i = 0; i < dynamic->sh_size / sizeof(Elf64_Dyn); ++i) {
    const auto entry = elf.at<Elf64_Dyn>(dynamic->sh_offset + i * sizeof(Elf64_Dyn));
    if (!entry) return damaged("its dynamic section is cut");
    if (Status status = check_dynamic_entry(elf, *entry, strings); !status.ok()) return status;
  }
  return ok_status();
}

bool symbol_allowed(std::string_view name) {
  for (std::string_view allowed : allowed_symbols)
    if (name == allowed ||
        (name.size() == allowed.size() + 1 && name.back() == 'f' && name.substr(0, allowed.size()) == allowed))
      return true;
  return false;
}

Status check_symbol(const Elf64_Sym& symbol, std::string_view name) {
  const int type = ELF64_ST_TYPE(symbol.st_info);
  if (type == STT_GNU_IFUNC) return forbidden(fmt::format("chooses {} by running code at load", name));
  if (symbol.st_shndx == SHN_UNDEF)
    return symbol_allowed(name) ? ok_status() : forbidden(fmt::format("calls {}, which is not on the list", name));
  if (name.substr(0, 9) == "kw_entry_" || type == STT_SECTION) return ok_status();
  return forbidden(fmt::format("exports {}, which is no kernel entry", name));
}

Status check_symbols(const Elf& elf, const Elf64_Shdr& table, const Elf64_Shdr& strings) {
  for (uint64_t i = 1; i < table.sh_size / sizeof(Elf64_Sym); ++i) {
    const auto symbol = elf.at<Elf64_Sym>(table.sh_offset + i * sizeof(Elf64_Sym));
    if (!symbol || symbol->st_name >= strings.sh_size) return damaged("a symbol lies outside its table");
    const auto name = elf.text(strings.sh_offset + symbol->st_name, strings.sh_size - symbol->st_name);
    if (!name) return damaged("a symbol's name has no end");
    if (Status status = check_symbol(*symbol, *name); !status.ok()) return status;
  }
  return ok_status();
}

Status check_relocations(const Elf& elf, const Sections& sections) {
  for (const Elf64_Shdr& section : sections.headers) {
    if (section.sh_type == SHT_REL) return damaged("its relocations have an unknown form");
    if (section.sh_type != SHT_RELA) continue;
    for (uint64_t i = 0; i < section.sh_size / sizeof(Elf64_Rela); ++i) {
      const auto relocation = elf.at<Elf64_Rela>(section.sh_offset + i * sizeof(Elf64_Rela));
      if (!relocation) return damaged("a relocation lies outside the file");
      if (ELF64_R_TYPE(relocation->r_info) == calling_relocation) return forbidden("runs code while it is relocated");
    }
  }
  return ok_status();
}

}  // namespace

Status check_binary(std::span<const std::byte> bytes) {
  const Elf elf(bytes);
  const auto header = file_header(elf);
  if (!header) return damaged("it is no 64-bit shared library");
  const auto sections = read_sections(elf, *header);
  if (!sections) return damaged("its section table is cut");
  const Elf64_Shdr* symbols = sections->find(SHT_DYNSYM);
  if (!symbols || symbols->sh_link >= sections->headers.size()) return damaged("it has no dynamic symbols");
  const Elf64_Shdr& strings = sections->headers[symbols->sh_link];
  for (Status status : {check_segments(elf, *header), check_sections(*sections), check_dynamic(elf, *sections, strings),
                        check_symbols(elf, *symbols, strings), check_relocations(elf, *sections)})
    if (!status.ok()) return status;
  return ok_status();
}

}  // namespace kw::target

#else  // macOS: Mach-O is checked by the linker's own -undefined error; nothing further yet.

namespace kw::target {
Status check_binary(std::span<const std::byte>) { return ok_status(); }
}  // namespace kw::target

#endif

namespace kw::target {

Status check_binary_file(const std::filesystem::path& path) {
  auto mapped = MappedFile::open(path);
  if (!mapped) return mapped.failure();
  return check_binary((*mapped)->bytes());
}

}  // namespace kw::target
