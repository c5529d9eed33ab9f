#include <fmt/format.h>

#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "app/options.h"
#include "base/file.h"
#include "base/process.h"
#include "emulator/library.h"
#include "target/cpu/toolchain.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

// For kernelwright.metal: the emulator as a process that answers requests, a JSON object a line each way. Tensors lie
// in a file that both map.
//   {"op": "compile", "source": ..., "name": ..., "include": [...], "check": bool, "kernels": [...], "defines": [...]}
//     -> {"library": N, "kernels": [{"name", "buffers": [{"name", "index", "written"}], ...}]}
//   {"op": "run", "library": N, "kernel": ..., "memory": PATH, "buffers": [{"at": byte, "bytes": n}], "threads": [..],
//    "group": [..], "seed": n, "timeout": s, "threadgroup": [[index, bytes]], "constants": [[index, [byte, ...]]],
//    "cores": n} -> {"reports": [...], "seconds": s}; written buffers are copied back
//   {"op": "close", "library": N} -> {}
// A request that fails is answered with {"error": {"id", "message", "hint"}}.
namespace kw::app {
namespace {

using namespace kw::emulator;
using nlohmann::json;

/// A file mapped for both sides.
class SharedFile {
 public:
  explicit SharedFile(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    bytes_ = static_cast<uint64_t>(::lseek(fd, 0, SEEK_END));
    void* mapped = bytes_ ? ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    ::close(fd);
    if (mapped != MAP_FAILED) data_ = static_cast<char*>(mapped);
  }
  ~SharedFile() {
    if (data_) ::munmap(data_, bytes_);
  }
  SharedFile(const SharedFile&) = delete;
  SharedFile& operator=(const SharedFile&) = delete;
  /// The bytes [at, at + count); fails: emulate.memory
  char* range(uint64_t at, uint64_t count) const {
    if (!data_ || count > bytes_ || at > bytes_ - count)
      throw UserError({"emulate.memory", "the shared memory is smaller than its tensors", ""});
    return data_ + at;
  }

 private:
  char* data_ = nullptr;
  uint64_t bytes_ = 0;
};

class Server {
 public:
  json answer(const json& request) {
    const std::string op = request.at("op");
    if (op == "compile") return compile(request);
    if (op == "run") return run(request);
    if (op == "close") {
      libraries_.erase(request.at("library").get<int>());
      return json::object();
    }
    throw UserError({"emulate.request", "there is no request called " + op, ""});
  }

 private:
  struct Open {
    std::unique_ptr<Library> library;
    Mode mode;
  };
  json compile(const json& request) {
    KernelSource source;
    source.text = request.at("source");
    source.name = request.value("name", "program_source");
    for (const json& folder : request.value("include", json::array()))
      source.include_dirs.emplace_back(folder.get<std::string>());
    source.defines = request.value("defines", std::vector<std::string>{});
    LibraryOptions options;
    options.kernels = request.value("kernels", std::vector<std::string>{});
    options.mode = request.value("check", false) ? Mode::checked : Mode::plain;
    options.cache_dir = target::default_cache_dir();
    Open opened{std::move(Library::open(source, options).value_or_throw()), options.mode};
    json kernels = json::array();
    for (const KernelDescription& kernel : opened.library->reflection().kernels) {
      json buffers = json::array();
      for (const ArgumentDescription* argument : buffer_arguments(kernel))
        buffers.push_back({{"name", argument->name}, {"index", *argument->index}, {"written", argument->is_written}});
      kernels.push_back({{"name", kernel.name}, {"buffers", buffers}, {"max_threads", kernel.max_total_threads}});
    }
    libraries_[next_] = std::move(opened);
    return {{"library", next_++}, {"kernels", kernels}};
  }

  json run(const json& request) {
    const auto at = libraries_.find(request.at("library").get<int>());
    if (at == libraries_.end()) throw UserError({"emulate.request", "there is no such library", ""});
    Library& library = *at->second.library;
    const std::string name = request.at("kernel");
    const KernelDescription* kernel = library.reflection().find(name);
    if (!kernel) throw UserError({"emulate.kernel", "there is no kernel " + name, ""});
    const SharedFile shared(request.at("memory").get<std::string>());
    const auto arguments = buffer_arguments(*kernel);
    Job job;
    std::vector<uint32_t> buffers;
    std::map<std::pair<uint64_t, uint64_t>, uint32_t> placed;
    for (const json& one : request.at("buffers")) {
      const uint64_t begin = one.at("at"), bytes = one.at("bytes");
      const size_t i = buffers.size();
      if (const auto known = placed.find({begin, bytes}); known != placed.end()) {  // a tensor given twice
        buffers.push_back(known->second);
        continue;
      }
      const std::string called = i < arguments.size() ? arguments[i]->name : fmt::format("argument {}", i);
      buffers.push_back(job.buffer({called, bytes}, std::string(shared.range(begin, bytes), bytes)));
      placed[{begin, bytes}] = buffers.back();
    }
    Dim dim;
    dim.threads = request.at("threads");
    dim.group = request.at("group");
    std::vector<wire::GroupBytes> threadgroup;
    for (const json& one : request.value("threadgroup", json::array())) threadgroup.push_back({one.at(0), one.at(1)});
    Status status = job.launch(*kernel, buffers, threadgroup, dim);
    status.value_or_throw();
    RunOptions options;
    for (const json& one : request.value("constants", json::array())) {
      const auto bytes = one.at(1).get<std::vector<uint8_t>>();
      options.constants.push_back({one.at(0), std::string(bytes.begin(), bytes.end())});
    }
    options.threads = request.value("cores", 0);
    options.mode = at->second.mode;
    options.seed = request.value("seed", uint64_t{0});
    options.timeout_s = request.value("timeout", 60.0);
    const RunReply reply = job.run(library.session(), options).value_or_throw();
    for (size_t i = 0; i < buffers.size(); ++i) {
      const json& one = request["buffers"][i];
      if (arguments[i]->is_written && one.at("bytes").get<uint64_t>() > 0)
        std::memcpy(shared.range(one.at("at"), one.at("bytes")), library.session().data(buffers[i]),
                    one.at("bytes").get<uint64_t>());
    }
    json reports = json::array();
    for (const Report& report : reply.reports)
      reports.push_back({{"kind", report.kind}, {"message", report.sentence}, {"line", report.line}});
    double seconds = 0;
    for (const auto& dispatch : reply.dispatches) seconds += dispatch.seconds;
    return {{"reports", reports}, {"seconds", seconds}};
  }

  std::map<int, Open> libraries_;
  int next_ = 1;
};

json failed(const Failure& failure) {
  return {{"error", {{"id", failure.id}, {"message", failure.message}, {"hint", failure.hint}}}};
}

json guarded(Server& server, const std::string& line) try {
  return server.answer(json::parse(line));
} catch (const UserError& error) {
  return failed(error.failure);
} catch (const json::exception& error) {
  return failed({"emulate.request", std::string("the request is not understood: ") + error.what(), ""});
} catch (const std::exception& error) {
  return failed({"bug", std::string("internal error: ") + error.what(), ""});
}

}  // namespace

int emulate_serve_main() {
  Server server;
  for (std::string line; std::getline(std::cin, line);)
    std::cout << guarded(server, line).dump(-1, ' ', false, json::error_handler_t::replace) << std::endl;
  return 0;
}

}  // namespace kw::app
