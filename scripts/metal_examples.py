#!/usr/bin/env python3
"""Optimises every example module for Metal on the emulator, in float32 and in half precision, and keeps what came out.

    scripts/metal_examples.py -o results/metal-examples.json       # all; `--only NAME`, `--dtype f16` for a part
    scripts/metal_examples.py --table results/metal-examples.json  # the table in docs/metal-on-a-mac.md

Times in the result are predicted by a model for a chip, never measured. Rows that are already in the file are kept, so
that an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DTYPES = {"f32": "", "f16": "half", "bf16": "bfloat16"}

WRAPPER = """import importlib.util

import torch

_spec = importlib.util.spec_from_file_location("original", {path!r})
original = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(original)


def factory():
    if hasattr(original, "factory"):
        module, inputs = original.factory()
    else:
        module, inputs = original.Model(*original.get_init_inputs()).eval(), tuple(original.get_inputs())
    return module.{change}(), tuple(x.{change}() if x.is_floating_point() else x for x in inputs)
"""


def source_of(name: str, dtype: str, folder: Path) -> Path:
    path = ROOT / "examples" / "modules" / f"{name}.py"
    if dtype == "f32":
        return path
    wrapped = folder / f"{name}_{dtype}.py"
    wrapped.write_text(WRAPPER.format(path=str(path), change=DTYPES[dtype]))
    return wrapped


def optimise(args: argparse.Namespace, name: str, dtype: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        command = [args.binary, "optimize", source_of(name, dtype, folder), "--target", "metal", "--chip", args.chip]
        command += ["-o", folder / "out.kw", "--time", str(args.time), "--json", "--no-progress"]
        reply = subprocess.run([str(word) for word in command], cwd=folder, capture_output=True, text=True, check=False)
        lines = reply.stdout.strip().splitlines()
        result = json.loads(lines[-1]) if lines else {"reason": reply.stderr.strip()}
        row = {"module": name, "dtype": dtype, "chip": args.chip, "verdict": result.get("verdict", "failed")}
        row["reason"] = result.get("reason") or result.get("message", "")
        for key in ("accuracy", "timing", "predicted", "notes"):
            row[key] = result.get(key)
        if (folder / "out.kw").exists():
            with zipfile.ZipFile(folder / "out.kw") as package:
                certificate = json.loads(package.read("certificate.json"))
            row["gates"] = {gate["gate"]: gate["text"] for gate in certificate["gates"]}
            row["cases"] = sum(suite["shown"] for suite in certificate["suites"])
        return row


def save(path: Path, rows: list[dict[str, Any]]) -> None:
    date = datetime.date.today().isoformat()
    content = {
        "format": "kernelwright-results/1",
        "command": "scripts/metal_examples.py",
        "date": date,
        "results": rows,
    }
    path.write_text(json.dumps(content, indent=1) + "\n")


def table_of(rows: list[dict[str, Any]]) -> str:
    lines = ["| module | type | verdict | error | PyTorch's | kernels | predicted, chip |", "| --- |" + " --- |" * 6]
    for row in rows:
        accuracy, predicted = row.get("accuracy") or {}, row.get("predicted") or {}
        error = [f"{accuracy.get(key, 0):.1e}" for key in ("rms", "framework_rms")]
        time = f"{1e6 * predicted['seconds']:.0f} us, {row['chip']}" if predicted.get("steps") else "-"
        kernels = len(predicted.get("steps", [])) or "-"
        verdict = row["verdict"] + (f": {row['reason']}" if row["verdict"] != "verified" else "")
        lines.append(f"| {row['module']} | {row['dtype']} | {verdict} | {error[0]} | {error[1]} | {kernels} | {time} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "results" / "metal-examples.json")
    parser.add_argument("--table", type=Path, help="print the table of a result file and run nothing")
    parser.add_argument("--only", action="append", help="a module's name (repeat for several)")
    parser.add_argument("--dtype", action="append", choices=list(DTYPES), help="default: f32 and f16")
    parser.add_argument("--chip", default="m3")
    parser.add_argument("--time", type=float, default=300, help="wall clock for each module [s]")
    parser.add_argument("--binary", default=str(ROOT / "build" / "kernelwright"))
    args = parser.parse_args()
    if args.table:
        print(table_of(json.loads(args.table.read_text())["results"]))
        return 0
    rows = json.loads(args.output.read_text())["results"] if args.output.exists() else []
    names = args.only or (ROOT / "examples" / "modules" / "ORDER").read_text().split()
    for dtype in args.dtype or ["f32", "f16"]:
        for name in names:
            if any(r["module"] == name and r["dtype"] == dtype and r["verdict"] == "verified" for r in rows):
                continue
            rows = [r for r in rows if (r["module"], r["dtype"]) != (name, dtype)]
            rows.append(optimise(args, name, dtype))
            save(args.output, rows)
            print(f"{name} {dtype}: {rows[-1]['verdict']} {rows[-1]['reason']}", file=sys.stderr, flush=True)
    return 0 if all(row["verdict"] == "verified" for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
