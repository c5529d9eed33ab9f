#!/usr/bin/env python3
"""What a package costs around its kernels: an empty call, and loading with the first call. Prints one JSON object.

The empty call adds one to four numbers, so that everything but the work is left; the first call of each package is
timed in a process of its own, after `import torch`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EMPTY = """import torch
class AddOne(torch.nn.Module):
    def forward(self, x):
        return x + 1
def factory():
    return AddOne().eval(), (torch.randn(4),)
"""


def packed(binary: str, source: str, folder: Path) -> Path:
    package = folder / (Path(source.split(":")[0]).stem + ".kw")
    command = [binary, "--json", "optimize", source, "--no-bench", "--time", "40", "-o", str(package)]
    reply = subprocess.run(command, capture_output=True, text=True, check=False)
    if not package.exists():
        sys.exit(reply.stderr or reply.stdout)
    return package


def empty_call_us(package: Path) -> float:
    """Median over batches of a thousand calls [us]."""
    import kernelwright
    import torch

    fast, x = kernelwright.load(str(package)), torch.randn(4)
    assert torch.equal(fast(x), x + 1) and fast.stats()["kernel_calls"] == 1
    batches = []
    for _ in range(50):
        start = time.perf_counter()
        for _ in range(1000):
            fast(x)
        batches.append((time.perf_counter() - start) * 1e3)
    return statistics.median(batches)


FIRST = """
import json, sys, time, torch, kernelwright
from kernelwright.source import load_source
inputs = load_source(sys.argv[2], "auto", 0, False).inputs
start = time.perf_counter()
fast = kernelwright.load(sys.argv[1])
loaded = time.perf_counter()
fast(*inputs[0], **inputs[1])
called = time.perf_counter()
print(json.dumps({"load_ms": (loaded - start) * 1e3, "first_call_ms": (called - loaded) * 1e3, "stats": fast.stats()}))
"""


def first_call(package: Path, source: str) -> dict:
    """The middle of five processes by load plus first call [ms]."""
    runs = []
    for _ in range(5):
        reply = subprocess.run([sys.executable, "-c", FIRST, str(package), source], capture_output=True, text=True)
        if reply.returncode:
            sys.exit(reply.stderr)
        runs.append(json.loads(reply.stdout.splitlines()[-1]))
    runs.sort(key=lambda run: run["load_ms"] + run["first_call_ms"])
    middle = runs[2]
    assert middle.pop("stats")["kernel_calls"] == 1
    return {"package": Path(source).stem, "bytes": package.stat().st_size, **middle}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default=str(ROOT / "build/kernelwright"))
    parser.add_argument("modules", nargs="*", default=["mlp_gelu", "conv_bn_relu"])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "add_one.py").write_text(EMPTY)
        result: dict = {"empty_call_us": empty_call_us(packed(args.binary, f"{folder}/add_one.py:factory", folder))}
        sources = [f"{ROOT}/examples/modules/{module}.py" for module in args.modules]
        result["first"] = [first_call(packed(args.binary, source, folder), source) for source in sources]
    print(json.dumps(result))


if __name__ == "__main__":
    main()
