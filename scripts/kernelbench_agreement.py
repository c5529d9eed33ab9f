"""Does the float64 interpreter agree with PyTorch in float64 on every KernelBench problem?

    python scripts/kernelbench_agreement.py PATH/TO/KernelBench --out agreement.json [--levels 1 2 3] [--only 1_19]

Sizes are shrunk so that each problem takes seconds: module-level integers of a file are capped, and names that
speak of a batch become 2. The smallest cap at which PyTorch itself runs is taken; it is written down for each problem.
Where the two differ by more than 1e-12 of an output's largest value, long double arbitrates: an output on which PyTorch
itself is as far from it is ill-conditioned (cancellation leaves only roundoff), else the interpreter is at fault.
"""

from __future__ import annotations

import argparse
import ast
import json
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "python"), str(ROOT / "python")]
import aten_harness as harness  # noqa: E402
import long_double  # noqa: E402
from kernelwright.capture import with_tensor_attributes_as_buffers  # noqa: E402

# Caps of plain sizes and of batch sizes; None leaves all but height and width. The last serve equal sizes.
CAPS = ((8, 2), (16, 2), (32, 2), (64, 2), (128, 2), (256, 2), (None, 2), (8, 8), (64, 64))
INPUT_LIMIT = 1 << 22  # elements


class Shrink(ast.NodeTransformer):
    """Caps the integers of module-level assignments."""

    def __init__(self, cap: int | None, batch_cap: int) -> None:
        self.cap = cap
        self.batch_cap = batch_cap
        self.changed: dict[str, str] = {}

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:  # noqa: N802 (ast's name)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:  # noqa: N802 (ast's name)
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.Assign:  # noqa: N802 (ast's name)
        name = ast.unparse(node.targets[0])
        before = ast.unparse(node.value)
        batch = "batch" in name.lower() or name == "N"
        cap = 32 if self.cap is None and name in ("height", "width") else self.cap
        if cap is not None and "group" in name:
            cap = 4  # a group of one element normalises to nothing
        for leaf in ast.walk(node.value):
            if isinstance(leaf, ast.Constant) and type(leaf.value) is int:
                limit = self.batch_cap if batch else cap
                leaf.value = leaf.value if limit is None else min(leaf.value, limit)
        if ast.unparse(node.value) != before:
            self.changed[name] = f"{before} -> {ast.unparse(node.value)}"
        return node


def to_double(value: Any) -> Any:
    return value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def instantiate(source: str, cap: int | None, batch_cap: int) -> tuple[torch.nn.Module, list[Any], dict[str, str]]:
    """The problem's module and inputs in float64 at a shrunken size. Raises what the problem's code raises."""
    shrink = Shrink(cap, batch_cap)
    tree = ast.fix_missing_locations(shrink.visit(ast.parse(source)))
    space: dict[str, Any] = {"__name__": "problem"}
    torch.set_default_dtype(torch.float64)  # tensors that forward itself makes are float64 too
    exec(compile(tree, "problem.py", "exec"), space)  # noqa: S102 (the benchmark's own code)
    torch.manual_seed(0)
    inputs = [to_double(x) for x in space["get_inputs"]()]
    if sum(x.numel() for x in inputs if isinstance(x, torch.Tensor)) > INPUT_LIMIT:
        raise ValueError("too large")
    module = space["Model"](*[to_double(x) for x in space["get_init_inputs"]()]).double()
    with torch.no_grad():
        results = harness.leaves(module(*inputs))
    if not results or any(r.numel() == 0 for r in results):
        raise ValueError("empty result")
    return module, inputs, shrink.changed


def running_sizes(source: str) -> Iterator[tuple[torch.nn.Module, list[Any], dict[str, Any]]]:
    """Every cap at which PyTorch runs, smallest first."""
    found = False
    last: Exception | None = None
    for cap, batch_cap in CAPS:
        try:
            module, inputs, changed = instantiate(source, cap, batch_cap)
        except Exception as error:  # noqa: BLE001 (a size that does not fit is tried larger)
            last = last or error
            continue
        found = True
        yield module, inputs, {"cap": cap, "batch": batch_cap, "changed": changed}
    if not found:
        raise RuntimeError(f"no size runs: {last}")


def examine(path: Path, folder: Path, most_sizes: int) -> dict[str, Any]:
    """One problem's record: agrees, ill-conditioned, differs, refused (with the reason) or failed.

    A size so small that cancellation leaves only roundoff shows little, so larger ones are tried.
    """
    record: dict[str, Any] = {}
    seen = set()
    for attempt, (module, inputs, shrunk) in enumerate(running_sizes(path.read_text())):
        shapes = str([x.shape for x in inputs if isinstance(x, torch.Tensor)]) + str(
            sum(1 for _ in module.parameters())
        )
        if shapes in seen or len(seen) == most_sizes:
            continue
        seen.add(shapes)
        tried = examine_size(path, folder / str(attempt), module, inputs, shrunk)
        if tried["status"] != "ill-conditioned":
            return tried
        record = min(record or tried, tried, key=lambda r: r["worst"])
    return record


def examine_size(
    path: Path, folder: Path, module: torch.nn.Module, inputs: list[Any], shrunk: dict[str, Any]
) -> dict[str, Any]:
    module = with_tensor_attributes_as_buffers(module)  # as the product exports it
    tensors = [x for x in inputs if isinstance(x, torch.Tensor)]
    if len(tensors) != len(inputs):
        fixed, call = inputs, module.forward
        module.forward = lambda *xs: call(*merge(fixed, xs))  # type: ignore[method-assign]
    case = harness.Case(path.stem, module, tensors)
    try:
        job = harness.write_job(harness.Group([case]), tensors, folder / path.stem)
    except Exception as error:  # noqa: BLE001 (torch.export fails in many ways)
        return {"status": "not exported", "reason": str(error).split("\n")[0][:200], **shrunk}
    reply = harness.evaluate([job])[0]
    if not reply["ok"]:
        refused = reply["id"] == "import.random"
        return {"status": "refused" if refused else "failed", "reason": f"{reply['id']}: {reply['message']}", **shrunk}
    outcome = harness.judge([case], folder / path.stem, reply, exact=True)[0]
    record = {"reason": "; ".join(outcome.faults[:2]), "worst": outcome.worst, "nodes": reply["nodes"], **shrunk}
    if not outcome.faults:
        return {"status": "agrees", **record}
    within = not harness.judge([case], folder / path.stem, reply, exact=False)[0].faults
    evidence = arbitrate(case, folder / path.stem, reply) if within else []
    excused = within and bool(evidence) and all(row["pytorch"] > FAR or row["ours"] <= FAR for row in evidence)
    return {"status": "ill-conditioned" if excused else "differs", **record, "evidence": evidence}


FAR = harness.RELATIVE / 2  # two results this far from the truth may be RELATIVE apart


def arbitrate(case: harness.Case, folder: Path, reply: dict[str, Any]) -> list[dict[str, Any]]:
    """How far PyTorch and the interpreter are from long double, on each output on which they differ."""
    program = torch.export.load(folder / "model.pt2")
    user, states = long_double.truth(program, case.inputs)
    results, buffers = harness.expected_outputs(harness.Group([case]), case.inputs)
    theirs, true = iter(results[0]), iter(user)
    rows = []
    for index, described in enumerate(reply["outputs"]):
        name = described["state"]
        want, exact = (buffers[name], states[name]) if name else (next(theirs), next(true))
        value, bound = harness.read_output(folder, index, described["shape"])
        if harness.compare(want, value, bound, exact=True)[0]:
            rows.append(distances(name.removeprefix("cases.0.") or f"output {index}", want.numpy(), value, exact))
    return rows


def distances(name: str, theirs: Any, ours: Any, exact: Any) -> dict[str, Any]:
    """Errors relative to the largest true value. `largest` tells an output that is zero but for roundoff."""
    largest = abs(exact).max()
    scale = max(largest, long_double.LD("1e-4000"))
    return {
        "output": name,
        "largest": float(largest),
        "pytorch": float(min(abs(theirs - exact).max() / scale, long_double.LD(1e300))),
        "ours": float(min(abs(ours - exact).max() / scale, long_double.LD(1e300))),
        "between": float(abs(theirs - ours).max() / max(abs(theirs).max(), 1e-300)),
    }


def merge(fixed: list[Any], tensors: tuple[torch.Tensor, ...]) -> list[Any]:
    """The tensors back among the arguments that are none."""
    at = iter(tensors)
    return [next(at) if isinstance(x, torch.Tensor) else x for x in fixed]


def too_long(*_: Any) -> None:
    raise TimeoutError("over the time limit")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="a checkout of KernelBench")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--levels", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--only", nargs="*", default=[], help="LEVEL_NUMBER of the problems to run anew")
    parser.add_argument("--limit", type=int, default=300, help="seconds for each problem")
    parser.add_argument("--sizes", type=int, default=4, help="how many to try while one is ill-conditioned")
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, too_long)
    earlier = json.loads(options.out.read_text())["problems"] if options.only and options.out.exists() else {}
    records: dict[str, Any] = earlier
    for level in options.levels:
        files = (options.path / "KernelBench" / f"level{level}").glob("*.py")
        for path in sorted(files, key=lambda p: int(p.stem.split("_")[0])):
            key = f"{level}_{path.stem.split('_')[0]}"
            if options.only and key not in options.only:
                continue
            start = time.monotonic()
            signal.alarm(options.limit)
            with tempfile.TemporaryDirectory() as folder:
                try:
                    record = examine(path, Path(folder), options.sizes)
                except Exception as error:  # noqa: BLE001 (one problem must not end the run)
                    record = {"status": "failed", "reason": str(error)[:200]}
                finally:
                    signal.alarm(0)
            records[key] = {"name": path.stem, **record, "seconds": round(time.monotonic() - start, 2)}
            print(key, records[key]["status"], record.get("reason", ""), flush=True)
            options.out.write_text(json.dumps(summary(records), indent=1) + "\n")
    return 0


def summary(records: dict[str, Any]) -> dict[str, Any]:
    """What results/kernelbench-agreement.json holds."""
    git = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    return {
        "kind": "kernelbench-agreement",
        "command": "python scripts/kernelbench_agreement.py KERNELBENCH --out results/kernelbench-agreement.json",
        "commit": subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip(),
        "date": time.strftime("%Y-%m-%d"),
        "device": device(),
        "versions": {"torch": torch.__version__, "numpy": numpy.__version__, "python": platform.python_version()},
        "relative": harness.RELATIVE,
        "long_double_bits": int(numpy.finfo(long_double.LD).nmant) + 1,
        "counts": Counter(r["status"] for r in records.values()),
        "problems": records,
    }


def device() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else platform.processor()


if __name__ == "__main__":
    sys.exit(main())
