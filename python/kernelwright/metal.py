"""Metal kernels on the CPU: `compile_shader` with the calls of `torch.mps.compile_shader`.

    from kernelwright.metal import compile_shader      # instead of torch.mps.compile_shader

    lib = compile_shader(source)
    lib.add_one(x, threads=x.numel(), group_size=256)  # x: a CPU tensor

The source is compiled by clang for this machine and runs in a sandboxed process, one thread of a threadgroup after the
other. With `check=True` (or KERNELWRIGHT_METAL_CHECK=1) races, accesses out of bounds, uninitialised threadgroup memory
and divergent barriers raise `KernelFault`.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import mmap
import os
import shutil
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

__all__ = ["KernelFault", "MetalError", "MetalKernel", "MetalLibrary", "compile_shader"]

LANES = 32
MOST_THREADS = 1024
PAGE_BYTES = 4096

Size = int | Sequence[int]


class MetalError(RuntimeError):
    """A source that does not compile, or a launch that makes no sense. `id` is stable."""

    def __init__(self, id: str, message: str, hint: str = "") -> None:
        super().__init__(f"{message}\nhint: {hint}" if hint else message)
        self.id = id


class KernelFault(RuntimeError):
    """What the checks found. `reports` holds a dict with kind, message and line for each fault."""

    def __init__(self, kernel: str, reports: list[dict[str, Any]]) -> None:
        lines = "\n".join(f"{report['kind']}: {report['message']}" for report in reports)
        super().__init__(f"{kernel}: {len(reports)} fault{'s' if len(reports) > 1 else ''}\n{lines}")
        self.reports = reports


def _program() -> str:
    given = os.environ.get("KERNELWRIGHT")
    build = Path(__file__).resolve().parents[2] / "build" / "kernelwright"
    found = given or (str(build) if build.exists() else shutil.which("kernelwright"))
    if not found:
        raise MetalError(
            "emulate.missing", "the program kernelwright is not installed", "put it on PATH or set KERNELWRIGHT"
        )
    return found


class _Server:
    """The emulator's process, started at its first use; a request at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self.generation = 0

    def _start(self) -> subprocess.Popen[str]:
        self.generation += 1
        return subprocess.Popen(
            [_program(), "--kw-emulate-serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._process = self._start()
            process = self._process
            assert process.stdin and process.stdout
            try:
                process.stdin.write(json.dumps(request) + "\n")
                process.stdin.flush()
                line = process.stdout.readline()
            except (OSError, KeyboardInterrupt):
                self.stop()
                raise
            if not line:
                self.stop()
                raise MetalError("emulate.died", "the emulator's process ended")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise MetalError(**answer["error"])
        return answer

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


_server = _Server()
atexit.register(_server.stop)


@contextlib.contextmanager
def _shared_file(size: int) -> Iterator[tuple[str, mmap.mmap]]:
    folder = "/dev/shm" if os.path.isdir("/dev/shm") else None
    handle, path = tempfile.mkstemp(prefix="kernelwright-", dir=folder)
    try:
        os.ftruncate(handle, max(size, 1))
        with mmap.mmap(handle, max(size, 1)) as memory:
            yield path, memory
    finally:
        os.close(handle)
        os.unlink(path)


_CASTS = {
    "fp16": "e",
    "fp32": "f",
    "int8": "b",
    "uint8": "B",
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
}


def _scalar_bytes(value: Any, cast: str | None) -> bytes:
    """A number, or a sequence of numbers as one vector: floats are float, integers long, as on a Mac."""
    values = list(value) if isinstance(value, list | tuple) else [value]
    if not values or not all(isinstance(one, bool | int | float) for one in values):
        raise TypeError(f"a kernel takes tensors and numbers, not {type(value).__name__}")
    if cast is not None and cast not in _CASTS:
        raise ValueError(f"{cast} is no type to cast to; there are {', '.join(_CASTS)}")
    if all(isinstance(one, bool) for one in values):
        code = "?"
    elif any(isinstance(one, float) for one in values):
        code = "f"
    else:
        code = "q"
    try:
        return struct.pack(f"<{len(values)}{_CASTS[cast] if cast else code}", *values)
    except struct.error as error:
        raise ValueError(f"{value} does not fit: {error}") from None


def _constant_bytes(value: Any) -> bytes:
    """A function constant: bool, int or float as in the source, or the bytes of any other type."""
    if isinstance(value, bytes):
        return value
    return struct.pack("?" if isinstance(value, bool) else "<i" if isinstance(value, int) else "<f", value)


def _size3(size: Size, name: str) -> list[int]:
    values = [size] if isinstance(size, int) else [int(one) for one in size]
    if not 1 <= len(values) <= 3 or any(one < 1 for one in values):
        raise ValueError(f"{name} takes one to three numbers from 1 up, not {size!r}")
    return values + [1] * (3 - len(values))


def _bytes_of(tensor: torch.Tensor) -> torch.Tensor:
    return (
        tensor.detach().contiguous().reshape(-1).view(torch.uint8)
        if tensor.numel()
        else torch.empty(0, dtype=torch.uint8)
    )


class MetalKernel:
    """One kernel of a library; call it to launch it."""

    def __init__(self, library: MetalLibrary, description: dict[str, Any]) -> None:
        self._library = library
        self._description = description
        self.name: str = description["name"]

    @property
    def max_threads_per_threadgroup(self) -> int:
        return int(self._description["max_threads"]) or MOST_THREADS

    @property
    def thread_execution_width(self) -> int:
        return LANES

    def __repr__(self) -> str:
        return f"<kernelwright Metal kernel {self.name}>"

    def __call__(
        self,
        *args: Any,
        threads: Size | None = None,
        group_size: Size | None = None,
        arg_casts: str | dict[int, str] | None = None,
        threadgroup: dict[int, int] | None = None,
    ) -> None:
        """Runs `threads` threads (default: one for each element of the first tensor) in threadgroups of `group_size`.

        Tensors are changed in place, as on a Mac. The call returns when the kernel has ended. `bytes` are passed as
        they are (a struct), `threadgroup` gives the bytes of threadgroup arguments by index; torch.mps has neither.
        """
        if threads is None:
            if not args or not isinstance(args[0], torch.Tensor):
                raise ValueError("threads is needed where the first argument is no tensor")
            threads = args[0].numel()
        grid = _size3(threads, "threads")
        group = _size3(group_size, "group_size") if group_size is not None else self._default_group(grid)
        casts = arg_casts if isinstance(arg_casts, dict) else dict.fromkeys(range(len(args)), arg_casts)
        self._launch(args, grid, group, casts, threadgroup or {})

    def _default_group(self, grid: list[int]) -> list[int]:
        return [min(grid[0], self.max_threads_per_threadgroup), 1, 1]

    def _launch(
        self,
        args: Sequence[Any],
        grid: list[int],
        group: list[int],
        casts: dict[int, Any],
        threadgroup: dict[int, int],
    ) -> None:
        contents: list[torch.Tensor | bytes] = []
        for number, arg in enumerate(args):
            if isinstance(arg, torch.Tensor):
                if arg.device.type != "cpu":
                    raise ValueError(f"argument {number} lies on {arg.device}; the emulator takes CPU tensors")
                contents.append(_bytes_of(arg))
            elif isinstance(arg, bytes):
                contents.append(arg)
            else:
                contents.append(_scalar_bytes(arg, casts.get(number)))
        places: list[dict[str, int]] = []
        total = 0
        seen: dict[int, dict[str, int]] = {}
        for arg, content in zip(args, contents, strict=True):
            if isinstance(arg, torch.Tensor) and id(arg) in seen:
                places.append(seen[id(arg)])  # one tensor, one buffer, however often it is given
                continue
            size = len(content) if isinstance(content, bytes) else content.numel()
            places.append({"at": total, "bytes": size})
            seen[id(arg)] = places[-1]
            total += -(-max(size, 1) // PAGE_BYTES) * PAGE_BYTES
        with _shared_file(total) as (path, memory):
            shared = torch.frombuffer(memory, dtype=torch.uint8)
            for place, content in zip(places, contents, strict=True):
                at, size = place["at"], place["bytes"]
                if isinstance(content, bytes):
                    memory[at : at + size] = content
                else:
                    shared[at : at + size] = content
            reports = self._library._run(self.name, path, places, grid, group, threadgroup)
            for number, arg in enumerate(args):
                if isinstance(arg, torch.Tensor) and arg.numel() and self._written(number):
                    at, size = places[number]["at"], places[number]["bytes"]
                    fresh = shared[at : at + size].clone().view(arg.dtype).reshape(arg.shape)
                    with torch.no_grad():
                        arg.copy_(fresh)
            del shared
        if reports:
            raise KernelFault(self.name, reports)

    def _written(self, number: int) -> bool:
        buffers = self._description["buffers"]
        return number < len(buffers) and bool(buffers[number]["written"])


class MetalLibrary:
    """What `compile_shader` gives back: kernels are attributes."""

    def __init__(self, request: dict[str, Any], timeout: float, constants: dict[int, Any]) -> None:
        self._request = {"op": "compile", **request}
        self._timeout = timeout
        self._constants = [[index, list(_constant_bytes(value))] for index, value in constants.items()]
        self.seconds = 0.0  # of the last launch, on this machine
        self._generation = 0
        self._number = 0
        self._kernels: dict[str, MetalKernel] = {}
        self._open()

    def _open(self) -> None:
        answer = _server.ask(self._request)
        self._number = answer["library"]
        self._generation = _server.generation
        self._kernels = {one["name"]: MetalKernel(self, one) for one in answer["kernels"]}

    def _run(
        self,
        kernel: str,
        path: str,
        places: list[dict[str, int]],
        grid: list[int],
        group: list[int],
        threadgroup: dict[int, int],
    ) -> list[dict[str, Any]]:
        if self._generation != _server.generation:
            self._open()  # the process was started anew
        request = {
            "op": "run",
            "library": self._number,
            "kernel": kernel,
            "memory": path,
            "buffers": places,
            "threads": grid,
            "group": group,
            "seed": int(os.environ.get("KERNELWRIGHT_METAL_SCHEDULE_SEED", "0")),
            "timeout": self._timeout,
            "threadgroup": [[index, size] for index, size in threadgroup.items()],
            "constants": self._constants,
            "cores": int(os.environ.get("KERNELWRIGHT_METAL_CORES", "0")),
        }
        answer = _server.ask(request)
        self.seconds = answer["seconds"]
        reports: list[dict[str, Any]] = answer["reports"]
        return reports

    def __getattr__(self, name: str) -> MetalKernel:
        if name.startswith("_") and name not in self.__dict__.get("_kernels", {}):
            raise AttributeError(name)
        try:
            return self._kernels[name]
        except KeyError:
            known = ", ".join(sorted(self._kernels)[:8])
            raise AttributeError(f"the library has no kernel {name}; it has {known}") from None

    def __dir__(self) -> list[str]:
        return sorted(self._kernels)


def _include_folders() -> list[str]:
    """PyTorch's own Metal headers (c10/metal), which its compile_shader puts in by itself."""
    folder = Path(torch.__file__).parent / "include"
    return [str(folder)] if (folder / "c10" / "metal").is_dir() else []


def compile_shader(
    source: str,
    *,
    check: bool | None = None,
    name: str = "program_source",
    include: Sequence[str] = (),
    timeout: float = 60,
    kernels: Sequence[str] = (),
    defines: Sequence[str] = (),
    constants: dict[int, Any] | None = None,
) -> MetalLibrary:
    """Compiles Metal source for this machine. raises: MetalError, with the lines of the source that do not compile.

    `check` adds the checks (default: KERNELWRIGHT_METAL_CHECK); `timeout` is the wall clock of one launch in seconds.
    `kernels` compiles only those (a source with hundreds of instantiations takes long), `defines` are NAME or
    NAME=VALUE, `constants` are function constants by index.
    """
    if check is None:
        check = os.environ.get("KERNELWRIGHT_METAL_CHECK", "") not in ("", "0")
    folders = [*include, *_include_folders()]
    request = {"source": source, "name": name, "check": check, "include": folders}
    request |= {"kernels": list(kernels), "defines": list(defines)}
    return MetalLibrary(request, timeout, constants or {})
