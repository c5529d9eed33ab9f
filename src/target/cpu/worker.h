#pragma once

namespace kw::target {

/// The child that runs one candidate: `--kw-worker BINARY SOCKET_FD MEMORY_FD`. Loads the binary, locks itself down
/// and answers requests until the socket closes. Returns the exit code.
int worker_main(int argc, char** argv);

}  // namespace kw::target
