"""python -m kernelwright.bench_worker: times a package against what the user would otherwise run.

stdin carries one JSON request (see BenchRequest in src/bench/bench.h); the last line of stdout is the result:
{"type": "bench", "a_a": [[s, s], ...], "comparisons": [{"baseline", "cold": [[baseline_s, candidate_s], ...],
"warm": [...], "failure"}], "note"} or {"type": "error", "id", "message", "hint"}. All are block means in seconds;
intervals and verdicts are computed by the caller. Candidate and baselines live in this one process.

On stderr, `limit: NAME SECONDS` says that what follows is NAME's work and ends within SECONDS. The caller holds it to
that: code that does not return to Python hears no alarm. Then it starts anew without NAME.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy
import torch

from kernelwright.baselines import PREPARERS, NotPrepared, Subject, agrees, flat_tensors, load_subject

Call = Callable[[int], Any]  # runs input set k, returns the outputs

INPUT_SETS = 3
_WARM_SAMPLE_S = 4e-3
_COLD_SAMPLE_LIMIT_S = 0.05
_WARM_UP_S = 0.2
_COLD_SAMPLE_CALLS = 2  # of long calls; short ones are repeated until they add up
_COLD_SAMPLE_S = 1e-3
_COLD_SAMPLE_MOST_CALLS = 8
_SETTLE_LIMIT_S = 0.1
_CORES: set[int] = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
_FLUSH_LIMIT_BYTES = 128 << 20
_LATE_S = 3.0  # how far slow modules may exceed their time to end with an interval
_A_A_SHARE = 0.25  # of the time that is left for measuring
_CONTENDER = 1.3  # where time is short, only baselines within this factor of the fastest go on after the first blocks
_FEW_BLOCKS = 2


@dataclass
class Blocks:
    """Block means [baseline_s, candidate_s], each with how often the scheduler interrupted it."""

    pairs: list[list[float]] = field(default_factory=list)
    switches: list[int] = field(default_factory=list)

    def undisturbed(self) -> list[list[float]]:
        """Whole blocks without involuntary context switches; where those are fewer than half, the calmer half."""
        limit = sorted(self.switches)[len(self.switches) // 2] if self.switches else 0
        return [pair for pair, count in zip(self.pairs, self.switches, strict=True) if count <= limit]


class Flush:
    """Writes more than the last-level cache holds, so that the next call finds nothing of its own in it.

    Every core writes its share (its own second cache is flushed too), by threads of this class and not by PyTorch's:
    those go on spinning for milliseconds after their work, on cores that the next call needs.
    """

    def __init__(self) -> None:
        cores = sorted(_CORES) or [0]
        total = max(min(2 * _last_level_bytes(), _FLUSH_LIMIT_BYTES), len(cores) << 21)
        self._parts = [(core, numpy.zeros(total // len(cores) // 4, numpy.float32)) for core in cores]
        self._threads = ThreadPoolExecutor(len(cores))

    def __call__(self) -> None:
        for _ in self._threads.map(self._write, self._parts):
            pass

    @staticmethod
    def _write(part: tuple[int, Any]) -> None:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {part[0]})
        numpy.add(part[1], 1.0, out=part[1])


def settle() -> None:
    """Waits, without sleeping, until no other thread of this process runs.

    PyTorch's, ONNX Runtime's and our own workers spin after a call for as long as each library likes; on few cores
    they would take the next call's core, whoever's it is. A process that runs one of them has no such neighbour.
    """
    end, own, calm = time.perf_counter() + _SETTLE_LIMIT_S, threading.get_native_id(), 0
    while calm < 2 and time.perf_counter() < end:
        calm = 0 if any(_is_running(thread) for thread in _other_threads(own)) else calm + 1


def _other_threads(own: int) -> list[str]:
    try:
        return [thread for thread in os.listdir("/proc/self/task") if int(thread) != own]
    except OSError:
        return []


def _is_running(thread: str) -> bool:
    try:
        with open(f"/proc/self/task/{thread}/stat", "rb") as file:
            return file.read(512).rpartition(b")")[2].split()[0] == b"R"
    except (OSError, IndexError):
        return False


def place_threads() -> None:
    """The caller on one core, every library's workers on the others: what a scheduler does at its best, for all alike.

    Left to itself it puts woken workers on the caller's core now and then, where they wait until the call is done.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    own, cores = threading.get_native_id(), sorted(_CORES)
    if len(cores) < 2:
        return
    for thread in _other_threads(own):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(int(thread), set(cores[1:]))
    os.sched_setaffinity(0, {cores[0]})


def _last_level_bytes() -> int:
    for index in (3, 2):
        try:
            with open(f"/sys/devices/system/cpu/cpu0/cache/index{index}/size", encoding="ascii") as file:
                return int(file.read().strip().removesuffix("K")) << 10
        except (OSError, ValueError):
            continue
    return 32 << 20


class Bench:
    """Measures blocks of two calls under one clock, and checks every output of the drop-in."""

    def __init__(self, subject: Subject, deadline_s: float, seed: int) -> None:
        self.subject = subject
        self.deadline_s = deadline_s
        self.random = random.Random(seed)
        self.flush = Flush()
        self._set = 0

    def in_time(self, late_s: float = 0.0) -> bool:
        return self.left_s() + late_s > 0

    def left_s(self) -> float:
        return self.deadline_s - time.monotonic()

    def warm_up(self, call: Call) -> float:
        """At least three calls and 0.2 s; returns the seconds of one call."""
        start, count = time.monotonic(), 0
        while count < 3 or time.monotonic() - start < _WARM_UP_S:
            call(count % INPUT_SETS)
            count += 1
        return (time.monotonic() - start) / count

    def _next_set(self) -> int:
        self._set = (self._set + 1) % INPUT_SETS
        return self._set

    def _check(self, call: Call, k: int, outputs: Any) -> None:
        if call is self.subject.candidate and not agrees(flat_tensors(outputs), self.subject.expected[k]):
            raise NotPrepared("an output that was timed is wrong")

    def cold_sample(self, call: Call) -> float:
        """Mean of a few calls, the caches flushed before each; outputs are checked off the clock."""
        total, count = 0.0, 0
        while count < _COLD_SAMPLE_CALLS or (total < _COLD_SAMPLE_S and count < _COLD_SAMPLE_MOST_CALLS):
            if total > _COLD_SAMPLE_LIMIT_S:
                break
            k = self._next_set()
            self.flush()
            settle()
            start = time.perf_counter()
            outputs = call(k)
            total += time.perf_counter() - start
            count += 1
            self._check(call, k, outputs)
        return total / count

    def warm_sample(self, call: Call, calls: int) -> float:
        kept = []
        settle()
        call(calls % INPUT_SETS)
        start = time.perf_counter()
        for i in range(calls):
            kept.append(call(i % INPUT_SETS))
            if len(kept) > INPUT_SETS:
                kept.pop(0)
        seconds = (time.perf_counter() - start) / calls
        self._check(call, (calls - 1) % INPUT_SETS, kept[-1])
        return seconds

    def block(self, baseline: Call, candidate: Call, sample: Callable[[Call], float], into: Blocks) -> None:
        """baseline, candidate, candidate, baseline, or the mirror image: drift cancels."""
        order = [0, 1, 1, 0] if self.random.random() < 0.5 else [1, 0, 0, 1]
        sums = [0.0, 0.0]
        before = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        for side in order:
            sums[side] += sample(candidate if side else baseline)
        into.switches.append(resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - before)
        into.pairs.append([sums[0] / 2, sums[1] / 2])


def tell(*lines: str) -> None:
    print(*lines, sep="\n", file=sys.stderr, flush=True)


def calls_for(seconds: float) -> int:
    return max(INPUT_SETS, min(10000, int(_WARM_SAMPLE_S / max(seconds, 1e-7)) + 1))


def measure_a_a(bench: Bench, blocks: int) -> list[list[float]]:
    """The drop-in against itself: what the machine's noise does to a ratio that must be 1."""
    candidate = bench.subject.candidate
    twin: Call = candidate
    kept = Blocks()
    place_threads()
    until = time.monotonic() + _A_A_SHARE * bench.left_s()
    for _ in range(2):  # one retry
        kept = Blocks()
        for _ in range(blocks):
            bench.block(twin, candidate, bench.cold_sample, kept)
            if time.monotonic() > until:
                break
        ratios = sorted(a / b for a, b in kept.undisturbed())
        if abs(ratios[len(ratios) // 2] - 1) <= 0.03:
            break
    return kept.undisturbed()


def measure(bench: Bench, calls: dict[str, Call], blocks: int) -> dict[str, tuple[Blocks, Blocks]]:
    """Blocks of every baseline in turn, in random order, until there are enough or the time is up."""
    candidate = bench.subject.candidate
    found = {name: (Blocks(), Blocks()) for name in calls}
    seconds = {name: bench.warm_up(call) for name, call in calls.items()}
    own_s = bench.warm_up(candidate)
    began = time.monotonic()
    for turn in range(blocks):
        place_threads()
        names = racing(bench, found, turn, time.monotonic() - began)
        bench.random.shuffle(names)
        for name in names:
            if turn > 0 and not bench.in_time(_LATE_S):
                return found
            cold, warm = found[name]
            bench.block(calls[name], candidate, bench.cold_sample, cold)
            if turn % 3 == 0 and bench.in_time():
                count = calls_for(min(seconds[name], own_s))
                bench.block(calls[name], candidate, lambda call, n=count: bench.warm_sample(call, n), warm)  # type: ignore[misc]
        if turn >= 4 and not bench.in_time():
            break
    return found


def racing(bench: Bench, found: dict[str, tuple[Blocks, Blocks]], turn: int, spent_s: float) -> list[str]:
    """Who is measured in this turn: all, unless so few more turns of all fit that the contenders need their time."""
    if turn < _FEW_BLOCKS or bench.left_s() > 8 * spent_s / turn:
        return list(found)
    ratios = {name: sorted(a / b for a, b in cold.pairs)[len(cold.pairs) // 2] for name, (cold, _) in found.items()}
    return [name for name, ratio in ratios.items() if ratio <= _CONTENDER * min(ratios.values())]


def prepare(
    subject: Subject, names: list[str], limit_s: float, deadline_s: float
) -> tuple[dict[str, Call], dict[str, str]]:
    """Every baseline that can be prepared and whose outputs agree with eager's; the others with the reason."""
    calls: dict[str, Call] = {}
    failures: dict[str, str] = {}
    for name in names:
        left_s = min(limit_s, deadline_s - time.monotonic())
        try:
            if left_s <= 1 and name != "eager":
                raise NotPrepared("no time was left to prepare it")
            tell(f"progress: preparing {name}", f"limit: {name} {max(left_s, 10.0):.1f}")
            calls[name] = PREPARERS[name](subject, max(left_s, 10.0))
        except KeyError:
            failures[name] = "there is no such baseline"
        except NotPrepared as error:
            failures[name] = str(error)
    return calls, failures


def run(request: dict[str, Any]) -> dict[str, Any]:
    start = time.monotonic()
    torch.set_num_threads(request["threads"])
    with torch.no_grad():
        subject = load_subject(request, INPUT_SETS)
        # Preparing may take up to 60% of the time; measuring needs the rest.
        prepare_until = start + 0.6 * request["time_s"]
        calls, failures = prepare(subject, request["baselines"], request["baseline_limit_s"], prepare_until)
        tell("progress: timing", "limit: - 0")
        bench = Bench(subject, start + request["time_s"], request["seed"])
        bench.warm_up(subject.candidate)
        a_a = measure_a_a(bench, max(10, request["blocks"]))
        found = measure(bench, calls, request["blocks"])
    comparisons = []
    for name in request["baselines"]:
        row: dict[str, Any] = {"baseline": name, "failure": failures.get(name, "")}
        if name in found:
            row["cold"], row["warm"] = (blocks.undisturbed() for blocks in found[name])
        comparisons.append(row)
    return {"type": "bench", "a_a": a_a, "comparisons": comparisons, "note": subject.note}


def main() -> int:
    reply = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the frameworks print is no part of the reply
    from kernelwright.faults import Fault

    try:
        result = run(json.loads(sys.stdin.read()))
    except Fault as fault:
        result = fault.as_json()
    except NotPrepared as error:
        result = {"type": "error", "id": "bench.output", "message": str(error), "hint": ""}
    reply.write(json.dumps(result) + "\n")
    reply.flush()
    # Compilers leave worker processes and threads behind; the result is out, so nothing waits for them.
    os._exit(0 if result["type"] == "bench" else 2)


if __name__ == "__main__":
    sys.exit(main())
