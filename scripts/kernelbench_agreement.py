"""Does the float64 interpreter agree with PyTorch in float64 on every KernelBench problem?

    python scripts/kernelbench_agreement.py PATH/TO/KernelBench --out agreement.json [--levels 1 2 3] [--only 1_19]

Sizes are shrunk so that each problem takes seconds: module-level integers of a file are capped, and names that
speak of a batch become 2. The smallest cap at which PyTorch itself runs is taken; it is written down for each problem.
"""

from __future__ import annotations

import argparse
import ast
import itertools
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "python"))
import aten_harness as harness  # noqa: E402

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


def examine(path: Path, folder: Path) -> dict[str, Any]:
    """One problem's record: agrees, differs, refused (with the reason) or failed.

    A size so small that cancellation leaves only roundoff shows little, so a larger one is tried, once.
    """
    record: dict[str, Any] = {}
    for attempt, size in enumerate(itertools.islice(running_sizes(path.read_text()), 2)):
        tried = examine_size(path, folder / str(attempt), *size)
        record = record or tried
        if tried["status"] != "agrees within the bound":
            return tried
    return record


def examine_size(
    path: Path, folder: Path, module: torch.nn.Module, inputs: list[Any], shrunk: dict[str, Any]
) -> dict[str, Any]:
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
    status = "differs" if outcome.faults else "agrees"
    if outcome.faults and not harness.judge([case], folder / path.stem, reply, exact=False)[0].faults:
        # Cancellation leaves nothing but roundoff (a norm over one element, say): the bound says so.
        status = "agrees within the bound"
    return {
        "status": status,
        "reason": "; ".join(outcome.faults[:2]),
        "worst": outcome.worst,
        "nodes": reply["nodes"],
        **shrunk,
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
    parser.add_argument("--only", nargs="*", default=[], help="LEVEL_NUMBER of the problems to run")
    parser.add_argument("--limit", type=int, default=90, help="seconds for each problem")
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, too_long)
    records: dict[str, Any] = {}
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
                    record = examine(path, Path(folder))
                except Exception as error:  # noqa: BLE001 (one problem must not end the run)
                    record = {"status": "failed", "reason": str(error)[:200]}
                finally:
                    signal.alarm(0)
            records[key] = {"name": path.stem, **record, "seconds": round(time.monotonic() - start, 2)}
            print(key, records[key]["status"], record.get("reason", ""), flush=True)
            options.out.write_text(json.dumps(summary(records), indent=1) + "\n")
    return 0


def summary(records: dict[str, Any]) -> dict[str, Any]:
    return {"torch": torch.__version__, "counts": Counter(r["status"] for r in records.values()), "problems": records}


if __name__ == "__main__":
    sys.exit(main())
