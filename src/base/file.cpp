#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace kw {
namespace fs = std::filesystem;
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

Failure unreadable(const fs::path& path) {
  const bool missing = errno == ENOENT;
  return {missing ? "file.missing" : "file.unreadable", "cannot read `" + path.string() + "`: " + std::strerror(errno),
          missing ? "check the path" : "check that it is a file that you may read"};
}

Failure unwritable(const fs::path& path) {
  return {errno == ENOSPC ? "file.disk_full" : "file.unwritable",
          "cannot write `" + path.string() + "`: " + std::strerror(errno),
          errno == ENOSPC ? "free some space, or choose another folder" : "choose a folder that you may write to"};
}

bool write_all(int fd, std::string_view content) {
  while (!content.empty()) {
    const ssize_t written = ::write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    content.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

/// Makes the rename itself durable.
void sync_folder(const fs::path& folder) {
  Descriptor fd(::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() >= 0) ::fsync(fd.get());
}

}  // namespace

Result<std::string> read_file(const fs::path& path, size_t limit_bytes) {
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info {};
  if (fd.get() < 0 || ::fstat(fd.get(), &info) != 0) return unreadable(path);
  if (S_ISDIR(info.st_mode)) return errno = EISDIR, unreadable(path);
  std::string content;
  char block[1 << 16];
  for (;;) {
    const ssize_t got = ::read(fd.get(), block, sizeof block);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return unreadable(path);
    if (got == 0) return content;
    if (content.size() + static_cast<size_t>(got) > limit_bytes)
      return Failure{"file.too_large", "`" + path.string() + "` is larger than allowed here", "check the path"};
    content.append(block, static_cast<size_t>(got));
  }
}

Status write_file_atomic(const fs::path& path, std::string_view content) {
  std::string temporary = path.string() + ".tmp.XXXXXX";
  const int raw = ::mkstemp(temporary.data());
  if (raw < 0) return unwritable(path);
  Descriptor fd(raw);
  ::fchmod(raw, 0644);
  const bool written = write_all(raw, content) && ::fsync(raw) == 0;
  if (written && ::rename(temporary.c_str(), path.c_str()) == 0) {
    sync_folder(path.parent_path());
    return ok_status();
  }
  const int cause = errno;
  ::unlink(temporary.c_str());
  errno = cause;
  return unwritable(path);
}

Result<std::shared_ptr<MappedFile>> MappedFile::open(const fs::path& path) {
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info {};
  if (fd.get() < 0 || ::fstat(fd.get(), &info) != 0) return unreadable(path);
  if (!S_ISREG(info.st_mode)) return errno = S_ISDIR(info.st_mode) ? EISDIR : EINVAL, unreadable(path);
  const size_t size = static_cast<size_t>(info.st_size);
  if (size == 0) return std::shared_ptr<MappedFile>(new MappedFile(nullptr, 0));
  void* memory = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (memory == MAP_FAILED) return unreadable(path);
  return std::shared_ptr<MappedFile>(new MappedFile(static_cast<const std::byte*>(memory), size));
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_bytes_);
}

TempDir::TempDir(std::string_view prefix) {
  std::error_code error;
  fs::path base = fs::temp_directory_path(error);
  if (error) base = "/tmp";
  std::string pattern = (base / (std::string(prefix) + ".XXXXXX")).string();
  if (::mkdtemp(pattern.data()) == nullptr) throw UserError(unwritable(base));
  path_ = pattern;
}

TempDir::~TempDir() {
  std::error_code ignored;  // a leftover temporary folder is no reason to fail
  fs::remove_all(path_, ignored);
}

}  // namespace kw
