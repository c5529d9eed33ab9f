#include "module/zip.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include <fmt/format.h>

namespace kw::module {
namespace {

constexpr uint32_t local_magic = 0x04034b50, central_magic = 0x02014b50, end_magic = 0x06054b50;
constexpr uint32_t end64_magic = 0x06064b50, locator64_magic = 0x07064b50;
constexpr size_t local_bytes = 30, central_bytes = 46, end_bytes = 22, end64_bytes = 56, locator64_bytes = 20;
constexpr size_t max_members = size_t{1} << 20;
// Deflate cannot exceed 1032:1. Weights hardly shrink at all, so the sum is held to far less.
constexpr size_t max_deflate_ratio = 1032, max_total_ratio = 16, free_inflation_bytes = size_t{64} << 20;

Failure truncated(std::string message) {
  return {"pt2.truncated", std::move(message), "copy or export the file again; it looks cut off or damaged"};
}

Failure hostile(std::string message) {
  return {"pt2.hostile", std::move(message), "torch.export.save never writes such an archive; do not trust this file"};
}

/// Little-endian fields of a byte range; the caller has checked that they lie inside.
struct Fields {
  std::span<const std::byte> bytes;
  uint64_t number(size_t offset, int width) const {
    uint64_t value = 0;
    for (int i = width; i-- > 0;) value = value << 8 | std::to_integer<uint64_t>(bytes[offset + i]);
    return value;
  }
  uint16_t u16(size_t offset) const { return static_cast<uint16_t>(number(offset, 2)); }
  uint32_t u32(size_t offset) const { return static_cast<uint32_t>(number(offset, 4)); }
  uint64_t u64(size_t offset) const { return number(offset, 8); }
  std::string text(size_t offset, size_t length) const {
    return {reinterpret_cast<const char*>(bytes.data()) + offset, length};
  }
};

/// Where the list of members lies.
struct Directory {
  uint64_t entries = 0, offset = 0, size_bytes = 0;
  size_t limit = 0;  // members and the directory end before this
};

std::optional<size_t> find_end_record(const Fields& file) {
  const size_t size = file.bytes.size();
  if (size < end_bytes) return std::nullopt;
  const size_t longest_comment = std::min<size_t>(size - end_bytes, 0xffff);
  for (size_t comment = 0; comment <= longest_comment; ++comment) {
    const size_t at = size - end_bytes - comment;
    if (file.u32(at) == end_magic && file.u16(at + 20) == comment) return at;
  }
  return std::nullopt;
}

Result<Directory> read_zip64_end(const Fields& file, size_t end) {
  const size_t locator = end - locator64_bytes;
  const uint64_t at = file.u64(locator + 8);
  if (locator < end64_bytes || at > locator - end64_bytes || file.u32(at) != end64_magic)
    return hostile("the archive's zip64 end record lies outside the file");
  return Directory{file.u64(at + 32), file.u64(at + 48), file.u64(at + 40), static_cast<size_t>(at)};
}

Result<Directory> find_directory(const Fields& file) {
  const bool starts_as_zip = file.bytes.size() >= 4 && file.u32(0) == local_magic;
  const auto end = find_end_record(file);
  if (!end && starts_as_zip) return truncated("the archive ends before its list of members");
  if (!end) return Failure{"pt2.not_zip", "the file is no zip archive", "give a file that torch.export.save wrote"};
  if (*end >= locator64_bytes && file.u32(*end - locator64_bytes) == locator64_magic) return read_zip64_end(file, *end);
  return Directory{file.u16(*end + 10), file.u32(*end + 16), file.u32(*end + 12), *end};
}

bool name_is_safe(const std::string& name) {
  if (name.empty() || name.front() == '/' || name.find('\\') != name.npos || name.find('\0') != name.npos) return false;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('/', begin), name.size());
    if (name.compare(begin, end - begin, "..") == 0) return false;
    begin = end + 1;
  }
  return true;
}

/// One entry of the central directory with its 64-bit extra fields applied.
struct Entry {
  ZipMember member;
  uint16_t flags = 0, method = 0;
  size_t total_bytes = 0;
};

/// Extra field 1 holds, in this order, the values whose 32-bit fields are all ones.
bool apply_zip64(const Fields& file, size_t begin, size_t end, std::initializer_list<size_t*> values) {
  while (begin + 4 <= end) {
    const size_t length = file.u16(begin + 2);
    if (length > end - begin - 4) return false;
    if (file.u16(begin) == 1) {
      size_t at = begin + 4, stop = begin + 4 + length;
      for (size_t* value : values) {
        if (*value != 0xffffffff) continue;
        if (at + 8 > stop) return false;
        *value = file.u64(at);
        at += 8;
      }
      return true;
    }
    begin += 4 + length;
  }
  return true;
}

Result<Entry> read_entry(const Fields& file, size_t at, size_t limit) {
  if (at > limit || limit - at < central_bytes) return truncated("the archive's list of members is cut off");
  if (file.u32(at) != central_magic) return truncated("the archive's list of members is damaged");
  const size_t name_bytes = file.u16(at + 28), extra_bytes = file.u16(at + 30), comment_bytes = file.u16(at + 32);
  Entry entry;
  entry.total_bytes = central_bytes + name_bytes + extra_bytes + comment_bytes;
  if (entry.total_bytes > limit - at) return truncated("the archive's list of members is cut off");
  entry.flags = file.u16(at + 8);
  entry.method = file.u16(at + 10);
  ZipMember& m = entry.member;
  m.crc32 = file.u32(at + 16);
  m.packed_bytes = file.u32(at + 20);
  m.size_bytes = file.u32(at + 24);
  m.header_offset = file.u32(at + 42);
  m.name = file.text(at + central_bytes, name_bytes);
  const size_t extra = at + central_bytes + name_bytes;
  if (!apply_zip64(file, extra, extra + extra_bytes, {&m.size_bytes, &m.packed_bytes, &m.header_offset}))
    return hostile("a member's zip64 record is malformed");
  return entry;
}

/// Checks an entry against its local header and the file; fills in where its data begins.
Status place_member(const Fields& file, Entry& entry, size_t limit) {
  ZipMember& m = entry.member;
  if (!name_is_safe(m.name)) return hostile("a member's name leaves the archive");
  if (entry.flags & 1) return hostile(fmt::format("the member `{}` is encrypted", m.name));
  if (entry.method != 0 && entry.method != 8)
    return hostile(fmt::format("the member `{}` uses compression method {}", m.name, entry.method));
  m.deflated = entry.method == 8;
  if (m.header_offset > limit || limit - m.header_offset < local_bytes || file.u32(m.header_offset) != local_magic)
    return hostile(fmt::format("the member `{}` lies outside the file", m.name));
  const size_t name_bytes = file.u16(m.header_offset + 26);
  const size_t head_bytes = local_bytes + name_bytes + file.u16(m.header_offset + 28);
  if (head_bytes > limit - m.header_offset || m.packed_bytes > limit - m.header_offset - head_bytes)
    return hostile(
        fmt::format("the member `{}` declares {} bytes, beyond the end of the file", m.name, m.packed_bytes));
  if (file.text(m.header_offset + local_bytes, name_bytes) != m.name)
    return hostile(fmt::format("the member `{}` has another name in its own header", m.name));
  m.data_offset = m.header_offset + head_bytes;
  if (!m.deflated && m.size_bytes != m.packed_bytes)
    return hostile(fmt::format("the stored member `{}` declares two sizes", m.name));
  if (m.deflated && m.size_bytes / max_deflate_ratio > m.packed_bytes)
    return hostile(fmt::format("the member `{}` declares an impossible size of {} bytes", m.name, m.size_bytes));
  return ok_status();
}

/// No two members share bytes, and compressed ones do not add up to a bomb.
Status check_layout(std::vector<ZipMember>& members, size_t file_bytes) {
  std::sort(members.begin(), members.end(),
            [](const auto& a, const auto& b) { return a.header_offset < b.header_offset; });
  size_t inflated = 0;
  const size_t allowed = free_inflation_bytes + max_total_ratio * file_bytes;
  for (size_t i = 0; i < members.size(); ++i) {
    const ZipMember& m = members[i];
    if (i + 1 < members.size() && m.data_offset + m.packed_bytes > members[i + 1].header_offset)
      return hostile(fmt::format("the members `{}` and `{}` overlap", m.name, members[i + 1].name));
    if (!m.deflated) continue;
    if (m.size_bytes > allowed - inflated)
      return hostile(fmt::format("the archive unpacks to more than {} times its size", max_total_ratio));
    inflated += m.size_bytes;
  }
  return ok_status();
}

Result<std::vector<ZipMember>> read_members(const Fields& file, const Directory& directory) {
  if (directory.offset > directory.limit || directory.size_bytes > directory.limit - directory.offset)
    return truncated("the archive's list of members lies outside the file");
  if (directory.entries > max_members || directory.entries > directory.size_bytes / central_bytes)
    return hostile("the archive declares more members than it can hold");
  std::vector<ZipMember> members;
  size_t at = directory.offset;
  const size_t stop = directory.offset + directory.size_bytes;
  for (uint64_t i = 0; i < directory.entries; ++i) {
    auto entry = read_entry(file, at, stop);
    if (!entry) return entry.failure();
    if (auto placed = place_member(file, *entry, directory.offset); !placed) return placed.failure();
    at += entry->total_bytes;
    members.push_back(std::move(entry->member));
  }
  return members;
}

Failure bad_stream(const ZipMember& member) {
  return hostile(fmt::format("the compressed member `{}` does not unpack to its declared size", member.name));
}

}  // namespace

Result<ZipArchive> ZipArchive::open(std::span<const std::byte> bytes) {
  const Fields file{bytes};
  const auto directory = find_directory(file);
  if (!directory) return directory.failure();
  auto members = read_members(file, *directory);
  if (!members) return members.failure();
  if (auto layout = check_layout(*members, bytes.size()); !layout) return layout.failure();
  ZipArchive archive;
  archive.bytes_ = bytes;
  archive.members_ = std::move(*members);
  auto by_name = [](const auto& a, const auto& b) { return a.name < b.name; };
  std::sort(archive.members_.begin(), archive.members_.end(), by_name);
  auto same_name = [](const auto& a, const auto& b) { return a.name == b.name; };
  const auto twin = std::adjacent_find(archive.members_.begin(), archive.members_.end(), same_name);
  if (twin != archive.members_.end()) return hostile(fmt::format("two members are named `{}`", twin->name));
  return archive;
}

const ZipMember* ZipArchive::find(std::string_view name) const {
  const auto at = std::lower_bound(members_.begin(), members_.end(), name,
                                   [](const ZipMember& m, std::string_view wanted) { return m.name < wanted; });
  return at != members_.end() && at->name == name ? &*at : nullptr;
}

std::span<const std::byte> ZipArchive::packed(const ZipMember& member) const {
  return bytes_.subspan(member.data_offset, member.packed_bytes);
}

Status ZipArchive::unpack(const ZipMember& member, std::byte* out) const {
  const auto source = packed(member);
  if (member.size_bytes == 0) return ok_status();
  if (!member.deflated) {
    std::memcpy(out, source.data(), source.size());
    return ok_status();
  }
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) return bad_stream(member);
  // zlib counts in 32 bits, so both sides are handed over in pieces.
  constexpr size_t piece = size_t{1} << 30;
  size_t read = 0, written = 0;
  int state = Z_OK;
  while (state == Z_OK) {
    const size_t in_now = std::min(piece, source.size() - read), out_now = std::min(piece, member.size_bytes - written);
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(source.data() + read));
    stream.avail_in = static_cast<uInt>(in_now);
    stream.next_out = reinterpret_cast<Bytef*>(out + written);
    stream.avail_out = static_cast<uInt>(out_now);
    state = inflate(&stream, Z_NO_FLUSH);
    read += in_now - stream.avail_in;
    written += out_now - stream.avail_out;
  }
  inflateEnd(&stream);
  return state == Z_STREAM_END && written == member.size_bytes ? ok_status() : Status(bad_stream(member));
}

Result<std::string> ZipArchive::read_text(const ZipMember& member, size_t limit_bytes) const {
  if (member.size_bytes > limit_bytes)
    return hostile(fmt::format("the member `{}` declares {} bytes of text", member.name, member.size_bytes));
  std::string text(member.size_bytes, '\0');
  if (auto done = unpack(member, reinterpret_cast<std::byte*>(text.data())); !done) return done.failure();
  const auto sum = crc32_z(0, reinterpret_cast<const Bytef*>(text.data()), text.size());
  if (sum != member.crc32) return truncated(fmt::format("the member `{}` fails its checksum", member.name));
  return text;
}

}  // namespace kw::module
