"""What is known of a module's inputs: observed ranges, and raw draws on disk for the judge."""

from __future__ import annotations

import os
from typing import Any

import torch

_CHUNK = 1 << 22
DTYPE_NAMES = {
    torch.float16: "f16", torch.bfloat16: "bf16", torch.float32: "f32", torch.float64: "f64", torch.bool: "bool",
    torch.uint8: "u8", torch.int8: "i8", torch.int16: "i16", torch.int32: "i32", torch.int64: "i64",
}  # fmt: skip


def observe(tensor: torch.Tensor) -> dict[str, Any]:
    """Range, mean and standard deviation of the finite values, in float64; {"observed": False} where there are none."""
    integral = not tensor.dtype.is_floating_point
    nothing = {"observed": False, "integral": integral, "lo": 0.0, "hi": 0.0, "mean": 0.0, "std": 1.0, "finite": True}
    if tensor.is_meta or tensor.numel() == 0:
        return nothing
    flat = tensor.detach().reshape(-1)
    lo, hi, total, squares, count, finite = float("inf"), float("-inf"), 0.0, 0.0, 0, True
    for begin in range(0, flat.numel(), _CHUNK):
        part = flat[begin : begin + _CHUNK].double()
        good = part[torch.isfinite(part)]
        finite = finite and good.numel() == part.numel()
        if good.numel() == 0:
            continue
        lo, hi = min(lo, good.min().item()), max(hi, good.max().item())
        total, squares, count = total + good.sum().item(), squares + good.square().sum().item(), count + good.numel()
    if count == 0:
        return {**nothing, "finite": finite}
    mean = total / count
    std = max(squares / count - mean * mean, 0.0) ** 0.5
    return {
        "observed": True, "integral": integral, "lo": lo, "hi": hi, "mean": mean, "std": std, "finite": finite,
    }  # fmt: skip


def describe(name: str, tensor: torch.Tensor) -> dict[str, Any]:
    """The spec of one tensor input."""
    return {
        "name": name, "dtype": DTYPE_NAMES[tensor.dtype], "shape": list(tensor.shape),
        "strides": list(tensor.stride()), **observe(tensor),
    }  # fmt: skip


def write_draw(folder: str, index: int, tensors: list[torch.Tensor]) -> list[str]:
    """Writes each tensor's values, row-major and little-endian, as `<index>.<i>.bin`; returns the file names."""
    os.makedirs(folder, exist_ok=True)
    names = []
    for i, tensor in enumerate(tensors):
        name = f"{index}.{i}.bin"
        dense = tensor.detach().contiguous().reshape(-1).view(torch.uint8) if tensor.numel() else tensor.new_empty(0)
        with open(os.path.join(folder, name), "wb") as file:
            file.write(dense.numpy().tobytes() if tensor.numel() else b"")
        names.append(name)
    return names


def total_bytes(tensors: list[torch.Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)
