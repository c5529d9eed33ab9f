#!/usr/bin/env python3
"""Optimises every example module and prints the table against every baseline.

A ratio is baseline time / package time, the median of interleaved blocks with its 95% interval. Modules where the
original stays count as 1.0 in the geometric mean.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BASELINES = ["eager", "compile", "max-autotune", "onnxruntime"]
DEFAULT_TIME_S = 75
NETWORKS = ["resnet18", "mobilenet_v2", "bert_2layer", "llama_2layer"]


def sources(args: argparse.Namespace) -> list[str]:
    if args.modules:
        return args.modules
    order = (ROOT / "examples/modules/ORDER").read_text().split()
    found = [str(ROOT / f"examples/modules/{name}.py") for name in order]
    if args.networks:
        found += [f"{ROOT}/examples/networks/hf.py:{name}" for name in NETWORKS]
    return found


def optimize(args: argparse.Namespace, source: str, folder: Path) -> dict:
    name = source.rsplit(":", 1)[-1] if ":" in source else Path(source).stem
    command = [args.binary, "--json", "optimize", source, "--target", "cpu", "-o", str(folder / f"{name}.kw")]
    command += ["--time", str(args.time)]
    reply = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    lines = [line for line in reply.stdout.splitlines() if line.strip()]
    last = json.loads(lines[-1]) if lines else {}
    if last.get("type") != "result":
        message = last.get("message") or reply.stderr.strip().splitlines()[-1:] or "no output"
        return {"problem": name, "verdict": "failed", "reason": str(message), "exit_code": reply.returncode}
    return last


def ratio(comparison: dict | None) -> str:
    if comparison is None or comparison.get("failure"):
        return "-"
    return f"{comparison['median']:.2f} [{comparison['lo']:.2f}, {comparison['hi']:.2f}]"


def row(result: dict) -> list[str]:
    by_name = {c["baseline"]: c for c in result.get("comparisons", [])}
    timing = result.get("timing")
    verdict = timing["verdict"] if timing else result.get("reason", "")
    cells = [result["problem"], result["verdict"], verdict]
    cells += [ratio(by_name.get(name)) for name in BASELINES]
    return cells + [f"{counted(result):.2f}", result.get("gain", "")]


def counted(result: dict) -> float:
    """The ratio that enters the mean: against the fastest baseline, 1.0 where the original stays."""
    timing = result.get("timing")
    if result["verdict"] != "verified" or not timing:
        return 1.0
    return float(timing["median"])


def print_table(rows: list[list[str]]) -> None:
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    for index, cells in enumerate(rows):
        print("| " + " | ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)) + " |")
        if index == 0:
            print("|" + "|".join("-" * (w + 2) for w in widths) + "|")


def machine() -> dict:
    model = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = f"{names[0]} ({len(names)} cores)" if names else ""
    return {"cpu": model, "system": platform.platform(), "python": platform.python_version()}


def versions() -> dict:
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str | None] = {}
    for name in ["torch", "onnxruntime", "onnx", "transformers"]:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def command_of(args: argparse.Namespace) -> str:
    flags = [f"--time {args.time:g}"] if args.time != DEFAULT_TIME_S else []
    flags += [
        str(Path(module).resolve().relative_to(ROOT)) if ROOT in Path(module).resolve().parents else module
        for module in args.modules
    ]
    return "make bench" + (f" BENCH_FLAGS='{' '.join(flags)}'" if flags else "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default=str(ROOT / "build/kernelwright"))
    parser.add_argument("--time", type=float, default=DEFAULT_TIME_S, help="wall clock for each module [s]")
    parser.add_argument("--networks", action="store_true", help="the transformers networks too")
    parser.add_argument("--output", help="write the results as JSON")
    parser.add_argument("modules", nargs="*")
    args = parser.parse_args()
    folder = ROOT / "build/bench"
    folder.mkdir(parents=True, exist_ok=True)
    results = []
    for source in sources(args):
        results.append(optimize(args, source, folder))
        print(" ".join(row(results[-1])), file=sys.stderr, flush=True)
    header = ["module", "verdict", "timing", *BASELINES, "counts as", "gain"]
    print_table([header, *map(row, results)])
    geomean = math.exp(sum(math.log(counted(r)) for r in results) / len(results))
    print(f"\ngeometric mean against the fastest baseline, originals counted as 1.0: {geomean:.3f}x of {len(results)}")
    if args.output:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout.strip()
        record = {
            "format": "kernelwright-results/1",
            "command": command_of(args),
            "commit": commit,
            "date": time.strftime("%Y-%m-%d"),
            "machine": machine(),
            "versions": versions(),
            "geometric_mean": geomean,
            "results": results,
        }
        for result in results:
            result["package"] = Path(result["package"]).name if result.get("package") else None
        Path(args.output).write_text(json.dumps(record, indent=1) + "\n")
    return 0 if all(r["verdict"] in ("verified", "fallback") for r in results) else 1


if __name__ == "__main__":
    sys.exit(main())
