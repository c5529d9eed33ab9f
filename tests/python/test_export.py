"""python -m kernelwright.export: what it writes, and what it says when it cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))

from kernelwright.export import parse_options  # noqa: E402
from kernelwright.export import run as run_export  # noqa: E402
from kernelwright.faults import Fault  # noqa: E402

KERNELBENCH = """
import torch
from torch import nn
print("a user's print")

class Model(nn.Module):
    def __init__(self, width, eps=1e-5):
        super().__init__()
        self.norm = nn.BatchNorm1d(width, eps=eps)

    def forward(self, x):
        return self.norm(x)

def get_inputs():
    return [torch.rand(4, 3)]

def get_init_inputs():
    return [3]
"""


def export(tmp_path: Path, code: str, *options: str, factory: str = "") -> tuple[int, dict[str, Any], Path]:
    """Exports a file that holds `code`, in this process; what its exit code and its one line would be."""
    file = tmp_path / "net.py"
    file.write_text(code)
    return run(f"{file}:{factory}" if factory else str(file), tmp_path / "out", *options)


def run(source: str, out: Path, *options: str) -> tuple[int, dict[str, Any], Path]:
    parsed = parse_options([source, "--out", str(out), *options])
    try:
        result = run_export(source, str(out), parsed.mode, parsed.seed, parsed.meta, parsed.draws)
        return 0, result, out
    except Fault as fault:
        return 2, fault.as_json(), out


@pytest.mark.parametrize(("code", "status"), [(KERNELBENCH, 0), ("print('hi')\n", 2)])
def test_stdout_carries_one_json_line(tmp_path: Path, code: str, status: int) -> None:
    file = tmp_path / "net.py"
    file.write_text(code)
    command = [sys.executable, "-m", "kernelwright.export", str(file), "--out", str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == status, done.stderr
    assert json.loads(done.stdout)["type"] == ("export" if status == 0 else "error")
    assert done.stdout.count("\n") == 1 and "print" in code and ("a user's print" in done.stderr or "hi" in done.stderr)


def problem(out: Path) -> dict[str, Any]:
    return json.loads((out / "problem.json").read_text())


def test_kernelbench_style_is_train_mode_with_draws(tmp_path: Path) -> None:
    code, said, out = export(tmp_path, KERNELBENCH)
    assert (code, said["type"], said["mode"]) == (0, "export", "train")
    described = problem(out)
    assert described["mutated_buffers"] == ["norm.running_mean", "norm.running_var", "norm.num_batches_tracked"]
    spec = described["inputs"][0]
    assert spec["dtype"] == "f32" and spec["shape"] == [4, 3] and 0 <= spec["lo"] < spec["hi"] <= 1
    draws = [numpy.fromfile(out / "draws" / f"{k}.0.bin", dtype="<f4") for k in range(3)]
    assert draws[0].size == 12 and not numpy.array_equal(draws[0], draws[1])
    assert draws[0].min() == pytest.approx(spec["lo"])


def test_the_archive_computes_what_the_module_does(tmp_path: Path) -> None:
    code, _, out = export(tmp_path, KERNELBENCH, "--mode", "eval")
    assert code == 0
    program = torch.export.load(out / "model.pt2").module()
    x = torch.from_numpy(numpy.fromfile(out / "draws" / "0.0.bin", dtype="<f4").reshape(4, 3))
    assert torch.allclose(program(x), x / (1 + 1e-5) ** 0.5)


def test_the_same_seed_gives_the_same_archive(tmp_path: Path) -> None:
    code = "import torch\ndef factory():\n    return torch.nn.Linear(4, 4), (torch.randn(2, 4),)\n"
    weights = []
    for k in range(2):
        (tmp_path / str(k)).mkdir()
        _, _, out = export(tmp_path / str(k), code, "--seed", "7")
        weights.append(torch.export.load(out / "model.pt2").state_dict["weight"])
    assert torch.equal(*weights)


def test_a_factory_with_keyword_inputs(tmp_path: Path) -> None:
    code = """
import torch
class Net(torch.nn.Module):
    def forward(self, x, *, scale, flag=True):
        return {"y": x * scale, "z": (x, 3)}
def make():
    return Net(), ((torch.ones(2),), {"scale": torch.zeros(2), "flag": False})
"""
    status, said, out = export(tmp_path, code, factory="make")
    assert (status, said["mode"], said["name"]) == (0, "eval", "make")
    described = problem(out)
    assert [spec["name"] for spec in described["inputs"]] == ["x", "scale"]
    assert described["argument_names"] == ["scale", "flag"] and described["argument_count"] == 1
    assert "y" in described["out_spec"]


def test_a_plain_tensor_attribute_becomes_state(tmp_path: Path) -> None:
    code = """
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = torch.zeros(2)
    def forward(self, x):
        self.hidden = self.hidden + x
        return self.hidden * 2
def factory():
    return Net(), torch.ones(2)
"""
    status, said, out = export(tmp_path, code)
    assert status == 0, said
    assert problem(out)["mutated_buffers"] == ["hidden"]


PARTS = {
    "adds": "s.hidden = s.hidden + x; return s.hidden * 2",
    "keeps the old value": "old = s.hidden; s.hidden = old + x; return old",
    "copies, then assigns": "s.hidden.copy_(x); s.hidden = torch.tanh(s.hidden); return s.hidden * 2",
    "assigns, then adds in place": "s.hidden = s.hidden * 2; s.hidden.add_(x); return s.hidden + x",
    "assigns twice": "s.hidden = x; s.hidden = s.hidden + 1; return s.hidden",
    "in place only": "s.hidden.add_(x); return s.hidden * 2",
}


@pytest.mark.parametrize("body", PARTS.values(), ids=PARTS.keys())
@pytest.mark.parametrize("wrapped", [False, True], ids=["itself", "a part of it"])
def test_buffers_that_forward_changes_end_as_in_eager_mode(tmp_path: Path, body: str, wrapped: bool) -> None:
    code = f"""
import torch
class Part(torch.nn.Module):
    def __init__(s):
        super().__init__()
        s.register_buffer("hidden", torch.tensor([1.0, 2.0]))
    def forward(s, x):
        {body}
class Whole(torch.nn.Module):
    def __init__(s):
        super().__init__()
        s.part = Part()
    def forward(s, x):
        return s.part(x) + s.part(x)
def factory():
    return {"Whole" if wrapped else "Part"}(), torch.tensor([0.25, -0.5])
"""
    status, said, out = export(tmp_path, code)
    assert status == 0, said
    space: dict[str, Any] = {}
    exec(code, space)  # noqa: S102 (the text above)
    module, x = space["factory"]()
    exported = torch.export.load(out / "model.pt2").module()
    for _ in range(2):
        assert torch.equal(exported(x), module(x))
        for name, buffer in module.named_buffers():
            assert torch.equal(dict(exported.named_buffers())[name], buffer), name


def test_meta_parameters_hold_no_data(tmp_path: Path) -> None:
    status, _, out = export(tmp_path, KERNELBENCH.replace("[3]", "[100000]").replace("4, 3", "4, 100000"), "--meta")
    assert status == 0
    assert (out / "model.pt2").stat().st_size < 100_000
    assert problem(out)["draws"] == [] and not problem(out)["inputs"][0]["observed"]


def test_an_archive_goes_through_again(tmp_path: Path) -> None:
    archive = tmp_path / "saved.pt2"
    torch.export.save(torch.export.export(torch.nn.ReLU(), (torch.randn(3),)), archive)
    status, said, out = run(str(archive), tmp_path / "out")
    assert (status, said["name"]) == (0, "saved")
    assert problem(out)["style"] == "pt2"


DYNAMIC = """
import torch
class Net(torch.nn.Module):
    def forward(self, x):
        return x[x > 0]
def factory():
    return Net(), torch.ones(2)
"""
FORWARD = DYNAMIC.replace("x[x > 0]", "x @ torch.ones(3, 3)")


@pytest.mark.parametrize(
    ("code", "options", "error_id", "said"),
    [
        ("import nothing_of_that_name\n", [], "export.import", "net.py:1: ModuleNotFoundError"),
        ("def f(:\n", [], "export.import", "net.py:1: SyntaxError"),
        ("x = 1\n", [], "export.missing_name", "does not define Model and get_inputs"),
        (KERNELBENCH.replace("width, eps=1e-5", "width, other"), [], "export.construct", "TypeError"),
        (KERNELBENCH.replace("torch.rand(4, 3)", "torch.rand(4, 5)"), [], "export.forward", "net.py:12: "),
        (KERNELBENCH.replace("torch.rand(4, 3)", "1 / 0"), [], "export.inputs", "net.py:15: ZeroDivisionError"),
        (FORWARD, [], "export.forward", "net.py:5: RuntimeError"),
        (DYNAMIC, [], "pt2.dynamic_shape", "net.py:5) has a size that depends on data"),
        (DYNAMIC.replace("x[x > 0]", "torch.fft.fft(x)"), [], "pt2.dtype", "net.py:5) has dtype complex64"),
    ],
)
def test_faults_name_the_users_line(tmp_path: Path, code: str, options: list[str], error_id: str, said: str) -> None:
    status, reply, out = export(tmp_path, code, *options)
    assert (status, reply["type"], reply["id"]) == (2, "error", error_id), reply
    assert said in reply["message"] and reply["hint"]
    assert not (out / "problem.json").exists()


def test_a_missing_file(tmp_path: Path) -> None:
    status, reply, _ = run(str(tmp_path / "none.py"), tmp_path / "out")
    assert (status, reply["id"]) == (2, "export.missing")


def test_a_file_that_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "bad.pt2").write_bytes(b"PK nothing")
    status, reply, _ = run(str(tmp_path / "bad.pt2"), tmp_path / "out")
    assert (status, reply["id"]) == (2, "export.pt2")


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_the_fallback_of_a_recurrence_takes_other_lengths(tmp_path: Path, kind: str) -> None:
    from kernelwright.fallback import save_dynamic

    module = getattr(torch.nn, kind)(4, 5, num_layers=2, bidirectional=True)
    path = str(tmp_path / "fallback.pt2")
    assert save_dynamic(module, (torch.randn(6, 2, 4),), {}, path)
    program = torch.export.load(path)
    program._state_dict = dict(module.named_parameters())
    x = torch.randn(9, 3, 4)
    assert torch.equal(program.module()(x)[0], module(x)[0])
