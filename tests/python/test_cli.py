"""The command line: each bad input gets exit code 2, one sentence and a hint; runs that are stopped go on.

Everything here starts the built program. Modules are tiny, and packages are made once.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("KERNELWRIGHT_BUILD", ROOT / "build"))
BINARY = BUILD / "kernelwright"
NOBODY = 65534

MODULE = """import torch


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.part = {part}

    def forward(self, x):
        return {result}


def get_inputs():
    return [torch.randn(8, 16)]


def get_init_inputs():
    return []
"""


def module_text(result: str = "torch.relu(x) + 1", part: str = "torch.nn.Identity()") -> str:
    return MODULE.format(result=result, part=part)


Reply = subprocess.CompletedProcess[str]


def run(*words: object, cwd: Path, env: dict[str, str] | None = None) -> Reply:
    """The program's reply; its store lies below `cwd`."""
    environment = {**os.environ, "KERNELWRIGHT_PYTHON": sys.executable, **(env or {})}
    command = [str(BINARY), *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240)


def refused(reply: Reply, fault_id: str, message: str, hint: str) -> None:
    """Exit code 2; the same sentence and hint on stderr and, with --json, as the last object; no stack trace."""
    assert reply.returncode == 2, reply.stderr + reply.stdout
    told = json.loads(reply.stdout.splitlines()[-1])
    assert told["type"] == "error" and told["id"] == fault_id, told
    assert re.search(message, told["message"]), told
    assert re.search(hint, told["hint"]), told
    assert "\n" not in told["message"] and not told["message"].endswith("."), told
    errors = [line for line in reply.stderr.splitlines() if not line.startswith("[")]
    assert errors == [f"error: {told['message']}", f"hint: {told['hint']}"], reply.stderr


# --- files that never reach Python ---


def save_pt2(path: Path, module: torch.nn.Module, dtype: torch.dtype = torch.float32, dynamic: bool = False) -> Path:
    x = torch.zeros(4, 16, dtype=dtype)
    shapes = {"x": {0: torch.export.Dim("batch", min=2, max=64)}} if dynamic else None

    class Wrapped(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x)

    torch.export.save(torch.export.export(Wrapped(), (x,), dynamic_shapes=shapes), path)
    return path


def rewritten(source: Path, path: Path, edit: Callable[[str, bytes], bytes], extra: dict[str, bytes]) -> Path:
    """The archive with each member passed through `edit`, and more members, stored as torch stores them."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as new:
        names = old.namelist()
        for name in names:
            new.writestr(name, edit(name, old.read(name)))
        root = names[0].split("/")[0]
        for name, content in extra.items():
            bomb = len(content) > 1 << 20
            kind = zipfile.ZIP_DEFLATED if bomb else zipfile.ZIP_STORED
            new.writestr(name if name.startswith(("/", "..")) else f"{root}/{name}", content, kind)
    return path


def with_program(source: Path, path: Path, pattern: str, replacement: str) -> Path:
    """The archive with the program's text changed; the change must find its place."""
    found = 0

    def edit(name: str, content: bytes) -> bytes:
        nonlocal found
        if not name.endswith("models/model.json"):
            return content
        text, found = re.subn(pattern, replacement, content.decode(), count=1)
        return text.encode()

    rewritten(source, path, edit, {})
    assert found == 1
    return path


def with_directory(source: Path, path: Path, change: Callable[[bytearray, list[int]], None]) -> Path:
    """The archive with its central directory changed: `change(bytes, positions of the entries)`."""
    data = bytearray(source.read_bytes())
    entries = [m.start() for m in re.finditer(rb"PK\x01\x02", bytes(data))]
    with zipfile.ZipFile(source) as archive:  # an archive inside may have entries of its own, earlier
        entries = entries[-len(archive.namelist()) :]
    change(data, entries)
    path.write_bytes(data)
    return path


def declare(data: bytearray, entry: int, size: int) -> None:
    struct.pack_into("<II", data, entry + 20, size, size)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One archive or file a row of FILES."""
    folder = tmp_path_factory.mktemp("files")
    good = save_pt2(folder / "good.pt2", torch.nn.Linear(16, 8))

    def keep(_: str, content: bytes) -> bytes:
        return content

    (folder / "text.pt2").write_text("import torch\n")
    (folder / "text.txt").write_text("hello")
    (folder / "folder.py").mkdir()
    with zipfile.ZipFile(folder / "zip.pt2", "w") as archive:
        archive.writestr("hello.txt", "hi")
    (folder / "cut.pt2").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    rewritten(good, folder / "bomb.pt2", keep, {"bomb": bytes(100 << 20)})
    rewritten(good, folder / "escape.pt2", keep, {"../../etc/passwd": b"x"})
    with_directory(good, folder / "huge.pt2", lambda data, entries: declare(data, entries[1], 4_000_000_000))
    with_directory(good, folder / "overlap.pt2", lambda d, e: d.__setitem__(slice(e[1] + 42, e[1] + 46), bytes(4)))
    stride = r'("sizes": \[\{"as_int": 8\}, \{"as_int": 16\}\].{0,400}?"storage_offset": \{"as_int": )0'

    def outside(name: str, content: bytes) -> bytes:
        if not name.endswith("weights_config.json"):
            return content
        text, found = re.subn(stride, r"\g<1>900", content.decode(), count=1, flags=re.S)
        assert found == 1, content.decode()
        return text.encode()

    rewritten(good, folder / "outside.pt2", outside, {})
    with_program(good, folder / "terabytes.pt2", r'"as_int": 16\b', '"as_int": 4000000000000')
    save_pt2(folder / "dynamic.pt2", torch.nn.ReLU(), dynamic=True)
    save_pt2(folder / "complex.pt2", torch.nn.Tanh(), dtype=torch.complex64)
    return folder


FILES = [
    ("missing.py", "file.missing", r"cannot read `missing.py`: No such file", "check the path"),
    ("missing.pt2", "file.missing", r"cannot read `missing.pt2`", "check the path"),
    ("folder.py", "file.unreadable", r"cannot read `folder.py`: Is a directory", "that you may read"),
    ("text.txt", "export.kind", r"`text.txt` is neither a .py file nor a .pt2", "give FILE.py"),
    ("text.pt2", "pt2.not_zip", "no zip", "torch.export.save"),
    ("zip.pt2", "pt2.not_pt2", "", "torch.export.save"),
    ("cut.pt2", "pt2.truncated", "", "."),
    ("bomb.pt2", "pt2.hostile", "", "."),
    ("escape.pt2", "pt2.hostile", "", "."),
    ("huge.pt2", "pt2.hostile", "", "."),
    ("overlap.pt2", "pt2.hostile", "", "."),
    ("outside.pt2", "pt2.hostile", "", "."),
    ("terabytes.pt2", "pt2.", "", "."),
    ("dynamic.pt2", "pt2.dynamic_shape", r"dynamic size .* in dimension 0", "static shapes"),
    ("complex.pt2", "pt2.dtype", "complex64", "."),
]


@pytest.mark.parametrize(("name", "fault_id", "message", "hint"), FILES, ids=[row[0] for row in FILES])
def test_files(files: Path, name: str, fault_id: str, message: str, hint: str) -> None:
    begun = time.monotonic()
    before = set(os.listdir(files))
    reply = run("--json", "optimize", name, cwd=files)
    if fault_id == "pt2.":
        fault_id = json.loads(reply.stdout.splitlines()[-1])["id"]
        assert fault_id in ("pt2.hostile", "pt2.schema")
    refused(reply, fault_id, message, hint)
    # Nothing is written, no store either; only an archive of another schema is handed to torch, as a recorded run.
    allowed = {".kernelwright"} if fault_id == "pt2.schema" else set()
    assert set(os.listdir(files)) - before <= allowed
    assert time.monotonic() - begun < 30


def test_the_good_archive_is_understood(files: Path) -> None:
    """The archives above are refused for what was done to them."""
    reply = run("--json", "inspect", "good.pt2", cwd=files)
    assert reply.returncode == 0, reply.stderr
    assert json.loads(reply.stdout.splitlines()[-1])["outputs"][0]["shape"] == [4, 8]


# A child's peak includes what its parent held when it was started: so a small process starts the program.
MEASURE = """import json, resource, subprocess, sys
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([code, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024]))"""


def test_a_large_weight_is_mapped_not_read(tmp_path: Path) -> None:
    """Importing 100 MB takes under a second and under three times the file, the process's start included."""
    layers = torch.nn.Sequential(torch.nn.Linear(16, 2048), torch.nn.Linear(2048, 12800))
    large = save_pt2(tmp_path / "large.pt2", layers)
    assert large.stat().st_size > 100e6
    command = [sys.executable, "-S", "-c", MEASURE, str(BINARY), "inspect", str(large)]
    code, seconds, peak_bytes = json.loads(subprocess.check_output(command, cwd=tmp_path))
    assert code == 0
    assert seconds < 1
    assert peak_bytes < 3 * large.stat().st_size


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "secret.py").write_text(module_text())
    os.chmod(tmp_path / "secret.py", 0)
    reply = as_nobody(tmp_path, "--json", "inspect", tmp_path / "secret.py")
    refused(reply, "file.unreadable", "Permission denied", "that you may read")


def as_nobody(folder: Path, *words: object) -> Reply:
    """Root may read and write everything, so the program then runs as nobody, from a copy that nobody can reach."""
    if os.geteuid() != 0:
        return run(*words, cwd=folder)
    public = Path("/tmp") / f"kernelwright-test-{os.getpid()}"
    public.mkdir(mode=0o755, exist_ok=True)
    try:
        shutil.copy(BINARY, public / "kernelwright")
        command = [str(public / "kernelwright"), *map(str, words)]
        for part in [folder, *folder.parents]:
            if str(part).startswith("/tmp/"):
                os.chmod(part, os.stat(part).st_mode | 0o055)
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, user=NOBODY, timeout=60)
    finally:
        shutil.rmtree(public)


# --- modules that Python or the import refuses ---

MODULES = [
    ("op", module_text("torch.linalg.det(x[:, :8])"), r"import\.\w+", r"linalg_det.*op\.py:10", "."),
    ("complex", module_text("torch.fft.fft(x).abs()"), r"pt2\.dtype", r"complex64", "supported"),
    ("data", module_text("x[x > 0]"), r"(pt2.dynamic_shape|export.data_dependent)", r"data\.py:10|data", "avoid"),
    ("import", "import no_such_module_here\n", r"export\.import", r"import\.py:1: ModuleNotFoundError", "mend"),
    ("forward", module_text("x @ x"), r"export\.forward", r"forward raised at .*forward\.py:10: RuntimeError", "mend"),
    (
        "dropout",
        module_text("self.part(x)", "torch.nn.Dropout(0.5)"),
        r"import\.random",
        r"dropout\.py:10",
        "eval mode",
    ),
    ("names", "x = 1\n", r"export\.missing_name", "does not define Model and get_inputs", "factory"),
]


@pytest.mark.parametrize(("name", "text", "fault_id", "message", "hint"), MODULES, ids=[row[0] for row in MODULES])
def test_modules(tmp_path: Path, name: str, text: str, fault_id: str, message: str, hint: str) -> None:
    (tmp_path / f"{name}.py").write_text(text)
    reply = run("--json", "optimize", f"{name}.py", "-o", "out.kw", cwd=tmp_path)
    found = json.loads(reply.stdout.splitlines()[-1])["id"]
    assert re.fullmatch(fault_id, found), reply.stdout
    refused(reply, found, message, hint)
    assert not list(tmp_path.glob("*.kw*"))


# --- the environment ---


def test_no_compiler(tmp_path: Path) -> None:
    (tmp_path / "ok.py").write_text(module_text())
    reply = run("--json", "optimize", "ok.py", cwd=tmp_path, env={"CXX": "/nonexistent", "PATH": "/nonexistent"})
    refused(reply, "compile.missing", "no C.. compiler was found", r"g\+\+")


def test_no_python(tmp_path: Path) -> None:
    (tmp_path / "ok.py").write_text(module_text())
    reply = run("--json", "inspect", "ok.py", cwd=tmp_path, env={"KERNELWRIGHT_PYTHON": "/nonexistent/python"})
    refused(reply, "export.python", "cannot start `/nonexistent/python`", "make setup")


def test_arguments(tmp_path: Path) -> None:
    for words in (
        ["optimize"],
        ["nothing"],
        ["optimize", "x.py", "--time", "never"],
        ["optimize", "x", "--target", "tpu"],
    ):
        refused(run("--json", *words, cwd=tmp_path), "arguments", ".", "--help")


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "ok.py").write_text(module_text())
    (tmp_path / "plain").write_text("")
    for out in ("plain/out.kw", "missing/out.kw", "."):
        refused(
            run("--json", "optimize", "ok.py", "-o", out, cwd=tmp_path), "package.write", "cannot be written", "choose"
        )
    (tmp_path / ".kernelwright").write_text("a file where the store's folder goes")
    refused(run("--json", "optimize", "ok.py", cwd=tmp_path), "store.unwritable", "cannot be made", "permissions")


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "ok.py").write_text(module_text())
    os.chmod(tmp_path / "ok.py", 0o644)
    os.chmod(tmp_path, 0o555)
    try:
        refused(
            as_nobody(tmp_path, "--json", "optimize", "ok.py"), "store.unwritable", "Permission denied", "permissions"
        )
    finally:
        os.chmod(tmp_path, 0o755)


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of `size`; skips where none may be mounted."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("only root may mount the small disk that this needs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_under_the_store(tmp_path: Path) -> None:
    (tmp_path / "ok.py").write_text(module_text())
    with small_disk(tmp_path / "disk", "32k") as disk:
        reply = run("--json", "optimize", tmp_path / "ok.py", cwd=disk)
        refused(reply, "store.unwritable", "cannot be", "space")


def test_a_full_disk_under_the_package(small: Path) -> None:
    with small_disk(small / "disk", "64k") as disk:
        reply = run("--json", "optimize", "ok.py", "--no-bench", "--time", "120", "-o", disk / "out.kw", cwd=small)
        refused(reply, "package.write", "cannot be written", "space")
        assert not list(disk.iterdir())  # nothing half


# --- packages and stores ---


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ok.py, its package ok.kw and a store."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "ok.py").write_text(module_text())
    reply = run("--json", "optimize", "ok.py", "--no-bench", "--time", "120", "-o", "ok.kw", cwd=folder)
    assert reply.returncode == 0, reply.stderr + reply.stdout
    last = json.loads(reply.stdout.splitlines()[-1])
    assert last["type"] == "result" and last["schema_version"] == 1 and last["verdict"] == "verified", last
    assert last["timing"] is None and last["predicted"] and last["package"] == "ok.kw" and last["attempts"] > 0
    return folder


def test_a_package_is_told_and_verified_anew(small: Path) -> None:
    reply = run("--json", "package", "--inspect", "ok.kw", cwd=small)
    assert reply.returncode == 0 and json.loads(reply.stdout)["type"] == "result", reply.stderr
    reply = run("--json", "verify", "--quick", "--time", "120", "ok.kw", cwd=small)
    assert reply.returncode == 0 and json.loads(reply.stdout.splitlines()[-1])["verdict"] == "verified", reply.stdout


def test_corrupt_packages(small: Path, tmp_path: Path) -> None:
    whole = (small / "ok.kw").read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for name, content in (("cut", whole[:-100]), ("flipped", bytes(flipped)), ("text", b"hello"), ("empty", b"")):
        (tmp_path / f"{name}.kw").write_bytes(content)
        reply = run("--json", "package", "--inspect", f"{name}.kw", cwd=tmp_path)
        refused(reply, "package.damaged", f"`{name}.kw` is no package, or is damaged", "make it again")
    for verb in (["verify"], ["bench"], ["package", "--inspect"]):
        refused(run("--json", *verb, "none.kw", cwd=tmp_path), "package.missing", "cannot find", "check the path")


def test_a_corrupt_store(small: Path, tmp_path: Path) -> None:
    (tmp_path / "ok.py").write_text(module_text())
    store = tmp_path / ".kernelwright" / "store.db"
    store.parent.mkdir()
    for content in (b"not a database at all " * 100, (small / ".kernelwright/store.db").read_bytes()[:5000]):
        store.write_bytes(content)
        refused(run("--json", "optimize", "ok.py", cwd=tmp_path), "store.corrupt", "", "move it away")
        refused(run("--json", "resume", cwd=tmp_path), "store.corrupt", "", "move it away")
        assert store.read_bytes() == content


def test_nothing_to_resume(small: Path, tmp_path: Path) -> None:
    refused(run("--json", "resume", cwd=small), "resume.nothing", "no stopped run", "optimize")
    refused(run("--json", "resume", cwd=tmp_path), "resume.nothing", "no stopped run", "optimize")


# --- runs that are stopped ---


def start(folder: Path, until: str) -> subprocess.Popen[str]:
    """An optimize run that has said `until`."""
    command = [str(BINARY), "--json", "optimize", "ok.py", "--no-bench", "--time", "120", "-o", "out.kw"]
    environment = {**os.environ, "KERNELWRIGHT_PYTHON": sys.executable}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if until in line:
            return process
    raise AssertionError(f"never said {until!r}: {said}")


def states(folder: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(folder / ".kernelwright/store.db")) as store:
        return [row[0] for row in store.execute("SELECT state FROM run ORDER BY rowid")]


STOPS = [("exporting", signal.SIGINT), ("judging", signal.SIGKILL)]


@pytest.mark.parametrize(("until", "sent"), STOPS)
def test_a_stopped_run_goes_on(tmp_path: Path, until: str, sent: signal.Signals) -> None:
    (tmp_path / "ok.py").write_text(module_text())
    process = start(tmp_path, until)
    process.send_signal(sent)
    out, errors = process.communicate(timeout=60)
    if sent == signal.SIGINT:
        assert process.returncode == 130, errors
        assert json.loads(out.splitlines()[-1])["id"] == "interrupted" and "resume" in errors
    assert states(tmp_path) == ["running"] and not list(tmp_path.glob("*.kw*"))
    reply = run("--json", "resume", cwd=tmp_path)
    assert reply.returncode == 0, reply.stderr + reply.stdout
    assert json.loads(reply.stdout.splitlines()[-1])["package"] == "out.kw" and (tmp_path / "out.kw").is_file()
    assert states(tmp_path) == ["done"]


def test_python_entry(tmp_path: Path) -> None:
    """`python -m kernelwright` is the program, with its exit codes."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python"), "KERNELWRIGHT_BIN": str(BINARY)}
    command = [sys.executable, "-m", "kernelwright", "--json", "inspect", "missing.py"]
    reply = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    refused(reply, "file.missing", "cannot read `missing.py`", "check the path")
    environment["KERNELWRIGHT_BIN"] = "/nonexistent"
    environment["PATH"] = "/nonexistent"
    if not (ROOT / "build/kernelwright").exists():
        reply = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert reply.returncode == 2 and "make build" in reply.stderr
