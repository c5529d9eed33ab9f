"""The drop-in and the C interface over a package of one hand-written kernel: relu(x) * w on 16 floats."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import warnings
import zipfile
from pathlib import Path

import kernelwright
import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = Path(os.environ.get("KERNELWRIGHT_BUILD", ROOT / "build"))
DATA = ROOT / "tests/package/data"
W = torch.arange(16.0) / 8


def make(folder: Path, verdict: str) -> Path:
    out = folder / f"{verdict}.kw"
    command = [BUILD / "make_test_package", folder / "export", DATA / "relu.cpp", DATA / "relu.plan.json", verdict, out]
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
    return out


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dropin")
    command = [sys.executable, "-m", "kernelwright.export", str(DATA / "relu.py"), "--out", str(path / "export")]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT / "python")})
    return path


@pytest.fixture(scope="module")
def package(folder: Path) -> Path:
    return make(folder, "verified")


def test_same_outputs_and_state_dict(package: Path) -> None:
    fast = kernelwright.load(str(package))
    x = torch.randn(16, requires_grad=True)
    y = fast(x)
    assert torch.equal(y, torch.relu(x) * W) and not y.requires_grad
    assert torch.equal(fast(x=x), y)
    assert set(fast.state_dict()) == {"w", "count"}
    assert [name for name, _ in fast.named_parameters()] == ["w"]
    assert fast.stats()["kernel_calls"] == 2 and fast.stats()["original_calls"] == 0


def test_changed_parameters_prepare_anew(package: Path) -> None:
    fast, x = kernelwright.load(str(package)), torch.randn(16)
    fast(x)
    with torch.no_grad():
        fast.w.mul_(2)
    assert torch.equal(fast(x), torch.relu(x) * W * 2)
    fast.load_state_dict({"w": W + 1, "count": torch.zeros(16)})
    assert torch.equal(fast(x), torch.relu(x) * (W + 1))


def test_uncovered_inputs_run_the_original_and_say_so_once(package: Path) -> None:
    fast, x = kernelwright.load(str(package)), torch.randn(32)[::2]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(3):
            assert torch.equal(fast(x), torch.relu(x) * W)
    assert len([w for w in said if "kernelwright" in str(w.message)]) == 1
    assert fast.stats()["original_calls"] == 3


def test_a_fallback_package_runs_the_original(folder: Path) -> None:
    fast, x = kernelwright.load(str(make(folder, "fallback"))), torch.randn(16)
    assert torch.equal(fast(x), torch.relu(x) * W)
    assert fast.stats()["kernel_calls"] == 0


def test_hooks_still_run(package: Path) -> None:
    fast, seen = kernelwright.load(str(package)), []
    fast.register_forward_hook(lambda *_: seen.append(1))
    fast(torch.randn(16))
    assert seen == [1]


def test_damaged_packages_are_refused(package: Path, tmp_path: Path) -> None:
    content = package.read_bytes()
    for cut in (0, 10, len(content) // 2, len(content) - 1):
        (tmp_path / "cut.kw").write_bytes(content[:cut])
        with pytest.raises(RuntimeError, match="damaged"):
            kernelwright.load(str(tmp_path / "cut.kw"))
    with pytest.raises(RuntimeError, match="cannot find"):
        kernelwright.load(str(tmp_path / "none.kw"))


def test_the_c_program_runs_it(package: Path, tmp_path: Path) -> None:
    run = [str(BUILD / "run_package")]
    reply = subprocess.run([*run, str(package)], capture_output=True, text=True)
    assert reply.stdout.split() == ["output", "0:", *(f"{i * i / 64:g}" for i in range(8))], reply.stderr
    shutil.copy(DATA / "relu.py", tmp_path / "x.kw")
    reply = subprocess.run([*run, str(tmp_path / "x.kw")], capture_output=True, text=True)
    assert reply.returncode == 2 and "damaged" in reply.stderr


def words_of(text: str, start: str) -> str:
    """The first line of a text that begins so, without its comment."""
    return next(line for line in text.splitlines() if line.startswith(start)).split("  #")[0]


def test_the_c_program_builds_as_the_readme_says(package: Path, tmp_path: Path) -> None:
    words = words_of((ROOT / "README.md").read_text(), "cc ").replace("-Lbuild", f"-L{BUILD}")
    words = words.replace('"$PWD/build"', str(BUILD)).replace("-o run_package", f"-o {tmp_path / 'run_package'}")
    subprocess.run(words, shell=True, check=True, cwd=ROOT)
    reply = subprocess.run([str(tmp_path / "run_package"), str(package)], capture_output=True, text=True)
    assert reply.returncode == 0 and reply.stdout.startswith("output 0: 0"), reply.stderr


def test_the_c_program_builds_from_a_package_and_an_installed_library(package: Path, tmp_path: Path) -> None:
    """As the package's own README says, with nothing of the checkout in sight."""
    command = ["cmake", "--install", str(BUILD), "--prefix", str(tmp_path / "installed")]
    subprocess.run(command, check=True, capture_output=True)
    assert (tmp_path / "installed/include/kernelwright.h").is_file()
    with zipfile.ZipFile(package) as archive:
        archive.extractall(tmp_path, ["kernelwright.h", "run_package.c"])
        words = words_of(archive.read("README.md").decode(), "cc ")
    environment = {**os.environ, "LIB": str(tmp_path / "installed/lib")}
    subprocess.run(words, shell=True, check=True, cwd=tmp_path, env=environment)
    reply = subprocess.run(["./run_package", str(package)], cwd=tmp_path, capture_output=True, text=True)
    assert reply.returncode == 0 and reply.stdout.startswith("output 0: 0"), reply.stderr


def test_loading_starts_no_compiler(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    fast = kernelwright.load(str(package))
    begin = time.perf_counter()
    fast(torch.ones(16))
    assert time.perf_counter() - begin < 1.0
