#include "target/cpu/worker.h"

int main(int argc, char** argv) { return kw::target::worker_main(argc, argv); }
