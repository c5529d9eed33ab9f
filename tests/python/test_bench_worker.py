"""The bench worker with a stand-in for the package: protocol, checks and block statistics."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import kernelwright
import pytest
import torch
from kernelwright import bench_worker
from kernelwright.baselines import PREPARERS, NotPrepared, Subject, agrees
from kernelwright.bench_worker import Blocks
from kernelwright.oracle import Oracle

SOURCE = """
import torch

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(16, 8)
        self.norm = torch.nn.BatchNorm1d(8)

    def forward(self, x):
        return torch.relu(self.norm(self.fc(x)))

def get_inputs():
    return [torch.rand(4, 16)]

def get_init_inputs():
    return []
"""


@pytest.fixture
def source(tmp_path: Path) -> str:
    path = tmp_path / "small.py"
    path.write_text(SOURCE)
    return str(path)


class StandIn(torch.nn.Module):
    """A drop-in that runs the original, or a wrong copy of it."""

    def __init__(self, source: str, wrong: bool) -> None:
        super().__init__()
        from kernelwright.source import load_source

        module = load_source(source, "train", 0, False).module
        assert module is not None
        self.__dict__["inner"] = module
        self.wrong = wrong

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return self.inner.state_dict()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) + (1.0 if self.wrong else 0.0)


def request(source: str, baselines: list[str]) -> dict[str, Any]:
    return {
        "package": "small.kw", "source": source, "mode": "train", "folder": "", "baselines": baselines,
        "threads": 1, "time_s": 60, "baseline_limit_s": 30, "blocks": 4, "seed": 7,
    }  # fmt: skip


def with_package(monkeypatch: pytest.MonkeyPatch, source: str, wrong: bool) -> None:
    monkeypatch.setattr(kernelwright, "load", lambda path, **options: StandIn(source, wrong))


def test_reply_holds_blocks_and_the_reason_of_what_failed(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    with_package(monkeypatch, source, wrong=False)
    reply = bench_worker.run(request(source, ["eager", "tinygrad"]))
    eager, unknown = reply["comparisons"]
    assert len(eager["cold"]) >= 2 and eager["warm"]
    assert all(b > 0 and c > 0 for b, c in eager["cold"])
    assert unknown["failure"] == "there is no such baseline"
    assert len(reply["a_a"]) >= 5


def test_a_wrong_drop_in_is_not_timed(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    with_package(monkeypatch, source, wrong=True)
    with pytest.raises(NotPrepared, match="differ from eager"):
        bench_worker.run(request(source, ["eager"]))


def test_a_baseline_with_wrong_outputs_fails() -> None:
    module = torch.nn.Linear(4, 4)
    inputs = [((torch.rand(2, 4),), {})]
    subject = Subject(module, inputs, [[torch.zeros(2, 4)]], lambda k: None, 1)  # type: ignore[arg-type]
    with torch.no_grad(), pytest.raises(NotPrepared, match="differ from eager"):
        PREPARERS["eager"](subject, 10.0)


def test_agreement_is_about_shape_type_and_value() -> None:
    x = torch.tensor([1.0, 2.0, float("nan")])
    assert agrees([x], [x.clone()])
    assert agrees([x * 1.001], [x])
    assert not agrees([x * 1.1], [x])
    assert not agrees([torch.zeros(3)], [x])
    assert not agrees([x.double()], [x])
    assert not agrees([], [x])


def test_disturbed_blocks_go_whole() -> None:
    blocks = Blocks([[1.0, 1.0], [9.0, 1.0], [2.0, 1.0]], [0, 5, 0])
    assert blocks.undisturbed() == [[1.0, 1.0], [2.0, 1.0]]
    assert Blocks().undisturbed() == []


def test_oracle_follows_parameters_and_keeps_no_state(source: str, tmp_path: Path) -> None:
    from kernelwright.export import run

    folder = str(tmp_path / "export")
    run(source, folder, "train", 0, False, 1)
    oracle = Oracle(os.path.join(folder, "model.pt2"))
    x = torch.rand(4, 16)
    first, again = dict(oracle.run([x])), dict(oracle.run([x]))
    assert set(first) == {"", *oracle.states()}
    assert all(torch.equal(first[name], again[name]) for name in first)
    oracle.update({"fc.weight": torch.zeros(8, 16), "fc.bias": torch.zeros(8), "norm.bias": torch.ones(8)})
    assert torch.equal(dict(oracle.run([x]))[""], torch.ones(4, 8))
