"""Apple GPUs without one: kernels for Metal are written, emulated with checks on, verified and packed here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("KERNELWRIGHT_BUILD", ROOT / "build")) / "kernelwright"
MODULES = ROOT / "examples" / "modules"

MODULE = """import torch


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(3.0))

    def forward(self, x):
        return torch.relu(x) * self.scale + 1


def factory():
    return Model().eval(){change}, (torch.randn(40, 33){change},)
"""


def run(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BINARY), *map(str, words)], cwd=cwd, text=True, capture_output=True, timeout=600, check=False
    )


def optimized(source: Path, folder: Path, *more: object) -> tuple[dict[str, Any], zipfile.ZipFile]:
    words = ("optimize", source, "--target", "metal", "-o", "out.kw", "--json", "--no-progress", *more)
    reply = run(*words, cwd=folder)
    assert reply.returncode == 0, reply.stdout + reply.stderr
    return json.loads(reply.stdout.splitlines()[-1]), zipfile.ZipFile(folder / "out.kw")


def gates_of(package: zipfile.ZipFile) -> dict[str, dict[str, Any]]:
    certificate = json.loads(package.read("certificate.json"))
    return {gate["gate"]: gate for gate in certificate["gates"]}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a module and its package."""
    folder = tmp_path_factory.mktemp("metal")
    (folder / "small.py").write_text(MODULE.format(change=""))
    optimized(folder / "small.py", folder, "--time", 150)
    return folder


def test_a_package_holds_verified_metal(small: Path) -> None:
    package = zipfile.ZipFile(small / "out.kw")
    manifest = json.loads(package.read("manifest.json"))
    assert (manifest["target"], manifest["verdict"]) == ("metal", "verified")
    assert "kernel void" in package.read("kernels/msl.metal").decode()
    assert gates_of(package)["checks"]["outcome"] == "verified"
    assert "emulated" in gates_of(package)["checks"]["text"]


def test_times_are_predicted_and_never_measured(small: Path) -> None:
    result = json.loads(zipfile.ZipFile(small / "out.kw").read("manifest.json"))["result"]
    assert result["timing"] is None
    assert result["comparisons"] == []
    assert result["predicted"]["seconds"] > 0


def test_verify_runs_the_package_again(small: Path) -> None:
    reply = run("verify", "out.kw", "--quick", "--no-progress", cwd=small)
    assert reply.returncode == 0, reply.stdout + reply.stderr
    assert "checks" in reply.stdout


def test_half_precision(tmp_path: Path) -> None:
    (tmp_path / "low.py").write_text(MODULE.format(change=".bfloat16()"))
    result, package = optimized(tmp_path / "low.py", tmp_path, "--time", 150)
    assert result["verdict"] == "verified"
    assert "bfloat*" in package.read("kernels/msl.metal").decode()


def test_reductions_and_products(tmp_path: Path) -> None:
    result, _ = optimized(MODULES / "matmul_sum.py", tmp_path, "--time", 150)
    assert result["verdict"] == "verified"


KERNEL = """#include <metal_stdlib>
using namespace metal;
kernel void scale(device const float* x [[buffer(0)]], device const float* s [[buffer(1)]],
                  device float* y [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  if (i < BOUND) y[i] = (x[i] < 0.0f ? 0.0f : x[i]) * s[0] + 1.0f;
}
"""

PLAN: dict[str, Any] = {
    "format": "kernelwright-plan/1",
    "target": "metal",
    "symbols": {"M": {"input": 0, "dim": 0}, "N": {"input": 0, "dim": 1}},
    "guards": ["M == 40", "N == 33"],
    "buffers": {
        "x": {"role": "input", "index": 0},
        "s": {"role": "parameter", "name": "scale"},
        "y": {"role": "output", "index": 0},
    },
    "steps": [{"kernel": "scale", "args": ["x", "s", "y"], "groups": [6, 1, 1], "group": [256, 1, 1]}],
}


def verify_candidate(small: Path, folder: Path, kernel: str, plan: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    (folder / "kernel.metal").write_text(kernel)
    (folder / "plan.json").write_text(json.dumps(plan))
    return run(
        "verify", small / "small.py", "--candidate", folder, "--target", "metal", "--quick", "--no-progress", cwd=folder
    )


def changed(**step: Any) -> dict[str, Any]:
    return {**PLAN, "steps": [{**PLAN["steps"][0], **step}]}


def test_a_plan_that_does_not_fit_is_a_slip_of_its_author(small: Path, tmp_path: Path) -> None:
    cases = {
        "the source has no such kernel": changed(kernel="scales"),
        "takes 3 buffer arguments (x, s, y), and the Plan passes 2": changed(args=["x", "y"]),
        "takes the array s (line 3), and the Plan passes a number": changed(args=["x", {"f32": 2}, "y"]),
        "allowed are 1 to 1024": changed(group=[1024, 2, 1]),
        "more than 2^32 threads": changed(groups=[1 << 30, 1, 1]),
    }
    for words, plan in cases.items():
        reply = verify_candidate(small, tmp_path, KERNEL.replace("BOUND", "1320"), plan)
        assert reply.returncode == 2, (words, reply.stdout, reply.stderr)
        assert words in reply.stderr, reply.stderr


def test_what_apple_refuses_is_refused(small: Path, tmp_path: Path) -> None:
    kernel = KERNEL.replace("BOUND", "1320").replace("1.0f;", "double(1.0f);")
    reply = verify_candidate(small, tmp_path, kernel, PLAN)
    assert reply.returncode == 2
    assert "double" in reply.stderr


def test_checks_find_what_results_hide(small: Path, tmp_path: Path) -> None:
    """Threads past the end read and write outside of their buffers; the results are right."""
    reply = verify_candidate(small, tmp_path, KERNEL.replace("BOUND", "1321"), PLAN)
    assert reply.returncode == 1, reply.stdout + reply.stderr
    assert "checks" in reply.stdout
    right = verify_candidate(small, tmp_path, KERNEL.replace("BOUND", "1320"), PLAN)
    assert right.returncode == 0, right.stdout


STAND_IN = """import sys

import torch

import kernelwright
from kernelwright import metal, mps

torch.mps.compile_shader = metal.compile_shader
mps.ROUNDS = 1
module = kernelwright.load(sys.argv[1])
torch.manual_seed(3)
x = torch.randn(40, 33)
with torch.no_grad():
    for value in (3.0, 5.0):  # the second after a change of the parameter
        module.scale.fill_(value)
        torch.testing.assert_close(module(x), torch.relu(x) * value + 1)
    torch.testing.assert_close(module(x[:7]), torch.relu(x[:7]) * 5 + 1)  # another shape: the original
print(module.stats())
"""


def load_in_process(package: Path, **env: str) -> str:
    words = [sys.executable, "-W", "ignore", "-c", STAND_IN, str(package)]
    given = {**os.environ, "PYTHONPATH": str(ROOT / "python"), "KERNELWRIGHT": str(BINARY), **env}
    reply = subprocess.run(words, env=given, text=True, capture_output=True, timeout=600, check=False)
    assert reply.returncode == 0, reply.stderr
    return reply.stdout


def test_the_package_runs_through_compile_shader(small: Path) -> None:
    """torch.mps is the emulator's here; parameters may change, other shapes run the original."""
    said = load_in_process(small / "out.kw", KERNELWRIGHT_MPS_DEVICE="cpu")
    assert "'kernel_calls': 2, 'original_calls': 1" in said, said


def test_kernels_that_are_slower_on_the_spot_are_not_used(small: Path) -> None:
    """The emulator is slower than PyTorch on a CPU: the comparison at the first call must find that."""
    said = load_in_process(small / "out.kw", KERNELWRIGHT_MPS_DEVICE="cpu", KERNELWRIGHT_MPS_COMPARE="1")
    assert "'slower': True" in said, said
    assert "'kernel_calls': 0" in said


def test_without_a_mac_the_original_runs(small: Path) -> None:
    assert "'kernel_calls': 0" in load_in_process(small / "out.kw")


def test_offline_compilation_asks_for_a_mac(small: Path) -> None:
    reply = run("package", "out.kw", "--metallib", cwd=small)
    assert reply.returncode == 2
    assert "xcrun metal" in reply.stderr
