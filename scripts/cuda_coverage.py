#!/usr/bin/env python3
"""Runs the emulator's own CUDA test kernels on a real GPU: what they expect must hold there too.

    scripts/cuda_coverage.py --out results/cuda-coverage.json     needs nvcc and a GPU
    scripts/cuda_coverage.py --compile-only                       needs nvcc alone

Each kernel of tests/emulator/cuda/coverage.cu keeps the line of an expectation that does not hold; the emulator runs
the same file in `make test`. What fails here is an error of the emulator, or of a test.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SOURCE, PAGE = ROOT / "tests/emulator/cuda/coverage.cu", ROOT / "docs/cuda-coverage.md"

MAIN = """#include "{source}"
#include <cstdio>
#include <vector>

struct Row {{
  const char* name;
  void (*kernel)(unsigned*, const float*, float*, int);
}};

using namespace inner;  // of the file: it shows that kernels in namespaces are found

int main() {{
  const Row rows[] = {{{rows}}};
  std::vector<float> iota(1024);
  for (int i = 0; i < 1024; ++i) iota[i] = i;
  unsigned* failed;
  float *memory, *out;
  if (cudaMalloc(&failed, 4) || cudaMalloc(&memory, 4096) || cudaMalloc(&out, 4096)) return 3;
  for (const Row& row : rows) {{
    unsigned line = 0;
    cudaMemcpy(memory, iota.data(), 4096, cudaMemcpyHostToDevice);
    cudaMemset(failed, 0, 4), cudaMemset(out, 0, 4096);
    row.kernel<<<dim3(3, 2), dim3(32, 2), 512>>>(failed, memory, out, 1024);
    const cudaError_t error = cudaDeviceSynchronize();
    cudaMemcpy(&line, failed, 4, cudaMemcpyDeviceToHost);
    std::printf("%s\\t%u\\t%s\\n", row.name, line, error ? cudaGetErrorString(error) : "");
  }}
}}
"""


def kernel_names() -> list[str]:
    """The last column of the page, which a test keeps equal to the kernels of the file."""
    return re.findall(r"\| `([^`]+)` \|$", PAGE.read_text(), re.MULTILINE)


def build(folder: Path, arch: str) -> Path:
    rows = ", ".join(f'{{"{name}", {name}}}' for name in kernel_names())
    (folder / "main.cu").write_text(MAIN.format(source=SOURCE, rows=rows))
    flags = ["-std=c++17", "--expt-relaxed-constexpr", f"-arch={arch}", "-O2"]
    subprocess.run(["nvcc", *flags, str(folder / "main.cu"), "-o", str(folder / "main")], check=True)
    return folder / "main"


def said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT).stdout.strip()


def run(binary: Path) -> list[dict[str, Any]]:
    lines = subprocess.run([str(binary)], capture_output=True, text=True, check=True).stdout.splitlines()
    fields = [line.split("\t") for line in lines]
    return [{"kernel": name, "failed_line": int(line), "error": error} for name, line, error in fields]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--arch", default="sm_90")
    parser.add_argument("--commit", default="", help="of the tree, where git cannot tell")
    parser.add_argument("--compile-only", action="store_true")
    options = parser.parse_args()
    if not shutil.which("nvcc"):
        print("error: nvcc was not found\nhint: install the CUDA toolkit", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        binary = build(Path(folder), options.arch)
        if options.compile_only:
            print(f"{len(kernel_names())} kernels compile")
            return 0
        rows = run(binary)
    good = sum(not row["failed_line"] and not row["error"] for row in rows)
    if options.out:
        record = {
            "kind": "cuda-coverage",
            "command": "scripts/cuda_coverage.py",
            "commit": options.commit or said("git", "rev-parse", "HEAD"),
            "date": time.strftime("%Y-%m-%d"),
            "device": said("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").splitlines()[0],
            "versions": {"nvcc": said("nvcc", "--version").splitlines()[-1]},
            "kernels": rows,
        }
        options.out.write_text(json.dumps(record, indent=1) + "\n")
    for row in rows:
        if row["failed_line"] or row["error"]:
            print(f"coverage.cu:{row['failed_line']} in {row['kernel']} {row['error']}")
    print(f"{good} of {len(rows)} kernels hold on the GPU")
    return 0 if good == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
