// Any bytes at all: the archive reader answers with a module or a failure that has an id.
#include <cstdlib>

#include "module/pt2.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, size_t size) {
  // A copy of its own, so that reads past the end are caught.
  const std::shared_ptr<std::byte[]> copy(new std::byte[size]);
  for (size_t i = 0; i < size; ++i) copy[i] = std::byte{data[i]};
  const auto loaded = kw::module::load_pt2({copy.get(), size}, copy);
  if (!loaded && (loaded.failure().id.empty() || loaded.failure().message.empty())) std::abort();
  return 0;
}
