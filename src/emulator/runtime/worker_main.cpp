#include "emulator/runtime/worker.h"

int main(int argc, char** argv) { return kw::emulator::worker_main(argc, argv); }
