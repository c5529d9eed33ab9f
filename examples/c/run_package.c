/* Runs a package without Python: every input is filled with 0, 1, 2, ... / 8, and the first outputs are printed.
 * LIB is the folder of libkernelwright.so, INC that of kernelwright.h (a package holds one too: unzip it):
 *   cc run_package.c -I"$INC" -L"$LIB" -Wl,-rpath,"$LIB" -lkernelwright -o run_package && ./run_package NAME.kw */
#include <stdio.h>
#include <stdlib.h>

#include "kernelwright.h"

static int64_t elements(const DLTensor* t) {
  int64_t count = 1;
  for (int i = 0; i < t->ndim; ++i) count *= t->shape[i];
  return count;
}

static DLTensor make(const kw_package* package, int kind, int index) {
  kw_tensor_info info;
  if (kw_info(package, kind, index, &info) != KW_OK) {
    fprintf(stderr, "error: %s\n", kw_last_error());
    exit(2);
  }
  DLTensor t = {NULL, {kDLCPU, 0}, info.ndim, info.dtype, (int64_t*)info.shape, NULL, 0};
  t.data = calloc((size_t)elements(&t) + 1, (size_t)info.dtype.bits / 8);
  if (kind == KW_INPUT && info.dtype.code == kDLFloat && info.dtype.bits == 32)
    for (int64_t i = 0; i < elements(&t); ++i) ((float*)t.data)[i] = (float)i / 8;
  return t;
}

int main(int argc, char** argv) {
  kw_package* package = NULL;
  if (argc != 2 || kw_load(argv[1], 0, &package) != KW_OK) {
    fprintf(stderr, "error: %s\n", argc == 2 ? kw_last_error() : "usage: run_package NAME.kw");
    return 2;
  }
  const int n_in = kw_count(package, KW_INPUT), n_out = kw_count(package, KW_OUTPUT);
  DLTensor* tensors = calloc((size_t)(n_in + n_out), sizeof *tensors);
  DLTensor** pointers = calloc((size_t)(n_in + n_out), sizeof *pointers);
  for (int i = 0; i < n_in + n_out; ++i) {
    tensors[i] = i < n_in ? make(package, KW_INPUT, i) : make(package, KW_OUTPUT, i - n_in);
    pointers[i] = &tensors[i];
  }
  if (kw_run(package, (const DLTensor* const*)pointers, n_in, pointers + n_in, n_out, NULL, NULL, 0) != KW_OK) {
    fprintf(stderr, "error: %s\n", kw_last_error());
    return 1;
  }
  for (int i = n_in; i < n_in + n_out; ++i) {
    if (tensors[i].dtype.code != kDLFloat || tensors[i].dtype.bits != 32) continue;
    printf("output %d:", i - n_in);
    for (int64_t k = 0; k < elements(&tensors[i]) && k < 8; ++k) printf(" %g", ((const float*)tensors[i].data)[k]);
    printf("\n");
  }
  for (int i = 0; i < n_in + n_out; ++i) free(tensors[i].data);
  free(tensors);
  free(pointers);
  kw_unload(package);
  return 0;
}
