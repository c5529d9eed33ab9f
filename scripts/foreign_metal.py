#!/usr/bin/env python3
"""Runs kernels of other projects through the emulator, checks on, and compares them with float64.

    scripts/foreign_metal.py --mlx PATH --ggml PATH --pytorch PATH [--only TEXT] [--json OUT]

A PATH is a checkout. Nothing of theirs is kept here: a case names a kernel, how it is launched and what it should give.
The error is the largest difference from float64 on the same (rounded) inputs, divided by the largest magnitude that a
rounding can scale with; the bound is the case's number of roundings times the unit roundoff of the type that it
accumulates or stores in. Exit code 1 if an error is above its bound or a check reports anything.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "python"))
from kernelwright import metal  # noqa: E402

ROUNDOFF = {torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass
class Case:
    project: str
    file: str  # below the checkout
    kernel: str
    what: str  # family, for the table
    dtype: torch.dtype
    shape: str
    run: Callable[[Any], torch.Tensor]  # launches the kernel, gives the output
    want: Callable[[], torch.Tensor]  # in float64
    roundings: float = 4  # of the stored type, relative to the scale
    accumulations: float = 64  # of float32, relative to the scale
    scale: Callable[[], torch.Tensor] | None = None  # default: the largest wanted magnitude
    constants: dict[int, Any] = field(default_factory=dict)
    defines: tuple[str, ...] = ()
    include: tuple[str, ...] = ()  # below the checkout

    def bound(self) -> float:
        return self.roundings * ROUNDOFF[self.dtype] + self.accumulations * 2.0**-24


def draw(*shape: int, dtype: torch.dtype, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def packed(layout: str, *values: Any) -> bytes:
    return struct.pack("<" + layout, *values)


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


# MLX


def mlx_rows(kind: str, dtype_name: str, rows: int, width: int, looped: bool, precise: bool = False) -> Case:
    """softmax, logsumexp, layer_norm, rms: one threadgroup a row."""
    dtype = TYPES[dtype_name]
    x = draw(rows, width, dtype=dtype)
    weight, bias = draw(width, dtype=dtype, seed=1), draw(width, dtype=dtype, seed=2)
    reads = 8 if kind == "layer_norm" else 4
    threads = 1024 if looped else 32 * ceil_div(ceil_div(width, reads), 32)
    grid = {"threads": rows * threads, "group_size": threads}
    middle = "_precise" if precise else ""
    name = {
        "softmax": f"{'looped' if looped else 'block'}_softmax{middle}_{dtype_name}",
        "logsumexp": f"{'looped' if looped else 'block'}_logsumexp_{dtype_name}",
        "layer_norm": f"layer_norm{'_looped' if looped else ''}{dtype_name}",
        "rms": f"rms{'_looped' if looped else ''}{dtype_name}",
    }[kind]
    file = {"rms": "rms_norm"}.get(kind, kind)
    width_i, eps = packed("i", width), packed("f", 1e-5)

    def run(kernel: Any) -> torch.Tensor:
        out = torch.empty(rows, dtype=dtype) if kind == "logsumexp" else torch.empty_like(x)
        if kind in ("softmax", "logsumexp"):
            kernel(x, out, width_i, **grid)
        elif kind == "rms":
            kernel(x, weight, out, eps, width_i, packed("I", 1), **grid)
        else:
            kernel(x, weight, bias, out, eps, width_i, packed("I", 1), packed("I", 1), **grid)
        return out

    def want() -> torch.Tensor:
        wide, w, b = x.double(), weight.double(), bias.double()
        if kind == "softmax":
            return wide.softmax(1)
        if kind == "logsumexp":
            return wide.logsumexp(1)
        if kind == "rms":
            return wide / (wide.square().mean(1, keepdim=True) + 1e-5).sqrt() * w
        return torch.nn.functional.layer_norm(wide, (width,), w, b, 1e-5)

    # Without "precise" a softmax of half adds and divides in half: a rounding for each addition of a thread.
    roundings = 24 if kind == "softmax" and not precise and dtype != torch.float32 else 4
    constants = {20: True} if kind in ("layer_norm", "rms") else {}
    return Case(
        "mlx",
        f"mlx/backend/metal/kernels/{file}.metal",
        name,
        kind,
        dtype,
        f"{rows} x {width}",
        run,
        want,
        roundings,
        constants=constants,
    )


def mlx_reduce(kind: str, dtype_name: str, rows: int, width: int) -> Case:
    dtype = TYPES[dtype_name]
    x = draw(rows, width, dtype=dtype)
    op, family = kind.split(" ")
    if family == "all":
        threads, out_shape = 256, (1,)
    elif family == "row":
        threads, out_shape = 64, (rows,)
    else:
        threads, out_shape = 256, (width,)

    def run(kernel: Any) -> torch.Tensor:
        out = torch.empty(out_shape, dtype=dtype)
        if family == "all":
            total = rows * width
            kernel(x, out, packed("Q", total), packed("Q", total), threads=threads, group_size=threads)
        else:
            groups = ceil_div(rows, 4)
            kernel(
                x, out, packed("Q", width), packed("q", rows), threads=(threads, groups, 1), group_size=(threads, 1, 1)
            )
        return out

    def want() -> torch.Tensor:
        wide = x.double()
        if family == "all":
            return wide.sum().reshape(1) if op == "sum" else wide.max().reshape(1)
        return wide.sum(1) if op == "sum" else wide.amax(1)

    length = rows * width if family == "all" else width
    adds = length / threads + 10 if op == "sum" else 0
    name = f"all_reduce_{op}{dtype_name}" if family == "all" else f"row_reduce_simple_{op}{dtype_name}"
    return Case(
        "mlx",
        "mlx/backend/metal/kernels/reduce.metal",
        name,
        f"reduce {op}",
        dtype,
        f"{rows} x {width}",
        run,
        want,
        adds + 1,
        0,
        scale=lambda: x.double().abs().sum() if family == "all" else x.double().abs().sum(1),
    )


def mlx_gemm(dtype_name: str, m: int, n: int, k: int, layout: str, tile: tuple[int, int, int, int, int]) -> Case:
    dtype = TYPES[dtype_name]
    bm, bn, bk, wm, wn = tile
    a, b = draw(m, k, dtype=dtype), draw(k, n, dtype=dtype, seed=1)
    left = a.t().contiguous() if layout[0] == "t" else a
    right = b.t().contiguous() if layout[1] == "t" else b
    lda, ldb = left.shape[1], right.shape[1]
    tiles_n, tiles_m = ceil_div(n, bn), ceil_div(m, bm)
    params = packed("8i3q3i4x", m, n, k, lda, ldb, n, tiles_n, tiles_m, 0, 0, 0, 0, k // bk, 1)
    nothing = torch.zeros(16)  # read even where the constant says that it is absent

    def run(kernel: Any) -> torch.Tensor:
        d = torch.empty(m, n, dtype=dtype)
        threads = 32 * wm * wn
        kernel(
            left,
            right,
            torch.zeros(1),
            d,
            params,
            nothing,
            torch.zeros(1),
            torch.zeros(1),
            threads=(tiles_n * 32, tiles_m * wn, wm),
            group_size=(32, wn, wm),
        )
        assert threads <= 1024
        return d

    return Case(
        "mlx",
        "mlx/backend/metal/kernels/steel/gemm/kernels/steel_gemm_fused.metal",
        f"steel_gemm_fused_{layout}_{dtype_name}_{dtype_name}_bm{bm}_bn{bn}_bk{bk}_wm{wm}_wn{wn}",
        "GEMM",
        dtype,
        f"{m} x {n} x {k}, {layout}",
        run,
        lambda: a.double() @ b.double(),
        1,
        k + 1,
        scale=lambda: (a.double().abs() @ b.double().abs()).max(),
        constants={10: False, 100: False, 110: False, 200: m % bm == 0, 201: n % bn == 0, 202: k % bk == 0},
    )


def attended(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool) -> torch.Tensor:
    q, k, v = q.double(), k.double(), v.double()
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if causal:
        rows, columns = scores.shape[-2:]
        scores.masked_fill_(torch.ones(rows, columns).triu(1 + columns - rows).bool(), -math.inf)
    return scores.softmax(-1) @ v


def mlx_attention(dtype_name: str, heads: int, kv_heads: int, ql: int, kl: int, d: int, causal: bool) -> Case:
    dtype = TYPES[dtype_name]
    bq, bk = 32, 32 if d < 128 else 16
    q = draw(1, heads, ql, d, dtype=dtype)
    k, v = (draw(1, kv_heads, kl, d, dtype=dtype, seed=s) for s in (1, 2))
    nq, nk = ceil_div(ql, bq), ceil_div(kl, bk)
    strides = [[t.shape[1] * t.shape[2] * d, t.shape[2] * d, d] for t in (q, k, v, q)]
    params = packed(
        "6if7i12q",
        *(1, heads, d, ql, kl, heads // kv_heads, 1 / math.sqrt(d), nq, nk, ql // bq, kl // bk),
        *(ql % bq, kl % bk, kl - ql),
        *(one for three in strides for one in three),
    )

    def run(kernel: Any) -> torch.Tensor:
        out = torch.empty_like(q)
        nothing = [torch.zeros(1), torch.zeros(1), torch.zeros(1)]
        kernel(q, k, v, out, params, *nothing, threads=(nq * 32, heads * 4, 1), group_size=(32, 4, 1))
        return out

    return Case(
        "mlx",
        "mlx/backend/metal/kernels/steel/attn/kernels/steel_attention.metal",
        f"steel_attention_{dtype_name}_bq{bq}_bk{bk}_bd{d}_wm4_wn1_mask{dtype_name}",
        "attention",
        dtype,
        f"{heads}/{kv_heads} heads, {ql} x {kl} x {d}{', causal' if causal else ''}",
        run,
        lambda: attended(q, k, v, causal),
        8,
        256,
        constants={200: ql % bq == 0, 201: kl % bk == 0, 300: False, 301: causal, 302: False},
    )


def mlx_sdpa(dtype_name: str, heads: int, kv_heads: int, ql: int, kl: int, d: int) -> Case:
    dtype = TYPES[dtype_name]
    q = draw(1, heads, ql, d, dtype=dtype)
    k, v = (draw(1, kv_heads, kl, d, dtype=dtype, seed=s) for s in (1, 2))

    def run(kernel: Any) -> torch.Tensor:
        out = torch.empty_like(q)
        sizes = [packed("i", heads // kv_heads), packed("i", kl), packed("Q", kl * d), packed("Q", d)]
        sizes += [packed("Q", kl * d), packed("Q", d), packed("f", 1 / math.sqrt(d))]
        nothing = [torch.zeros(1) for _ in range(7)]
        kernel(q, k, v, out, *sizes, *nothing, threads=(heads * 1024, ql, 1), group_size=(1024, 1, 1))
        return out

    kind = {"float32": "float", "float16": "float16_t", "bfloat16": "bfloat16_t"}[dtype_name]
    return Case(
        "mlx",
        "mlx/backend/metal/kernels/scaled_dot_product_attention.metal",
        f"sdpa_vector_{kind}_{d}_{d}",
        "attention, one query",
        dtype,
        f"{heads}/{kv_heads} heads, {ql} x {kl} x {d}",
        run,
        lambda: attended(q, k, v, False),
        4,
        256,
        constants={20: False, 21: False, 22: False, 23: False, 24: False, 25: False, 26: 1},
    )


def mlx_cases() -> Iterator[Case]:
    for dtype in TYPES:
        yield mlx_rows("softmax", dtype, 3, 777, looped=False)
        yield mlx_rows("softmax", dtype, 2, 4500, looped=True)
        if dtype != "float32":
            yield mlx_rows("softmax", dtype, 3, 1000, looped=False, precise=True)
        yield mlx_rows("logsumexp", dtype, 3, 777, looped=False)
        yield mlx_rows("layer_norm", dtype, 3, 509, looped=False)
        yield mlx_rows("layer_norm", dtype, 2, 5000, looped=True)
        yield mlx_rows("rms", dtype, 3, 500, looped=False)
        yield mlx_rows("rms", dtype, 2, 5000, looped=True)
        yield mlx_reduce("sum row", dtype, 9, 333)
        yield mlx_reduce("max row", dtype, 9, 333)
        yield mlx_reduce("sum all", dtype, 7, 333)
        yield mlx_gemm(dtype, 128, 64, 64, "nn", (64, 64, 16, 2, 2))
        yield mlx_gemm(dtype, 70, 50, 37, "nt", (64, 32, 32, 2, 2))
        yield mlx_gemm(dtype, 33, 65, 40, "tn", (32, 32, 16, 2, 2))
        yield mlx_attention(dtype, 2, 1, 50, 70, 64, causal=False)
        yield mlx_attention(dtype, 2, 2, 64, 64, 64, causal=True)
        yield mlx_attention(dtype, 1, 1, 33, 40, 128, causal=False)
        yield mlx_sdpa(dtype, 4, 2, 1, 90, 64)


# ggml


def ggml_case(kernel: str, what: str, dtype: torch.dtype, shape: str, **more: Any) -> Case:
    """PATH is a checkout of ggml, or of llama.cpp, whose folder ggml holds the same."""
    defines = ("GGML_METAL_HAS_BF16=1",)
    return Case(
        "ggml",
        "src/ggml-metal/ggml-metal.metal",
        kernel,
        what,
        dtype,
        shape,
        defines=defines,
        include=("src", "src/ggml-metal"),
        **more,
    )


def ggml_softmax(name: str, rows: int, width: int, mask_dtype: torch.dtype | None) -> Case:
    x = draw(rows, width, dtype=torch.float32)
    mask = None if mask_dtype is None else draw(rows, width, dtype=mask_dtype, seed=1)
    scale = 0.7
    row, mask_row = 4 * width, 0 if mask is None else mask.element_size() * width
    args = packed(
        "3i4x3Q3i4x3Q3Q4fi4x",
        *(width, rows, 1, row, row * rows, row * rows, rows, 1, 1, mask_row, mask_row * rows, mask_row * rows),
        *(row, row * rows, row * rows, scale, 0.0, 1.0, 1.0, 1),
    )

    def run(kernel: Any) -> torch.Tensor:
        out = torch.empty_like(x)
        threads = 32 * ceil_div(width, 64 if name.endswith("_4") else 32)
        threads = min(threads, 256)
        second = x if mask is None else mask
        kernel(args, x, second, x, out, threads=rows * threads, group_size=threads, threadgroup={0: 128})
        return out

    def want() -> torch.Tensor:
        wide = x.double() * float(torch.tensor(scale))
        return (wide if mask is None else wide + mask.double()).softmax(1)

    return ggml_case(name, "softmax", torch.float32, f"{rows} x {width}", run=run, want=want)


def ggml_norm(name: str, rows: int, width: int) -> Case:
    x = draw(rows, width, dtype=torch.float32)
    weight, bias = draw(width, dtype=torch.float32, seed=1), draw(width, dtype=torch.float32, seed=2)
    vector = 4 if name.endswith("_4") else 1
    row = 4 * width
    args = packed(
        "2i3Qf9i9Q",
        *(width, width // vector, row, row * rows, row * rows, 1e-5),
        *(rows, 1, 1, 1, 1, 1, 1, 1, 1),
        *(row, row, row, row * rows, row, row, row * rows, row, row),
    )

    def run(kernel: Any) -> torch.Tensor:
        out = torch.empty_like(x)
        threads = 128
        kernel(args, x, weight, bias, out, threads=rows * threads, group_size=threads, threadgroup={0: 128})
        return out

    def want() -> torch.Tensor:
        wide = x.double()
        if "rms" in name:
            made = wide / (wide.square().mean(1, keepdim=True) + 1e-5).sqrt()
        else:
            made = torch.nn.functional.layer_norm(wide, (width,), None, None, 1e-5)
        if "mul" in name:
            made = made * weight.double()
        return made + bias.double() if "add" in name else made

    what = "rms norm" if "rms" in name else "layer norm"
    return ggml_case(name, what, torch.float32, f"{rows} x {width}", run=run, want=want)


def q4_0(weights: torch.Tensor) -> tuple[bytes, torch.Tensor]:
    """Blocks of 32 weights: a half scale and 16 bytes of two 4-bit numbers each. Gives their bytes and their values."""
    blocks = weights.reshape(-1, 32)
    scale = (blocks.abs().amax(1) / 7).half()
    steps = torch.round(blocks / scale.float()[:, None]).clamp(-8, 7) + 8
    low, high = steps[:, :16].to(torch.uint8), steps[:, 16:].to(torch.uint8)
    content = torch.cat([scale[:, None].view(torch.uint8), low | (high << 4)], 1)
    values = (steps - 8).double() * scale.double()[:, None]
    return content.numpy().tobytes(), values.reshape(weights.shape)


def q8_0(weights: torch.Tensor) -> tuple[bytes, torch.Tensor]:
    blocks = weights.reshape(-1, 32)
    scale = (blocks.abs().amax(1) / 127).half()
    steps = torch.round(blocks / scale.float()[:, None]).clamp(-127, 127)
    content = torch.cat([scale[:, None].view(torch.uint8), steps.to(torch.int8).view(torch.uint8)], 1)
    return content.numpy().tobytes(), (steps.double() * scale.double()[:, None]).reshape(weights.shape)


def ggml_weights(kind: str, m: int, k: int) -> tuple[torch.Tensor, torch.Tensor, int]:
    """The weights as a tensor to hand over, their values, and the bytes of a row."""
    weights = draw(m, k, dtype=torch.float32, seed=1)
    if kind in ("f32", "f16", "bf16"):
        typed = weights.to({"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}[kind])
        return typed, typed.double(), typed.element_size() * k
    content, values = (q4_0 if kind == "q4_0" else q8_0)(weights)
    return torch.frombuffer(bytearray(content), dtype=torch.uint8), values, len(content) // m


def ggml_mul_mm(kind: str, m: int, n: int, k: int) -> Case:
    """dst[n][m] = src1[n][k] . src0[m][k]; the tiles of both are rounded to half (bfloat for bf16)."""
    weights, values, row = ggml_weights(kind, m, k)
    x = draw(n, k, dtype=torch.float32)
    rounded = torch.bfloat16 if kind == "bf16" else torch.float16
    args = packed("2i3Qi4x4Q2i2h4x", k, 1, row, row * m, row * m, 1, 4, 4 * k, 4 * k * n, 4 * k * n, m, n, 1, 1)

    def run(kernel: Any) -> torch.Tensor:
        out = torch.empty(n, m)
        grid = (ceil_div(n, 32) * 128, ceil_div(m, 64), 1)
        kernel(args, weights, x, out, threads=grid, group_size=(128, 1, 1), threadgroup={0: 8192})
        return out

    used = values.to(rounded).double()
    constants = {700: k % 32 != 0, 701: m % 64 != 0 or n % 32 != 0} | {
        700 + i: struct.pack("<h", 1) for i in (2, 3, 4, 5)
    }
    return ggml_case(
        f"kernel_mul_mm_{kind}_f32",
        "mul_mat",
        torch.float32,
        f"{m} x {n} x {k}",
        run=run,
        want=lambda: x.to(rounded).double() @ used.t(),
        scale=lambda: (x.double().abs() @ used.abs().t()).max(),
        roundings=1,
        # A quantised weight is rounded to half after its scale is applied, in another order than here.
        accumulations=k + (0 if kind in ("f32", "f16", "bf16") else 2 * 2.0**13),
        constants=constants,
    )


def ggml_mul_mv(kind: str, m: int, k: int) -> Case:
    weights, values, row = ggml_weights(kind, m, k)
    x = draw(1, k, dtype=torch.float32)
    rows_each, simdgroups = {"q4_0": (4, 2), "q8_0": (2, 4)}.get(kind, (2, 4))
    args = packed(
        "3i4x4Q3i4x4Q3i2h",
        *(k, m, 1, weights.element_size(), row, row * m, row * m),
        *(k, 1, 1, 4, 4 * k, 4 * k, 4 * k, m, 1, rows_each, 1, 1),
    )
    per_group = rows_each * (simdgroups if kind == "q4_0" else 1)

    def run(kernel: Any) -> torch.Tensor:
        out = torch.empty(1, m)
        groups = ceil_div(m, per_group)
        kernel(
            args,
            weights,
            x,
            out,
            threads=(groups * 32, simdgroups, 1),
            group_size=(32, simdgroups, 1),
            threadgroup={0: 32 * 4 * 4},
        )
        return out

    return ggml_case(
        f"kernel_mul_mv_{kind}_f32",
        "mul_mat, one row",
        torch.float32,
        f"{m} x 1 x {k}",
        run=run,
        want=lambda: x.double() @ values.t(),
        scale=lambda: (x.double().abs() @ values.abs().t()).max(),
        roundings=1,
        accumulations=k,
        constants={600: struct.pack("<h", simdgroups)} | {600 + i: struct.pack("<h", 1) for i in range(1, 8)},
    )


def ggml_cases() -> Iterator[Case]:
    yield ggml_softmax("kernel_soft_max_f32", 5, 333, None)
    yield ggml_softmax("kernel_soft_max_f32", 5, 333, torch.float32)
    yield ggml_softmax("kernel_soft_max_f32_4", 3, 1024, torch.float32)
    yield ggml_softmax("kernel_soft_max_f16", 5, 333, torch.float16)
    for name in ("norm", "norm_mul", "norm_mul_add", "rms_norm", "rms_norm_mul", "rms_norm_mul_add"):
        yield ggml_norm(f"kernel_{name}_f32", 3, 333)
    yield ggml_norm("kernel_rms_norm_mul_f32_4", 3, 1024)
    yield ggml_norm("kernel_norm_mul_add_f32_4", 3, 1024)
    for kind in ("f32", "f16", "bf16", "q4_0", "q8_0"):
        yield ggml_mul_mm(kind, 64, 32, 64)
        yield ggml_mul_mm(kind, 70, 45, 96)
    for kind in ("f32", "f16", "bf16", "q4_0", "q8_0"):
        yield ggml_mul_mv(kind, 40, 256)


SETS: dict[str, Callable[[], Iterator[Case]]] = {"mlx": mlx_cases, "ggml": ggml_cases}


def judged(case: Case, root: Path, check: bool) -> dict[str, Any]:
    start = time.perf_counter()
    source = root / case.file
    result: dict[str, Any] = {
        "project": case.project,
        "kernel": case.kernel,
        "what": case.what,
        "dtype": str(case.dtype).removeprefix("torch."),
        "shape": case.shape,
        "bound": case.bound(),
    }
    include = [str(root), *(str(root / one) for one in case.include)]
    try:
        library = metal.compile_shader(
            source.read_text(),
            check=check,
            name=case.file.rsplit("/", 1)[1],
            include=include,
            kernels=[case.kernel],
            defines=case.defines,
            constants=case.constants,
            timeout=120,
        )
        result["compile_s"] = round(time.perf_counter() - start, 2)
        got = case.run(getattr(library, case.kernel)).double()
    except metal.KernelFault as fault:
        return result | {"good": False, "reports": len(fault.reports), "why": fault.reports[0]["message"]}
    except metal.MetalError as error:
        return result | {"good": False, "reports": 0, "why": str(error)}
    want = case.want()
    scale = case.scale() if case.scale else want.abs().max()
    error = ((got - want).abs() / scale).max().item()
    return result | {
        "good": bool(error <= case.bound()),
        "reports": 0,
        "error": error,
        "run_s": round(library.seconds, 3),
    }


def commit_of(root: Path) -> str:
    try:
        reply = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True)
        return reply.stdout.strip() if reply.returncode == 0 and (root / ".git").exists() else "unknown"
    except OSError:
        return "unknown"


def table(path: Path) -> str:
    """docs/metal-foreign.md from a result file."""
    told = json.loads(path.read_text())
    about, results = told["about"], told["results"]
    good = sum(one["good"] for one in results)
    projects = ", ".join(f"{name} {commit[:12]}" for name, commit in about["projects"].items())
    lines = [
        "# Kernels that nobody here wrote",
        "",
        f"Written by `scripts/foreign_metal.py --table {path}` from what `{about['command']}` measured: {projects}; "
        f"torch {about['torch']}; {about['device']}; checks {'on' if about['checks'] else 'off'}.",
        "",
        f"{good} of {len(results)} agree with float64 and give no report. The error is the largest difference from "
        "float64 on the same inputs, relative to the scale that roundings have; the bound counts roundings.",
        "",
        "| project | kernel | what | type | shape | error | bound | reports |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in results:
        error = f"{one['error']:.1e}" if "error" in one else one["why"].replace("\n", " ")
        words = [one["project"], f"`{one['kernel']}`", one["what"], one["dtype"], one["shape"], error]
        lines.append("| " + " | ".join([*words, f"{one['bound']:.1e}", str(one["reports"])]) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in SETS:
        parser.add_argument(f"--{name}", type=Path, metavar="PATH", help=f"a checkout of {name}")
        parser.add_argument(f"--{name}-commit", metavar="HASH", help="of PATH, if it is no git checkout")
    parser.add_argument("--only", default="", help="kernels whose name holds this")
    parser.add_argument("--no-check", action="store_true", help="without the checks")
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--table", type=Path, help="print the page of docs/ for a result file, and run nothing")
    options = parser.parse_args()
    if options.table:
        print(table(options.table), end="")
        return 0
    results, versions = [], {}
    for name, cases in SETS.items():
        root = getattr(options, name)
        if root is None:
            continue
        if name == "ggml" and (root / "ggml" / "src").is_dir():
            root = root / "ggml"
        versions[name] = getattr(options, f"{name}_commit") or commit_of(root)
        for case in cases():
            if options.only not in case.kernel:
                continue
            one = judged(case, root, not options.no_check)
            results.append(one)
            error = f"error {one['error']:.1e} of {one['bound']:.1e}" if "error" in one else one["why"]
            print(f"{'ok  ' if one['good'] else 'FAIL'} {one['kernel']} {one['shape']}: {error}", flush=True)
    if not results:
        parser.error("give a checkout: --mlx PATH or --ggml PATH")
    bad = sum(not one["good"] for one in results)
    checks = "off" if options.no_check else "on"
    print(f"{len(results) - bad} of {len(results)} kernels agree with float64, checks {checks}")
    if options.json:
        about = {
            "command": "scripts/foreign_metal.py " + " ".join(f"--{name} PATH" for name in versions),
            "device": next(
                (
                    line.split(":")[1].strip()
                    for line in Path("/proc/cpuinfo").read_text().splitlines()
                    if "model name" in line
                ),
                os.uname().machine,
            ),
            "torch": torch.__version__,
            "commit": commit_of(ROOT),
            "projects": versions,
            "checks": not options.no_check,
        }
        options.json.write_text(json.dumps({"about": about, "results": results}, indent=1) + "\n")
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
