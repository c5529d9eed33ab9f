"""kernelwright emulate: what it counts, Plans, and bad input: exit code 2, one sentence, a hint where there is one."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("KERNELWRIGHT_BUILD", ROOT / "build"))
FAULTS = ROOT / "tests" / "emulator" / "faults"

SCALE = """#include <metal_stdlib>
using namespace metal;
kernel void scale(const device float* x [[buffer(0)]], device float* out [[buffer(1)]], constant uint& n [[buffer(2)]],
                  uint i [[thread_position_in_grid]]) {
  if (i < n) out[i] = 3.0f * x[i] + 1.0f;
}
"""
PLAN = {
    "format": "kernelwright-plan/1",
    "target": "metal",
    "symbols": {"N": {"input": 0, "dim": 0}},
    "buffers": {
        "x": {"role": "input", "index": 0, "dtype": "f32", "shape": ["N"]},
        "y": {"role": "output", "index": 0, "dtype": "f32", "shape": ["N"]},
    },
    "steps": [
        {"kernel": "scale", "args": ["x", "y", {"u32": "N"}], "groups": ["ceil_div(N, 64)", 1, 1], "group": [64, 1, 1]}
    ],
}


def run(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(BUILD / "kernelwright"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd)


def emulate(cwd: Path, words: str) -> dict[str, Any]:
    reply = run("--json", "emulate", *shlex.split(words), cwd=cwd)
    assert reply.returncode == 0, reply.stderr
    result: dict[str, Any] = json.loads(reply.stdout.splitlines()[-1])
    return result


@pytest.fixture
def scale(tmp_path: Path) -> Path:
    (tmp_path / "scale.metal").write_text(SCALE)
    return tmp_path


def test_values(scale: Path) -> None:
    result = emulate(
        scale, "scale.metal --kernel scale --groups 4 --group 64 --arg iota:f32[200] --arg out:f32[200] --arg u32:200"
    )
    assert result["outputs"][0]["first"] == [1 + 3 * i for i in range(8)]
    assert result["outputs"][0]["max"] == 1 + 3 * 199


def test_a_plan(scale: Path) -> None:
    (scale / "plan.json").write_text(json.dumps(PLAN))
    result = emulate(scale, "scale.metal --plan plan.json --arg iota:f32[100] --check --schedule-seed 5")
    assert result["reports"] == []
    assert (result["outputs"][0]["elements"], result["outputs"][0]["max"]) == (100, 1 + 3 * 99)


def test_counts_of_an_elementwise_kernel(scale: Path) -> None:
    words = "--kernel scale --threads 256 --group 64 --arg iota:f32[256] --arg out:f32[256] --arg u32:256"
    counts = emulate(scale, f"scale.metal {words} --profile")["launches"][0]
    assert counts["read_bytes"] == counts["least_read_bytes"] == 1024
    assert counts["written_bytes"] == counts["least_written_bytes"] == 1024
    assert counts["flops"] == 512
    assert (counts["barriers"], counts["bank_conflicts"], counts["uncoalesced_accesses"]) == (0, 0, 0)
    assert counts["lane_instructions"] == counts["slot_instructions"] > 0


def test_counts_of_a_reduction() -> None:
    words = (FAULTS / "reduce.metal").read_text().splitlines()[0].removeprefix("// emulate:")
    counts = emulate(FAULTS, f"reduce.metal {words} --profile")["launches"][0]
    assert counts["barriers"] == 6
    assert counts["simd_reductions"] == 6 * 9
    assert counts["threadgroup_bytes"] == 32
    assert counts["read_bytes"] == 6 * 256 * 4
    assert counts["lane_instructions"] < counts["slot_instructions"]


STRIDED = """#include <metal_stdlib>
using namespace metal;
kernel void strided(const device float* x [[buffer(0)]], device float* out [[buffer(1)]],
                    uint i [[thread_position_in_grid]], uint t [[thread_index_in_threadgroup]]) {
  threadgroup float near[1024];
  near[t * 32] = x[i * 32];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  out[i] = near[t * 32];
}
"""


def test_strides_are_counted_as_conflicts_and_uncoalesced(tmp_path: Path) -> None:
    (tmp_path / "strided.metal").write_text(STRIDED)
    words = "--kernel strided --groups 1 --group 32 --arg rand:f32[1024] --arg out:f32[32] --profile"
    counts = emulate(tmp_path, f"strided.metal {words}")["launches"][0]
    assert counts["bank_conflicts"] == 2 * 31
    assert counts["uncoalesced_accesses"] == 1
    assert counts["device_lines"] == 32 + 1


def test_the_schedule_changes_the_order(tmp_path: Path) -> None:
    """Who comes first at a counter depends on the seed, and on nothing else with one core."""
    (tmp_path / "order.metal").write_text(
        "#include <metal_stdlib>\nusing namespace metal;\n"
        "kernel void order(device atomic_uint* next [[buffer(0)]], device uint* out [[buffer(1)]],\n"
        "                  uint i [[thread_position_in_grid]]) {\n"
        "  out[i] = atomic_fetch_add_explicit(next, 1u, memory_order_relaxed);\n}\n"
    )
    words = (
        "order.metal --kernel order --groups 4 --group 64 --arg zeros:u32[1] --arg out:u32[256] --show 256 --cores 1"
    )
    orders = [emulate(tmp_path, f"{words} --schedule-seed {seed}")["outputs"][1]["first"] for seed in (0, 1, 1, 2)]
    assert orders[0] == list(range(256))
    assert orders[1] == orders[2] != orders[3]
    assert all(sorted(order) == orders[0] for order in orders)


ARGS = "--arg iota:f32[64] --arg out:f32[64] --arg u32:64"
BAD = {
    "no kernel of that name": (f"scale.metal --kernel other --groups 1 {ARGS}", 'no kernel called "other"'),
    "too few arguments": ("scale.metal --kernel scale --groups 1 --arg u32:3", "takes 3 buffer arguments (x, out, n)"),
    "group beyond the limit": (f"scale.metal --kernel scale --groups 1 --group 64,64 {ARGS}", "1024 are the most"),
    "grid beyond the limit": (f"scale.metal --kernel scale --groups 4000000000,4 {ARGS}", "more than 2^32"),
    "size of zero": (f"scale.metal --kernel scale --groups 0 {ARGS}", "--groups 0 is no size"),
    "no size": (f"scale.metal --kernel scale {ARGS}", "--groups is missing"),
    "neither plan nor kernel": ("scale.metal", "give either --plan or --kernel"),
    "unknown type": ("scale.metal --kernel scale --groups 1 --arg rand:f99[4]", "no type is called f99"),
    "scalar that does not fit": ("scale.metal --kernel scale --groups 1 --arg u32:1.5", "1.5 does not fit into u32"),
    "no such file": (f"missing.metal --kernel scale --groups 1 {ARGS}", "missing.metal"),
    "source that does not compile": ("broken.metal --kernel k --groups 1 --arg out:f32[4]", "broken.metal:1"),
    "kernel that never ends": (
        "endless.metal --kernel k --groups 1 --arg out:f32[4] --timeout 2",
        "the kernel does not end; it was stopped at endless.metal:2",
    ),
    "barriers without end": (
        "forever.metal --kernel k --groups 1 --group 4 --arg out:f32[4] --step-limit 1000",
        "the kernel does not end; it was stopped at forever.metal:4",
    ),
    "too much threadgroup memory": ("big.metal --kernel k --groups 1 --arg out:f32[4]", "32768"),
    "textures": ("texture.metal --kernel k --groups 1 --arg out:f32[4]", "texture"),
    "plan that is no plan": ("scale.metal --plan scale.metal", "JSON"),
    "plan with another type": ("scale.metal --plan other.json --arg iota:f32[64]", "takes n as"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(scale: Path, name: str) -> None:
    words, sentence = BAD[name]
    head = "#include <metal_stdlib>\nusing namespace metal;\n"
    (scale / "broken.metal").write_text("kernel void k(device float* x [[buffer(0)]]) { x[0] = nothing; }\n")
    (scale / "endless.metal").write_text(
        "kernel void k(device float* x [[buffer(0)]]) {\n  while (!(x[0] > 1e30f)) x[0] = 0.0f;\n}\n"
    )
    (scale / "forever.metal").write_text(
        head
        + "kernel void k(device float* x [[buffer(0)]]) {\n  for (;;) threadgroup_barrier(mem_flags::mem_none);\n}\n"
    )
    (scale / "big.metal").write_text(
        head + "kernel void k(device float* x [[buffer(0)]], uint t [[thread_index_in_threadgroup]]) {\n"
        "  threadgroup float a[8193];\n  a[t] = 1.0f;\n  x[t] = a[t];\n}\n"
    )
    (scale / "texture.metal").write_text(
        head + "kernel void k(texture2d<float> t [[texture(0)]], device float* x [[buffer(0)]]) { x[0] = 1.0f; }\n"
    )
    plan = json.loads(json.dumps(PLAN))
    plan["steps"][0]["args"][2] = {"f32": "N"}
    (scale / "other.json").write_text(json.dumps(plan))
    reply = run("emulate", *shlex.split(words), cwd=scale)
    assert reply.returncode == 2, reply.stdout + reply.stderr
    assert sentence.lower() in reply.stderr.lower()
    assert reply.stderr.startswith("error: ") and reply.stdout == ""
