"""python -m kernelwright.suite PATH --out DIR: exports every KernelBench problem with parameters that hold no data.

Each problem is exported in a forked child with a time limit, into DIR/<level>_<id>/ (model.pt2 and problem.json, or
error.json). stdout carries one JSON line for each problem and a last one with the counts.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import tempfile
import time
from typing import Any

from kernelwright.export import _claim_stdout, run
from kernelwright.faults import Fault, first_line


def find_problems(path: str, levels: list[int]) -> list[tuple[int, int, str]]:
    """(level, id, file) for each `level<N>/<id>_*.py` below PATH or PATH/KernelBench, in order."""
    found = []
    for level in levels:
        for root in (path, os.path.join(path, "KernelBench")):
            folder = os.path.join(root, f"level{level}")
            names = os.listdir(folder) if os.path.isdir(folder) else []
            matches = [(re.match(r"(\d+)_.*\.py$", name), name) for name in names]
            found += [(level, int(m.group(1)), os.path.join(folder, name)) for m, name in matches if m]
    return sorted(found)


def _export_in_child(file: str, folder: str) -> None:
    """The child's whole life: exports and leaves error.json where that fails."""
    try:
        run(file, folder, "auto", 0, True, 0)
    except Fault as fault:
        _write_error(folder, fault.as_json())
    except Exception as error:
        _write_error(folder, Fault("export.failed", first_line(error)).as_json())


def _write_error(folder: str, error: dict[str, Any]) -> None:
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "error.json"), "w", encoding="utf-8") as file:
        json.dump(error, file)


def _start(file: str, folder: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        _export_in_child(file, folder)
    finally:
        os._exit(0)


def _wait(pid: int, timeout_s: float) -> bool:
    """Whether the child ended by itself within its time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        done, _ = os.waitpid(pid, os.WNOHANG)
        if done:
            return True
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return False


def _outcome(folder: str, finished: bool, timeout_s: float) -> dict[str, Any]:
    error = os.path.join(folder, "error.json")
    if os.path.exists(os.path.join(folder, "problem.json")):
        return {"type": "export"}
    if not os.path.exists(error):
        message = "the export died" if finished else f"the export took longer than {timeout_s:.0f} s"
        _write_error(folder, Fault("export.timeout" if not finished else "export.killed", message).as_json())
    with open(error, encoding="utf-8") as file:
        return json.load(file)


def _warm_up() -> None:
    """Loads all that an export loads, once for every child. One thread: a fork would lose a pool's workers."""
    import torch

    import kernelwright.capture
    import kernelwright.domains  # noqa: F401

    torch.set_num_threads(1)
    module = torch.nn.Linear(2, 2, device="meta")
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        program = torch.export.export(module, (torch.empty(1, 2, device="meta"),)).run_decompositions({})
        torch.export.save(program, os.path.join(folder, "warm.pt2"))


def export_suite(problems: list[tuple[int, int, str]], out: str, timeout_s: float) -> Any:
    """Yields one outcome for each problem."""
    _warm_up()
    for level, number, file in problems:
        folder = os.path.join(out, f"{level}_{number}")
        for stale in ("error.json", "problem.json"):
            if os.path.exists(os.path.join(folder, stale)):
                os.remove(os.path.join(folder, stale))
        start = time.monotonic()
        finished = _wait(_start(file, folder), timeout_s)
        outcome = _outcome(folder, finished, timeout_s)
        seconds = round(time.monotonic() - start, 2)
        yield {**outcome, "problem": f"{level}_{number}", "file": file, "folder": folder, "seconds": seconds}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m kernelwright.suite", description=__doc__)
    parser.add_argument("path", help="a KernelBench checkout")
    parser.add_argument("--out", required=True)
    parser.add_argument("--levels", default="1,2,3")
    parser.add_argument("--only", default="", help="such as 3_29,3_33")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for one problem")
    options = parser.parse_args(argv)
    reply = _claim_stdout()
    problems = find_problems(options.path, [int(level) for level in options.levels.split(",")])
    wanted = {name for name in options.only.split(",") if name}
    problems = [p for p in problems if not wanted or f"{p[0]}_{p[1]}" in wanted]
    if not problems:
        missing = Fault("suite.missing", f"`{options.path}` holds no KernelBench problems", "give a checkout of it")
        reply.write(json.dumps(missing.as_json()) + "\n")
        return 2
    exported = 0
    for outcome in export_suite(problems, options.out, options.timeout):
        exported += outcome["type"] == "export"
        reply.write(json.dumps(outcome) + "\n")
        reply.flush()
    reply.write(json.dumps({"type": "result", "exported": exported, "problems": len(problems)}) + "\n")
    reply.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
