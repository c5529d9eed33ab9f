"""Drop-ins against the modules they came from: state, structured arguments and results, and what falls back."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import nullcontext as nothing
from pathlib import Path
from typing import Any

import kernelwright
import pytest
import torch
from kernelwright.dropin import DropIn
from torch.utils import _pytree as pytree

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("KERNELWRIGHT_BUILD", ROOT / "build"))

SOURCES = {
    # Indices as they are, and counted from the end.
    "indices": """
import torch


class Lookup(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(20, 8)

    def forward(self, rows, places):
        return self.table(rows)[:, places]


def factory():
    return Lookup().eval(), (torch.randint(0, 20, (3, 5)), torch.randint(-5, 5, (4,)))
""",
    # Convolution and batch normalisation in training mode.
    "norm": """
import torch


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3)
        self.block = torch.nn.Sequential(torch.nn.BatchNorm2d(8), torch.nn.ReLU())

    def forward(self, x):
        return self.block(self.conv(x))


def get_inputs():
    return [torch.randn(4, 3, 8, 8)]


def get_init_inputs():
    return []
""",
    # Two buffers that exchange their values in each call.
    "swap": """
import torch


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("a", torch.arange(16.0))
        self.register_buffer("b", -2 * torch.arange(16.0))

    def forward(self, x):
        old = self.a.clone()
        self.a.copy_(self.b)
        self.b.copy_(old)
        return x + self.a, old


def get_inputs():
    return [torch.randn(16)]


def get_init_inputs():
    return []
""",
    # Indices, nested arguments, arguments that are no tensors, and a nested result.
    "nested": """
import torch


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(20, 8)
        self.fc = torch.nn.Linear(8, 4)

    def forward(self, ids, pair, scale, flag=True, *, shift):
        e = self.table(ids)
        y = self.fc(e) * scale + shift if flag else e
        return {"y": y, "pair": (pair["a"] + pair["b"], [e.sum(-1), 3]), "same": pair["a"], "none": None, "at": ids + 1}


class Keywords(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Model()

    def forward(self, ids, pair, scale, flag=True):
        return self.inner(ids, pair, scale, flag, shift=0.5)


def factory():
    pair = {"a": torch.randn(4), "b": torch.randn(4)}
    return Keywords().eval(), (torch.randint(0, 20, (3, 5)), pair, 2.0, True)
""",
}


def load_original(path: Path, name: str) -> torch.nn.Module:
    from kernelwright.source import load_source

    source = load_source(name_of(path, name), "auto", 3, False).module
    assert source is not None
    return source


def name_of(path: Path, name: str) -> str:
    return f"{path}:factory" if "def factory" in SOURCES[name] else str(path)


Made = tuple[torch.nn.Module, DropIn]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    """The module in its own mode, and a drop-in with the same weights; one package a source."""
    folder = tmp_path_factory.mktemp("packages")
    built: dict[str, Path] = {}

    def build(name: str) -> Path:
        path = folder / f"{name}.py"
        path.write_text(SOURCES[name])
        export = [sys.executable, "-m", "kernelwright.export", name_of(path, name), "--out", str(folder / name)]
        subprocess.run(export, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT / "python")})
        out = folder / f"{name}.kw"
        command = [str(BUILD / "make_test_package"), str(folder / name), "-", "-", "verified", str(out)]
        subprocess.run(command, check=True, capture_output=True)
        return out

    def made(name: str) -> Made:
        if name not in built:
            built[name] = build(name)
        fast = kernelwright.load(built[name])
        original = load_original(folder / f"{name}.py", name)
        original.load_state_dict(fast.state_dict())
        return original, fast

    return made


def calls(fast: DropIn) -> tuple[int, int]:
    stats = fast.stats()
    return stats["kernel_calls"], stats["original_calls"]


def same_state(fast: torch.nn.Module, original: torch.nn.Module) -> None:
    ours, theirs = fast.state_dict(), original.state_dict()
    assert list(ours) == list(theirs)
    for name, value in theirs.items():
        assert ours[name].dtype == value.dtype, name
        torch.testing.assert_close(ours[name], value, rtol=1e-5, atol=1e-6, msg=lambda text, n=name: f"{n}: {text}")


def same_results(ours: Any, theirs: Any) -> None:
    a, b = pytree.tree_flatten(ours), pytree.tree_flatten(theirs)
    assert a[1] == b[1]
    for x, y in zip(a[0], b[0], strict=True):
        if isinstance(y, torch.Tensor):
            torch.testing.assert_close(x, y.detach(), rtol=1e-4, atol=1e-5)
        else:
            assert type(x) is type(y) and x == y


def both(made: Made, *args: Any, **kwargs: Any) -> None:
    """One call of each: the same results and the same state afterwards."""
    original, fast = made
    same_results(fast(*args, **kwargs), original(*args, **kwargs))
    same_state(fast, original)


# --- buffers that a call changes ---


def test_running_statistics_follow_the_module(make: Callable[[str], Made]) -> None:
    made = make("norm")
    for k in range(4):
        both(made, torch.randn(4, 3, 8, 8) * (k + 1) + k)
    assert calls(made[1]) == (4, 0)
    assert made[1].state_dict()["block.0.num_batches_tracked"] == 4


def test_a_checkpoint_brings_its_statistics(make: Callable[[str], Made]) -> None:
    original, fast = make("norm")
    both((original, fast), torch.randn(4, 3, 8, 8))
    other = copy.deepcopy(original)
    with torch.no_grad():
        for value in other.state_dict().values():
            value.mul_(3).add_(1)
    fast.load_state_dict(other.state_dict())
    same_state(fast, other)
    for _ in range(2):
        both((other, fast), torch.randn(4, 3, 8, 8))
    assert calls(fast) == (3, 0)


def test_other_shapes_update_the_same_buffers(make: Callable[[str], Made]) -> None:
    original, fast = make("norm")
    both((original, fast), torch.randn(4, 3, 8, 8))
    with pytest.warns(RuntimeWarning, match="no Plan covers the shape"):
        both((original, fast), torch.randn(2, 3, 11, 9) + 5)
    both((original, fast), torch.randn(4, 3, 8, 8))  # the kernels go on from what the original left
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        both((original, fast), torch.randn(4, 3, 8, 8).to(memory_format=torch.channels_last))
    both((original, fast), torch.randn(4, 3, 8, 8))
    assert calls(fast) == (3, 2)


def test_buffers_set_from_outside_are_read(make: Callable[[str], Made]) -> None:
    original, fast = make("norm")
    both((original, fast), torch.randn(4, 3, 8, 8))
    for module in (original, fast):
        module.get_buffer("block.0.running_mean").fill_(7)
        module.get_submodule("block.0").running_var = torch.full((8,), 2.0)  # replaced, not written
    both((original, fast), torch.randn(4, 3, 8, 8))
    assert calls(fast) == (2, 0)


def test_two_packages_keep_their_own_buffers(make: Callable[[str], Made]) -> None:
    _, one = make("norm")
    original, two = make("norm")
    before = {name: value.clone() for name, value in one.state_dict().items()}
    both((original, two), torch.randn(4, 3, 8, 8))
    assert all(torch.equal(value, before[name]) for name, value in one.state_dict().items())


def test_buffers_that_exchange_their_values(make: Callable[[str], Made]) -> None:
    made = make("swap")
    for _ in range(3):
        both(made, torch.randn(16))
    assert calls(made[1]) == (3, 0)


# --- arguments and results ---


def arguments() -> tuple[Any, ...]:
    return torch.randint(0, 20, (3, 5)), {"a": torch.randn(4), "b": torch.randn(4)}, 2.0, True


def test_nested_arguments_and_results(make: Callable[[str], Made]) -> None:
    made = make("nested")
    for _ in range(3):
        both(made, *arguments())
    assert calls(made[1]) == (3, 0)


def test_keywords_and_defaults(make: Callable[[str], Made]) -> None:
    made = make("nested")
    ids, pair, scale, flag = arguments()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        both(made, ids, pair, scale, flag=flag)
        both(made, ids, scale=scale, flag=flag, pair=pair)
        both(made, flag=flag, pair=pair, scale=scale, ids=ids)
    assert calls(made[1]) == (3, 0)


def test_a_result_is_no_view_of_an_argument(make: Callable[[str], Made]) -> None:
    _, fast = make("nested")
    args = arguments()
    first, kept = fast(*args), args[1]["a"].clone()
    first["same"].zero_()
    assert torch.equal(args[1]["a"], kept)
    second = fast(*args)
    first["y"].zero_()
    assert second["y"].abs().sum() > 0


def test_inputs_that_are_not_contiguous_or_of_another_dtype(make: Callable[[str], Made]) -> None:
    made = make("nested")
    ids, pair, scale, flag = arguments()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(3):
            both(made, torch.randint(0, 20, (5, 3)).T, pair, scale, flag)
            both(made, ids.int(), pair, scale, flag)
            both(made, ids, {"a": pair["a"].double(), "b": pair["b"]}, scale, flag)
    told = [str(warning.message) for warning in said]
    assert len(told) == 3, told
    for text in ("not contiguous", "torch.int32", "torch.float64"):
        assert sum(text in line for line in told) == 1, told
    assert calls(made[1]) == (0, 9)


def test_another_value_of_what_is_no_tensor(make: Callable[[str], Made]) -> None:
    """It was fixed at export: never computed with the old value, and only the original can run it."""
    original, fast = make("nested")
    whole = kernelwright.load(fast._path, original=original)
    ids, pair, _, _ = arguments()
    for scale, flag in ((3.0, True), (2.0, False), (2, True)):
        with pytest.raises(RuntimeError, match="original=MODULE"):
            fast(ids, pair, scale, flag)
    with pytest.warns(RuntimeWarning, match="another value than at export"):
        same_results(whole(ids, pair, 3.0, False), original(ids, pair, 3.0, False))
    assert calls(whole) == (0, 1)


def test_the_original_given_serves_both_modes_with_the_package_s_state(make: Callable[[str], Made]) -> None:
    original, fast = make("norm")
    whole = kernelwright.load(fast._path, original=copy.deepcopy(original))
    x = torch.randn(4, 3, 8, 8)
    with pytest.raises(RuntimeError, match="train mode only"):
        fast.eval()(x)
    both((original, whole), x)
    with pytest.warns(RuntimeWarning, match="no Plan covers the shape"):
        both((original, whole), torch.randn(5, 3, 8, 8))
    both((original, whole), x)
    with pytest.warns(RuntimeWarning, match="made for train mode"):
        both((original.eval(), whole.eval()), x)
    assert calls(whole) == (2, 2)


def test_an_index_out_of_range_is_the_original_s_error(make: Callable[[str], Made]) -> None:
    original, fast = make("indices")
    rows, places = torch.randint(0, 20, (3, 5)), torch.tensor([-5, 4, 0, -1])
    both((original, fast), rows, places)
    assert calls(fast) == (1, 0)
    wrong = rows.clone()
    wrong[2, 4] = 20
    for bad in ((wrong, places), (rows, torch.tensor([0, 0, 0, 5])), (rows, torch.tensor([0, 0, 0, -6]))):
        with pytest.warns(RuntimeWarning, match="an index is out of range") if not fast._said else nothing():
            with pytest.raises(IndexError):
                fast(*bad)
    assert calls(fast) == (1, 3)
