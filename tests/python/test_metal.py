"""kernelwright.metal: the calls of torch.mps.compile_shader on CPU tensors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("KERNELWRIGHT_BUILD", ROOT / "build"))
os.environ.setdefault("KERNELWRIGHT", str(BUILD / "kernelwright"))

from kernelwright import metal  # noqa: E402

SOURCE = """
#include <metal_stdlib>
using namespace metal;

kernel void add_one(device float* x [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  x[i] += 1.0f;
}

kernel void scale(device half* out [[buffer(0)]], const device half* x [[buffer(1)]], constant float& by [[buffer(2)]],
                  uint i [[thread_position_in_grid]]) {
  out[i] = half(float(x[i]) * by);
}

kernel void fill(device int* out [[buffer(0)]], constant long& value [[buffer(1)]],
                 uint2 at [[thread_position_in_grid]], uint2 grid [[threads_per_grid]]) {
  out[at.y * grid.x + at.x] = int(value) + int(at.y * grid.x + at.x);
}

kernel void row_sum(const device float* x [[buffer(0)]], device float* out [[buffer(1)]],
                    uint row [[threadgroup_position_in_grid]], uint t [[thread_index_in_threadgroup]],
                    uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]],
                    uint size [[threads_per_threadgroup]]) {
  threadgroup float parts[32];
  const float part = simd_sum(x[row * size + t]);
  if (lane == 0) parts[simdgroup] = part;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (t == 0) {
    float sum = 0;
    for (uint i = 0; i < (size + 31) / 32; ++i) sum += parts[i];
    out[row] = sum;
  }
}

kernel void beyond(device float* x [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  x[i + 1] = 0.0f;
}

kernel void forever(device float* x [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  while (x[0] < 1e30f) { x[0] = 0.0f; }
}
"""


@pytest.fixture(scope="module")
def library() -> Iterator[metal.MetalLibrary]:
    yield metal.compile_shader(SOURCE, check=False)


@pytest.fixture(scope="module")
def checked() -> Iterator[metal.MetalLibrary]:
    yield metal.compile_shader(SOURCE, check=True, timeout=5)


def test_changes_the_tensor_in_place(library: metal.MetalLibrary) -> None:
    x = torch.arange(1000, dtype=torch.float32)
    library.add_one(x)
    assert torch.equal(x, torch.arange(1000, dtype=torch.float32) + 1)


def test_threads_that_are_no_multiple_of_the_group(library: metal.MetalLibrary) -> None:
    x = torch.zeros(1000)
    library.add_one(x, threads=777, group_size=256)
    assert x[:777].eq(1).all() and x[777:].eq(0).all()


def test_half_and_a_float_argument(library: metal.MetalLibrary) -> None:
    x = torch.randn(513).half()
    out = torch.empty_like(x)
    library.scale(out, x, 0.5, threads=513)
    assert torch.equal(out, (x.float() * 0.5).half())


def test_integer_argument_and_a_grid_of_two_dimensions(library: metal.MetalLibrary) -> None:
    out = torch.zeros(8, 40, dtype=torch.int32)
    library.fill(out, 7, threads=(40, 8), group_size=(16, 4))
    assert torch.equal(out.flatten(), torch.arange(320, dtype=torch.int32) + 7)


def test_strided_tensors_are_written_back(library: metal.MetalLibrary) -> None:
    base = torch.zeros(20, 2)
    library.add_one(base[:, 0], threads=20)
    assert base[:, 0].eq(1).all() and base[:, 1].eq(0).all()


@pytest.mark.parametrize("size", [32, 100, 256, 1000])
def test_reduction(library: metal.MetalLibrary, checked: metal.MetalLibrary, size: int) -> None:
    x, out = torch.randn(5, size), torch.empty(5)
    for one in (library, checked):
        one.row_sum(x, out, threads=5 * size, group_size=size)
        torch.testing.assert_close(out, x.sum(1), rtol=1e-5, atol=1e-4)


def test_attributes_of_kernels(library: metal.MetalLibrary) -> None:
    assert "add_one" in dir(library)
    assert library.add_one.max_threads_per_threadgroup == 1024
    assert library.add_one.thread_execution_width == 32
    with pytest.raises(AttributeError, match="no kernel nothing"):
        library.nothing  # noqa: B018


def test_checks_name_the_line(checked: metal.MetalLibrary) -> None:
    with pytest.raises(metal.KernelFault, match="past the end of buffer x") as fault:
        checked.beyond(torch.zeros(64))
    line = SOURCE.split("\n").index("  x[i + 1] = 0.0f;") + 1
    assert fault.value.reports[0]["kind"] == "out-of-bounds"
    assert fault.value.reports[0]["line"] == line


def test_a_kernel_that_never_ends_is_stopped(checked: metal.MetalLibrary) -> None:
    with pytest.raises(metal.KernelFault, match="does not end"):
        checked.forever(torch.zeros(1))
    x = torch.zeros(4)
    checked.add_one(x)  # the library lives on
    assert x.eq(1).all()


def test_source_that_does_not_compile() -> None:
    with pytest.raises(metal.MetalError, match="undeclared") as error:
        metal.compile_shader("kernel void k(device float* x [[buffer(0)]]) { x[0] = y; }")
    assert error.value.id == "msl.compile"


def test_wrong_arguments(library: metal.MetalLibrary) -> None:
    with pytest.raises(metal.MetalError, match="takes 3 buffer arguments"):
        library.scale(torch.zeros(4).half())
    with pytest.raises(metal.MetalError, match="2048 x 1 x 1 threads a threadgroup"):
        library.add_one(torch.zeros(4096), group_size=2048)
    with pytest.raises(TypeError, match="tensors and numbers"):
        library.add_one("x", threads=1)
    with pytest.raises(ValueError, match="threads is needed"):
        library.add_one(1.0)
