"""inspect --suite: every problem gets a line, whatever the others do; the closing line counts them by reason."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("KERNELWRIGHT_BUILD", ROOT / "build")) / "kernelwright"
sys.path.insert(0, str(ROOT / "python"))

from kernelwright import capture, recurrences  # noqa: E402
from kernelwright.suite import find_problems  # noqa: E402

PROBLEM = """import ctypes, os, time
import torch


class Model(torch.nn.Module):
    def forward(self, x):
        return {result}


def get_inputs():
    {inputs}
    return [torch.randn(8, 16)]


def get_init_inputs():
    return []
"""

# number -> (what forward gives, what runs first, the id that is told; "" when understood)
PROBLEMS = {
    1: ("torch.relu(x)", "pass", ""),
    2: ("torch.nn.functional.dropout(x)", "pass", "import.random"),
    3: ("torch.relu(x)", "raise RuntimeError('no inputs today')", "export.inputs"),
    4: ("torch.relu(x)", "ctypes.string_at(0)", "export.killed"),
    5: ("torch.relu(x)", "os._exit(0)", "export.killed"),
    6: ("torch.relu(x)", "held = bytearray(1 << 50)", "export.inputs"),
    7: ("torch.linalg.qr(x)[0]", "pass", "import.op"),
    8: ("torch.sigmoid(x)", "pass", ""),
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "KernelBench" / "level1").mkdir(parents=True)
    for number, (result, inputs, _) in PROBLEMS.items():
        text = PROBLEM.format(result=result, inputs=inputs)
        (folder / "KernelBench" / "level1" / f"{number}_made.py").write_text(text)
    return folder


def inspect(path: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    words = [str(BINARY), "inspect", "--suite", "kernelbench", str(path), *flags]
    return subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)


def test_every_problem_has_its_line_and_the_last_counts_them(checkout: Path) -> None:
    reply = inspect(checkout, "--json")
    assert reply.returncode == 0, reply.stderr
    *rows, last = [json.loads(line) for line in reply.stdout.splitlines()]
    told = {row["problem"]: row.get("id", "") for row in rows}
    assert told == {f"1_{number}": fault_id for number, (_, _, fault_id) in PROBLEMS.items()}
    assert last["type"] == "result"
    assert (last["understood"], last["total"]) == (2, len(PROBLEMS))
    assert last["refused"]["import.random"] == ["1_2"]
    assert sorted(last["refused"]["export.killed"]) == ["1_4", "1_5"]
    good = next(row for row in rows if row["problem"] == "1_8")
    assert good["understood"] and good["flops"] > 0 and good["min_bytes"] == 2 * 8 * 16 * 4


def test_the_summary_in_words(checkout: Path) -> None:
    reply = inspect(checkout)
    assert f"2 of {len(PROBLEMS)} problems understood" in reply.stdout
    assert "import.random: 1" in reply.stdout


def test_a_folder_without_problems(tmp_path: Path) -> None:
    reply = inspect(tmp_path)
    assert reply.returncode == 2
    assert reply.stdout == ""
    assert reply.stderr.endswith(
        f"error: `{tmp_path}` holds no KernelBench problems\n"
        "hint: give a checkout that holds KernelBench/level1 to level3\n"
    )


def test_an_export_that_hangs_is_given_up_and_the_others_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "level1"
    folder.mkdir()
    for number, first in ((1, "time.sleep(1000)"), (2, "pass")):
        (folder / f"{number}_made.py").write_text(PROBLEM.format(result="torch.relu(x)", inputs=first))
    problems = find_problems(str(tmp_path), [1])
    code = (
        "import json, sys; from kernelwright.suite import Limits, export_suite\n"
        f"for line in export_suite({problems!r}, {str(tmp_path / 'out')!r}, 'auto', 2, Limits(5.0, 1 << 36)):\n"
        "    print(json.dumps(line), flush=True)"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
    reply = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=env)
    lines: list[dict[str, Any]] = [json.loads(line) for line in reply.stdout.splitlines()]
    assert {line["problem"]: line.get("id", "") for line in lines} == {"1_1": "export.timeout", "1_2": ""}


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("options", [{}, {"batch_first": True, "bidirectional": True}, {"proj_size": 3}])
def test_shapes_of_recurrences_are_those_of_their_unrolling(kind: str, options: dict[str, Any]) -> None:
    if "proj_size" in options and kind != "LSTM":
        pytest.skip("only an LSTM projects")
    module = getattr(torch.nn, kind)(4, 5, num_layers=2, **options)
    x = torch.randn(6, 2, 4)

    def values() -> list[str]:
        with torch.no_grad():
            program = torch.export.export(module, (x,)).run_decompositions({})
        return [f"{node.target} {node.meta.get('val')}" for node in program.graph.nodes]

    unrolled = values()
    before = dict(torch.ops.aten.gru.input.py_kernels)
    with recurrences.quick_recurrences():
        calls: list[str] = []
        known = recurrences._result_shapes
        recurrences._result_shapes = lambda *args: (calls.append(kind), known(*args))[1]  # type: ignore[assignment]
        try:
            quick = values()
        finally:
            recurrences._result_shapes = known
    assert quick == unrolled
    assert calls, "the quick way was not taken"
    assert dict(torch.ops.aten.gru.input.py_kernels) == before
    assert capture.quick_recurrences is recurrences.quick_recurrences
