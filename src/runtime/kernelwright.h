/* Kernelwright's C interface: runs a package (.kw) without Python. Links libc only.
 * Every function that returns int returns 0 when all went well, else a KW_... code; kw_last_error() has the words. */
#ifndef KERNELWRIGHT_H
#define KERNELWRIGHT_H
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef KW_API
#define KW_API __attribute__((visibility("default")))
#endif

/* DLPack 1.x, https://dmlc.github.io/dlpack: declared here unless its own header came first. */
#ifndef DLPACK_DLPACK_H_
#define DLPACK_DLPACK_H_
typedef enum { kDLCPU = 1, kDLCUDA = 2, kDLMetal = 8 } DLDeviceType;
typedef struct {
  int32_t device_type;
  int32_t device_id;
} DLDevice;
typedef enum { kDLInt = 0, kDLUInt = 1, kDLFloat = 2, kDLBfloat = 4, kDLBool = 6 } DLDataTypeCode;
typedef struct {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
} DLDataType;
typedef struct {
  void* data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t* shape;
  int64_t* strides; /* in elements; NULL means row-major */
  uint64_t byte_offset;
} DLTensor;
#endif

typedef struct kw_package kw_package;

enum {
  KW_OK = 0,
  KW_FILE = 1,     /* missing, unreadable or damaged package */
  KW_MACHINE = 2,  /* no kernels in the package for this machine */
  KW_ARGUMENT = 3, /* a tensor with the wrong shape, dtype, layout or device; an unknown name */
  KW_MEMORY = 4,
};

enum { KW_INPUT = 0, KW_OUTPUT = 1, KW_WEIGHT = 2, KW_STATE = 3 };

typedef struct {
  const char* name; /* of a weight or state; empty otherwise */
  DLDataType dtype;
  int32_t ndim;
  const int64_t* shape;
} kw_tensor_info;

/* Maps the file, loads the kernels for this machine. threads: 0 takes what the package was tuned for, at most the
 * usable cores. No compiler runs. */
KW_API int kw_load(const char* path, int threads, kw_package** package);
KW_API void kw_unload(kw_package* package);
/* Of this thread's last failure; never NULL. */
KW_API const char* kw_last_error(void);

KW_API const char* kw_isa(const kw_package* package);
KW_API int kw_count(const kw_package* package, int kind);
KW_API int kw_info(const kw_package* package, int kind, int index, kw_tensor_info* info);
KW_API uint64_t kw_workspace_bytes(const kw_package* package);

/* Uses the caller's memory for a weight or state from now on, without copying: it must stay until the next bind of
 * that name or kw_unload. Call kw_prepare before the next run. */
KW_API int kw_bind(kw_package* package, const char* name, const DLTensor* tensor);
/* The same without checks: dense, of the dtype and shape that kw_info tells. */
KW_API int kw_bind_data(kw_package* package, const char* name, void* data);
/* Where a weight or state lies now: states change with every run. NULL when there is none of that name. */
KW_API void* kw_data(const kw_package* package, const char* name);
/* Computes what the kernels keep of the weights (packing, folding). The first run does it when nobody has. */
KW_API int kw_prepare(kw_package* package);

/* One call: dense row-major tensors on the CPU, in the order of kw_info. Allocates nothing after the first call.
 * stream: unused on a CPU. workspace: kw_workspace_bytes() bytes, 64-byte aligned, or NULL for the package's own.
 * One call at a time per package. fails: KW_ARGUMENT where an input that holds indices has one out of range */
KW_API int kw_run(kw_package* package, const DLTensor* const* inputs, int input_count, DLTensor* const* outputs,
                  int output_count, void* stream, void* workspace, uint64_t workspace_bytes);
/* The same without checks of shapes and types: first bytes of dense tensors. */
KW_API int kw_run_data(kw_package* package, void* const* inputs, void* const* outputs);

#ifdef __cplusplus
}
#endif
#endif
