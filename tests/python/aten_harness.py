"""Exports op cases in groups, evaluates them with kw_eval in one process, and compares with PyTorch."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: F401, N812 (cases name it)
from aten_cases import FUNCTIONS, MODULES, draw
from torch import nn

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "python"))

from kernelwright import capture  # noqa: E402

KW_EVAL = Path(os.environ.get("KERNELWRIGHT_BUILD", REPOSITORY / "build")) / "kw_eval"
RELATIVE = 1e-12
ROUNDING = ("half", "bfloat16", "float()", "hann_window")  # PyTorch itself rounds below float64 on the way


class Lambda(nn.Module):
    """A case's expression as a module."""

    def __init__(self, source: str, arity: int) -> None:
        super().__init__()
        self.function = eval(f"lambda {', '.join('xyzw'[:arity])}: {source}")  # noqa: S307 (our own table)

    def forward(self, *args: torch.Tensor) -> Any:
        return self.function(*args)


@dataclass
class Case:
    """One row of the table, built: a module, its inputs, and its name."""

    name: str
    module: nn.Module
    inputs: list[torch.Tensor]


class Group(nn.Module):
    """Several cases as one module, so that one export serves them all."""

    def __init__(self, cases: Sequence[Case]) -> None:
        super().__init__()
        self.cases = nn.ModuleList(case.module for case in cases)
        self.counts = [len(case.inputs) for case in cases]

    def forward(self, *args: torch.Tensor) -> list[list[torch.Tensor]]:
        results, at = [], 0
        for case, count in zip(self.cases, self.counts, strict=True):
            results.append(leaves(case(*args[at : at + count])))
            at += count
        return results


def leaves(value: Any) -> list[torch.Tensor]:
    """The tensors of a nested result, in order."""
    return [t for t in torch.utils._pytree.tree_leaves(value) if isinstance(t, torch.Tensor)]


def build_cases(dtype: torch.dtype, names: Sequence[str] | None = None) -> list[Case]:
    """Every case of the tables with fresh inputs and weights."""
    generator = torch.Generator().manual_seed(1)
    torch.manual_seed(2)
    cases = []
    for source, *specs in FUNCTIONS:
        inputs = [draw(spec, dtype, generator) for spec in specs]
        cases.append(Case(source, Lambda(source, len(specs)), inputs))
    for source, mode, *specs in MODULES:
        module = eval(source).to(dtype)  # noqa: S307 (our own table)
        module.train(mode == "train")
        redraw_buffers(module, generator)
        inputs = [draw(spec, dtype, generator) for spec in specs]
        cases.append(Case(f"{source}, {mode}", module, inputs))
    return [c for c in cases if names is None or any(name in c.name for name in names)]


def redraw_buffers(module: nn.Module, generator: torch.Generator) -> None:
    """Running statistics away from their defaults, so that reading them wrongly shows."""
    for name, buffer in module.named_buffers():
        if buffer.is_floating_point():
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + (0.5 if "var" in name else -0.5))


@dataclass
class Outcome:
    """What became of one case: empty faults mean agreement."""

    name: str
    faults: list[str] = field(default_factory=list)
    worst: float = 0.0


def export(module: nn.Module, inputs: Sequence[torch.Tensor], path: Path) -> None:
    """Saves the functional program, as the product does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = capture.trace(module, tuple(inputs), {}, strict=False).run_decompositions({})
        torch.export.save(program, path)


def write_job(module: nn.Module, inputs: Sequence[torch.Tensor], folder: Path) -> str:
    """Exports into `folder`, writes the inputs beside, and returns kw_eval's job line."""
    folder.mkdir(parents=True)
    export(copy.deepcopy(module), inputs, folder / "model.pt2")
    for i, tensor in enumerate(inputs):
        raw = tensor.detach().contiguous()
        if raw.dtype == torch.bfloat16:
            raw = raw.view(torch.int16)
        (folder / f"in_{i}.bin").write_bytes(raw.numpy().tobytes())
    return f"{folder / 'model.pt2'} {folder}"


def evaluate(jobs: Sequence[str]) -> list[dict[str, Any]]:
    """One kw_eval process for all jobs."""
    done = subprocess.run([str(KW_EVAL)], input="\n".join(jobs), capture_output=True, text=True, check=False)
    replies = [json.loads(line) for line in done.stdout.splitlines()]
    missing = {"ok": False, "id": "crash", "message": f"kw_eval ended with {done.returncode}: {done.stderr[-500:]}"}
    return replies + [missing] * (len(jobs) - len(replies))


def expected_outputs(module: nn.Module, inputs: Sequence[torch.Tensor]) -> tuple[list[list[torch.Tensor]], Any]:
    """PyTorch's own results, and the module's buffers after the call."""
    twin = copy.deepcopy(module)
    with torch.no_grad():
        results = twin(*[t.clone() for t in inputs])
    return results, dict(twin.named_buffers())


def read_output(folder: Path, index: int, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Value and bound of output `index`."""
    value = np.fromfile(folder / f"out_{index}.f64").reshape(shape)
    bound = np.fromfile(folder / f"bound_{index}.f64")
    return value, bound.reshape(shape) if bound.size else np.zeros(shape)


def compare(want: torch.Tensor, value: np.ndarray, bound: np.ndarray, exact: bool) -> tuple[str, float]:
    """A fault in words ("" when they agree) and the error: relative to the largest value, or to the bound."""
    if list(want.shape) != list(value.shape):
        return f"shape {list(value.shape)} for {list(want.shape)}", float("inf")
    if want.numel() == 0:
        return "", 0.0
    target = want.detach().to(torch.float64).numpy()
    special = ~np.isfinite(target)
    if special.any():
        if not np.array_equal(np.where(special, target, 0), np.where(np.isfinite(value), 0, value), equal_nan=True):
            return "NaN or infinity differ", float("inf")
    error = np.abs(np.where(special, 0, target) - np.where(special, 0, value))
    if not want.is_floating_point():
        return ("" if error.max() == 0 else f"{int((error != 0).sum())} integers differ"), float(error.max())
    if exact:
        scale = max(np.abs(np.where(special, 0, target)).max(), np.finfo(np.float64).tiny)
        worst = float(error.max() / scale)
        return ("" if worst <= RELATIVE else f"error {worst:.2e} of the largest value"), worst
    beyond = error > bound
    ratio = float((error / np.maximum(bound, np.finfo(np.float64).tiny)).max())
    return ("" if not beyond.any() else f"{int(beyond.sum())} values outside the bound, worst {ratio:.3g}x"), ratio


def judge(cases: Sequence[Case], folder: Path, reply: dict[str, Any], exact: bool) -> list[Outcome]:
    """Compares one evaluated group, case by case, states too."""
    outcomes = [Outcome(case.name) for case in cases]
    group = Group(cases)
    results, buffers = expected_outputs(group, [t for case in cases for t in case.inputs])
    flat = [(outcome, tensor) for outcome, tensors in zip(outcomes, results, strict=True) for tensor in tensors]
    user = iter(flat)
    seen = set()
    for index, described in enumerate(reply["outputs"]):
        value, bound = read_output(folder, index, described["shape"])
        if described["state"]:
            seen.add(described["state"])
            outcome, want = outcomes[int(described["state"].split(".")[1])], buffers[described["state"]]
        else:
            outcome, want = next(user)
        rounds = want.dtype != torch.float64 or any(word in outcome.name for word in ROUNDING)
        fault, error = compare(want, value, bound, exact and not rounds)
        outcome.worst = max(outcome.worst, error)
        if fault:
            outcome.faults.append(f"output {index}: {fault}")
    before = dict(group.named_buffers())
    for name, after in buffers.items():
        if name not in seen and not torch.equal(after, before[name]):
            outcomes[int(name.split(".")[1])].faults.append(f"buffer {name} changed unseen")
    return outcomes


def run_groups(groups: Sequence[Sequence[Case]], folder: Path, exact: bool) -> Iterator[Outcome]:
    """Exports, evaluates and judges; a group that fails as a whole is taken apart to name its faulty cases."""
    jobs: list[str | None] = []
    errors: list[str] = []
    for i, cases in enumerate(groups):
        try:
            jobs.append(write_job(Group(cases), [t for c in cases for t in c.inputs], folder / f"group_{i}"))
            errors.append("")
        except Exception as error:  # noqa: BLE001 (an export that fails is a fault of the case)
            jobs.append(None)
            errors.append(f"export: {str(error)[:300]}")
    replies = iter(evaluate([job for job in jobs if job]))
    for i, (cases, job) in enumerate(zip(groups, jobs, strict=True)):
        reply = next(replies) if job else {"ok": False, "id": "export", "message": errors[i]}
        if reply["ok"]:
            yield from judge(cases, folder / f"group_{i}", reply, exact)
        elif len(cases) == 1:
            yield Outcome(cases[0].name, [f"{reply['id']}: {reply['message']}"])
        else:
            yield from run_groups([[case] for case in cases], folder / f"apart_{i}", exact)


def run_table(folder: Path, dtype: torch.dtype, names: Sequence[str] | None = None, size: int = 32) -> list[Outcome]:
    """All cases in one dtype: float64 to 1e-12, others within the interpreter's bound."""
    cases = build_cases(dtype, names)
    groups = [cases[i : i + size] for i in range(0, len(cases), size)]
    return list(run_groups(groups, folder, dtype == torch.float64))
