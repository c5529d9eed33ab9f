"""python -m kernelwright.suite PATH --out DIR: exports every KernelBench problem with parameters that hold no data.

torch is imported once; each problem is exported in a forked child with limits of time and memory, several at once, into
DIR/<level>_<id>/ (model.pt2 and problem.json, or error.json). stdout carries one JSON line for each problem, as they
end, and a last one with the counts.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from kernelwright.export import _claim_stdout, run
from kernelwright.faults import Fault, first_line

Named = tuple[int, int, str]  # level, number, file
_POLL_S = 0.02


def find_problems(path: str, levels: list[int]) -> list[Named]:
    """(level, id, file) for each `level<N>/<id>_*.py` below PATH or PATH/KernelBench, in order."""
    found = []
    for level in levels:
        for root in (path, os.path.join(path, "KernelBench")):
            folder = os.path.join(root, f"level{level}")
            names = os.listdir(folder) if os.path.isdir(folder) else []
            matches = [(re.match(r"(\d+)_.*\.py$", name), name) for name in names]
            found += [(level, int(m.group(1)), os.path.join(folder, name)) for m, name in matches if m]
    return sorted(found)


@dataclass
class Limits:
    """What one export may take."""

    seconds: float
    memory_bytes: int


@dataclass
class Child:
    """An export that runs."""

    name: str
    file: str
    folder: str
    pid: int
    started: float


def _export_in_child(file: str, folder: str, mode: str, limits: Limits) -> None:
    """The child's whole life: exports and leaves error.json where that fails."""
    resource.setrlimit(resource.RLIMIT_DATA, (limits.memory_bytes, limits.memory_bytes))
    try:
        run(file, folder, mode, 0, True, 0)
    except Fault as fault:
        _write_error(folder, fault)
    except MemoryError:
        _write_error(folder, Fault("export.memory", "the export needs more memory than it may take"))
    except Exception as error:
        _write_error(folder, Fault("export.failed", first_line(error)))


def _write_error(folder: str, fault: Fault) -> None:
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "error.json"), "w", encoding="utf-8") as file:
        json.dump(fault.as_json(), file)


def _start(problem: Named, out: str, mode: str, limits: Limits) -> Child:
    level, number, file = problem
    name = f"{level}_{number}"
    folder = os.path.join(out, name)
    for stale in ("error.json", "problem.json"):
        if os.path.exists(os.path.join(folder, stale)):
            os.remove(os.path.join(folder, stale))
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        try:
            _export_in_child(file, folder, mode, limits)
        finally:
            os._exit(0)
    return Child(name, file, folder, pid, started)


def _ended(child: Child, limits: Limits) -> Fault | None:
    """What to say of a child that left no word of its own; None while it runs. Kills one that is over its time."""
    done, status = os.waitpid(child.pid, os.WNOHANG)
    if done:
        signal_number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        cause = f"by signal {signal_number}" if signal_number else "without a word"
        return Fault("export.killed", f"the export ended {cause}", "most likely for want of memory")
    if time.monotonic() - child.started < limits.seconds:
        return None
    os.kill(child.pid, signal.SIGKILL)
    os.waitpid(child.pid, 0)
    return Fault("export.timeout", f"the export took longer than {limits.seconds:.0f} s")


def _outcome(child: Child, silent: Fault) -> dict[str, Any]:
    """One problem's line."""
    error = os.path.join(child.folder, "error.json")
    said: dict[str, Any] = {"type": "export"}
    if not os.path.exists(os.path.join(child.folder, "problem.json")):
        if not os.path.exists(error):
            _write_error(child.folder, silent)
        with open(error, encoding="utf-8") as file:
            said = json.load(file)
    seconds = round(time.monotonic() - child.started, 2)
    return {**said, "problem": child.name, "file": child.file, "folder": child.folder, "seconds": seconds}


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


def export_suite(problems: Iterable[Named], out: str, mode: str, jobs: int, limits: Limits) -> Iterator[dict[str, Any]]:
    """Yields one outcome for each problem, in the order in which they end; at most `jobs` run at once."""
    _warm_up()
    waiting, running = list(reversed(list(problems))), list[Child]()
    while waiting or running:
        while waiting and len(running) < jobs:
            running.append(_start(waiting.pop(), out, mode, limits))
        time.sleep(_POLL_S)
        for child in list(running):
            silent = _ended(child, limits)
            if silent is not None:
                running.remove(child)
                yield _outcome(child, silent)


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def parse_options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m kernelwright.suite", description=__doc__)
    parser.add_argument("path", help="a KernelBench checkout")
    parser.add_argument("--out", required=True)
    parser.add_argument("--levels", default="1,2,3")
    parser.add_argument("--only", default="", help="such as 3_29,3_33")
    parser.add_argument("--mode", choices=("train", "eval", "auto"), default="auto")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="exports at once")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds for one problem")
    return parser.parse_args(argv)


def wanted_problems(options: argparse.Namespace) -> list[Named]:
    problems = find_problems(options.path, [int(level) for level in options.levels.split(",")])
    wanted = {name for name in options.only.split(",") if name}
    return [p for p in problems if not wanted or f"{p[0]}_{p[1]}" in wanted]


def main(argv: list[str] | None = None) -> int:
    options = parse_options(argv)
    reply = _claim_stdout()

    def say(line: dict[str, Any]) -> None:
        reply.write(json.dumps(line) + "\n")
        reply.flush()

    problems = wanted_problems(options)
    if not problems:
        hint = "give a checkout that holds KernelBench/level1 to level3"
        say(Fault("suite.missing", f"`{options.path}` holds no KernelBench problems", hint).as_json())
        return 2
    jobs = max(1, options.jobs)
    limits = Limits(options.timeout, _memory_bytes() * 3 // 4 // jobs)
    exported = 0
    for outcome in export_suite(problems, options.out, options.mode, jobs, limits):
        exported += outcome["type"] == "export"
        say(outcome)
    say({"type": "result", "exported": exported, "problems": len(problems)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
