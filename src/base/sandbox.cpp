#include "base/sandbox.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>

#include "base/process.h"

#ifdef __linux__
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif
#ifdef KW_HAVE_SECCOMP
#include <seccomp.h>
#endif

namespace kw {
namespace {

const char* const system_folders[] = {
    "/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin", "/etc/ld.so.cache", "/etc/alternatives", "/opt"};

void bound(int resource, uint64_t value, uint64_t grace = 0) {
  rlimit limit{};
  if (::getrlimit(static_cast<__rlimit_resource_t>(resource), &limit) != 0) return;
  limit.rlim_max = std::min<rlim_t>(limit.rlim_max, value + grace);
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, value);
  ::setrlimit(static_cast<__rlimit_resource_t>(resource), &limit);
}

/// Threads of the whole system, for RLIMIT_NPROC counts all of a user's; 0 where /proc is out of sight, in a
/// namespace with a count of its own.
uint64_t running_threads() {
  std::ifstream file("/proc/loadavg");
  std::string word;
  for (int i = 0; i < 4; ++i) file >> word;  // "0.2 0.1 0.1 2/345 678"
  const size_t slash = word.find('/');
  return file && slash != std::string::npos ? std::strtoull(word.c_str() + slash + 1, nullptr, 10) : 0;
}

#ifdef __linux__
int landlock_version() {
  return static_cast<int>(::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION));
}

/// A ruleset that handles every file right of the first Landlock version and grants none.
bool forbid_files() {
  if (landlock_version() < 1) return false;
  landlock_ruleset_attr attributes{};
  attributes.handled_access_fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;
  const long ruleset = ::syscall(SYS_landlock_create_ruleset, &attributes, sizeof(uint64_t), 0);
  if (ruleset < 0) return false;
  const bool held = ::syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
  ::close(static_cast<int>(ruleset));
  return held;
}
#endif

#ifdef KW_HAVE_SECCOMP
// What the pool, the allocator, the clock and the pipe to the parent need; nothing that opens, connects or executes.
const int plain_calls[] = {SCMP_SYS(read),
                           SCMP_SYS(write),
                           SCMP_SYS(futex),
                           SCMP_SYS(munmap),
                           SCMP_SYS(madvise),
                           SCMP_SYS(brk),
                           SCMP_SYS(exit),
                           SCMP_SYS(exit_group),
                           SCMP_SYS(rt_sigreturn),
                           SCMP_SYS(rt_sigprocmask),
                           SCMP_SYS(sigaltstack),
                           SCMP_SYS(clock_gettime),
                           SCMP_SYS(clock_nanosleep),
                           SCMP_SYS(sched_yield),
                           SCMP_SYS(sched_setaffinity),  // the pool keeps its workers off the caller's core
                           SCMP_SYS(getcpu),
                           SCMP_SYS(gettid),
                           SCMP_SYS(getpid),
                           SCMP_SYS(set_robust_list),
                           SCMP_SYS(rseq),
                           SCMP_SYS(restart_syscall),
                           SCMP_SYS(mremap),
                           SCMP_SYS(sched_getaffinity)};

bool add_rules(scmp_filter_ctx context) {
  bool good = true;
  for (int call : plain_calls) good = good && ::seccomp_rule_add(context, SCMP_ACT_ALLOW, call, 0) == 0;
  const scmp_arg_cmp not_code = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
  good = good && ::seccomp_rule_add(context, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, not_code) == 0;
  good = good && ::seccomp_rule_add(context, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, not_code) == 0;
  // Threads, never processes. clone3 hides its flags in memory, so libc is told to use clone.
  const scmp_arg_cmp thread = SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD);
  good = good && ::seccomp_rule_add(context, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, thread) == 0;
  // Signals to its own threads only: a watchdog asks where they are.
  const scmp_arg_cmp own = SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(::getpid()));
  good = good && ::seccomp_rule_add(context, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, own) == 0;
  return good && ::seccomp_rule_add(context, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) == 0;
}

bool filter_calls() {
  scmp_filter_ctx context = ::seccomp_init(SCMP_ACT_KILL_PROCESS);
  if (!context) return false;
  const bool held = add_rules(context) && ::seccomp_load(context) == 0;
  ::seccomp_release(context);
  return held;
}
#else
bool filter_calls() { return false; }
#endif

}  // namespace

bool bubblewrap_works() {
  static const bool works = [] {
    ProcessOptions options;
    options.timeout_s = 5;
    const auto reply = run_process(
        {"bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--dev", "/dev", "true"}, options);
    return reply.ok() && reply->exit_code == 0;
  }();
  return works;
}

std::vector<std::string> contained(const std::vector<std::string>& command, const std::vector<std::string>& visible,
                                   const std::vector<std::string>& writable) {
  if (!bubblewrap_works()) return command;
  std::vector<std::string> argv = {"bwrap", "--unshare-all", "--die-with-parent", "--new-session",
                                   "--dev", "/dev",          "--tmpfs",           "/tmp"};
  for (const char* folder : system_folders) argv.insert(argv.end(), {"--ro-bind-try", folder, folder});
  for (const std::string& path : visible) argv.insert(argv.end(), {"--ro-bind", path, path});
  for (const std::string& path : writable) argv.insert(argv.end(), {"--bind", path, path});
  argv.insert(argv.end(), {"--chdir", "/", "--"});
  argv.insert(argv.end(), command.begin(), command.end());
  return argv;
}

void bound_resources(const SandboxLimits& limits) {
  bound(RLIMIT_CORE, 0);
  bound(RLIMIT_FSIZE, 0);
  bound(RLIMIT_AS, limits.address_space_bytes);
  bound(RLIMIT_CPU, limits.cpu_s, 5);
  bound(RLIMIT_NPROC, running_threads() + limits.threads);
}

std::vector<std::string> lock_down(const SandboxLimits& limits) {
  std::vector<std::string> held = {"rlimits"};
  bound_resources(limits);
#ifdef __linux__
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0) held.push_back("no_new_privs");
  if (forbid_files()) held.push_back("landlock");
#endif
  if (filter_calls()) held.push_back("seccomp");
  return held;
}

std::vector<std::string> sandbox_report() {
  std::vector<std::string> lines;
  lines.push_back(bubblewrap_works() ? "namespaces: yes (bubblewrap)"
                                     : "namespaces: missing (install bubblewrap, or allow user namespaces)");
#ifdef __linux__
  const int version = landlock_version();
  lines.push_back(version > 0 ? "landlock: yes (version " + std::to_string(version) + ")"
                              : "landlock: missing (kernel 5.13 or newer)");
#else
  lines.push_back("landlock: missing (Linux only)");
#endif
#ifdef KW_HAVE_SECCOMP
  lines.push_back("seccomp: yes");
#else
  lines.push_back("seccomp: missing (built without libseccomp)");
#endif
  lines.push_back("rlimits, guard pages, wall clock: yes");
  return lines;
}

}  // namespace kw
