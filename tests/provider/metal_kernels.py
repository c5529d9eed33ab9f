"""Kernels for Metal, by hand: what the scripted models answer with `--target metal`."""

from __future__ import annotations

import json

# Module: inputs, parameters, rows and width of x, width of y, what comes first, the value of y at row r and column c.
ROW_MEAN = "float m = 0.0f; for (int j = 0; j < 96; ++j) m += row[j]; m /= 96.0f; "
SQUARES = "float s = 0.0f; for (int j = 0; j < 96; ++j) s += "
MODULES: dict[str, tuple[list[str], list[str], int, int, int, str, str]] = {
    "add_relu": (["x", "z"], [], 32, 130, 130, "const float s = x[i] + z[i];", "s < 0.0f ? 0.0f : s"),
    "fma3": (["x", "z", "w"], [], 32, 130, 130, "", "x[i] * z[i] + w[i]"),
    "silu_mul": (["x", "z"], [], 32, 130, 130, "", "x[i] / (1.0f + precise::exp(-x[i])) * z[i]"),
    "tanh_scale": (["x"], [], 32, 130, 130, "", "precise::tanh(x[i]) * 0.5f"),
    "exp_clip": (["x"], [], 32, 130, 130, "", "precise::exp(x[i] > 1.0f ? 1.0f : x[i])"),
    "row_sum": (["x"], [], 24, 96, 1, SQUARES + "row[j];", "s"),
    "softmax_rows": (
        ["x"],
        [],
        24,
        96,
        96,
        "float m = row[0]; for (int j = 1; j < 96; ++j) m = row[j] > m || isnan(row[j]) ? row[j] : m; "
        + SQUARES
        + "precise::exp(row[j] - m);",
        "precise::exp(row[c] - m) / s",
    ),
    "linear": (
        ["x"],
        ["fc.weight", "fc.bias"],
        24,
        96,
        40,
        SQUARES + "row[j] * p0[c * 96 + j];",
        "s + p1[c]",
    ),
    "rms_norm": (["x"], ["g"], 24, 96, 96, SQUARES + "row[j] * row[j];", "row[c] / sqrt(s / 96.0f + 1e-5f) * p0[c]"),
    "layer_norm": (
        ["x"],
        [],
        24,
        96,
        96,
        ROW_MEAN + SQUARES + "(row[j] - m) * (row[j] - m);",
        "(row[c] - m) / sqrt(s / 96.0f + 1e-5f)",
    ),
}


def source_of(names: list[str], width: int, columns: int, count: int, before: str, value: str, kind: str) -> str:
    """Wrong: another value. Cheating: half precision. Slow: one thread does it all."""
    what = {"wrong": f"({value}) + 0.25f", "cheat": f"float(half({value}))"}.get(kind, value)
    arguments = [
        f"device {'' if name == 'y' else 'const '}float* {name} [[buffer({n})]]" for n, name in enumerate(names)
    ]
    place = f"const int r = i / {columns}, c = i % {columns}; device const float* row = x + r * {width};"
    one = f"{place} {before} y[i] = {what};"
    loop = f"if (at == 0) for (int i = 0; i < {count}; ++i) {{ {one} }}"
    body = loop if kind == "slow" else f"const int i = int(at); if (i < {count}) {{ {one} }}"
    head = "#include <metal_stdlib>\nusing namespace metal;\n\n"
    return f"{head}kernel void k({', '.join(arguments)}, uint at [[thread_position_in_grid]]) {{ {body} }}\n"


def reply(problem: str, kind: str) -> str:
    inputs, params, rows, width, columns, before, value = MODULES[problem]
    count = rows * columns
    places = [f"p{n}" for n in range(len(params))]
    names = [*inputs, *places, "y"]
    buffers = {name: {"role": "input", "index": n} for n, name in enumerate(inputs)}
    roles = {place: {"role": "parameter", "name": name} for place, name in zip(places, params, strict=True)}
    plan = {
        "format": "kernelwright-plan/1",
        "target": "metal",
        "symbols": {f"{s}{n}": {"input": n, "dim": d} for n in range(len(inputs)) for d, s in enumerate("RW")},
        "guards": [f"{s}{n} == {size}" for n in range(len(inputs)) for s, size in (("R", rows), ("W", width))],
        "buffers": {**buffers, **roles, "y": {"role": "output", "index": 0}},
        "steps": [{"kernel": "k", "args": names, "groups": [(count + 255) // 256, 1, 1], "group": [256, 1, 1]}],
    }
    source = source_of(names, width, columns, count, before, value, kind)
    return f"Here it is.\n\n```metal\n{source}```\n\n```json\n{json.dumps(plan)}\n```\n"
