#pragma once

namespace kw::emulator {

/// The sandboxed child: `kw_emulator MODULE.so`, with its parent's socket and shared memory as Child::socket_fd and
/// Child::memory_fd. Loads the module, gives up its rights, answers requests.
int worker_main(int argc, char** argv);

}  // namespace kw::emulator
