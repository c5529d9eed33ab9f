"""A package's Metal kernels on a Mac, through `torch.mps.compile_shader`: prepared once, run launch by launch.

At the first call the kernels are timed against the original on the machine at hand, and the faster stays. An offline
compiled library beside the package (`kernelwright package --metallib`) is loaded in place of the source.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils import _pytree as pytree

_DTYPES = {
    "f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32, "bool": torch.bool,
    "u8": torch.uint8, "i8": torch.int8, "i16": torch.int16, "i32": torch.int32, "i64": torch.int64,
}  # fmt: skip
_CASTS = {"i32": "int32", "u32": "uint32", "f32": "fp32", "i64": "int64"}
_GIVEN = ("input", "parameter", "state", "output")

ROUNDS = 9  # of the comparison at the first call


class MetalUnavailable(RuntimeError):
    """Why the kernels cannot run here."""


def metallib_path(package: str, source: str) -> Path:
    """Where an offline compiled library of this very source lies: its name holds the source's hash."""
    return Path(package).with_suffix(f".{hashlib.sha256(source.encode()).hexdigest()[:16]}.metallib")


def _library(package: str, source: str) -> Any:
    compiled = metallib_path(package, source)
    load = getattr(torch.mps, "load_metallib", None)
    return load(str(compiled)) if load is not None and compiled.exists() else torch.mps.compile_shader(source)


def _device() -> torch.device:
    """ "mps", or what a test puts in its place."""
    named = os.environ.get("KERNELWRIGHT_MPS_DEVICE", "")
    if named:
        return torch.device(named)
    if not torch.backends.mps.is_available():
        raise MetalUnavailable("the kernels are for an Apple GPU, and this machine has none")
    return torch.device("mps")


class MetalEngine:
    """Checks inputs, binds parameters, runs. The same calls as the CPU's engine."""

    isa = "msl"

    def __init__(
        self, owner: Any, path: str, manifest: dict[str, Any], slots: Callable[[Any, dict[str, Any]], Any]
    ) -> None:
        self._device = _device()
        variant = manifest["variants"][0]
        with zipfile.ZipFile(path) as archive:
            source = archive.read(variant["source"]).decode()
            self._plan = json.loads(archive.read(variant["launches"]))
        if self._plan.get("format") != "kernelwright-launches/1":
            raise MetalUnavailable("the package's launches are of another version")
        try:
            self._kernels = _library(path, source)
        except (RuntimeError, SyntaxError) as error:
            raise MetalUnavailable(f"the Metal source does not compile here: {error}") from error
        self._owner = owner
        self._inputs = [(torch.Size(row["shape"]), _DTYPES[row["dtype"]]) for row in manifest["inputs"]]
        self._weights = [slots(owner, row) for row in manifest["weights"]]
        self._buffers: list[torch.Tensor | None] = [None] * len(self._plan["buffers"])
        self._outputs = sorted(
            (row["index"], number) for number, row in enumerate(self._plan["buffers"]) if row["role"] == "output"
        )
        self._versions: list[Any] = []
        self._usable = True
        self.comparison: dict[str, Any] | None = None

    def accepts(self, leaves: Any) -> bool:
        for leaf, (shape, dtype) in zip(leaves, self._inputs, strict=True):
            if not isinstance(leaf, torch.Tensor) or leaf.shape != shape or leaf.dtype is not dtype:
                return False
            if leaf.device.type != self._device.type or not leaf.is_contiguous():
                return False
        self._bind_changes()
        if self._usable and self.comparison is None:
            self._compare(list(leaves))
        return self._usable and not (self.comparison or {}).get("slower", False)

    def run(self, leaves: Any) -> list[torch.Tensor]:
        inputs = list(leaves)
        for number, row in enumerate(self._plan["buffers"]):
            if row["role"] == "input":
                self._buffers[number] = inputs[row["index"]]
        for _, number in self._outputs:
            self._buffers[number] = self._fresh(self._plan["buffers"][number])
        self._launch(self._plan["steps"])
        outputs = [self._buffers[number] for _, number in self._outputs]
        return [output for output in outputs if output is not None]

    def _fresh(self, row: dict[str, Any]) -> torch.Tensor:
        return torch.empty(row["shape"], dtype=_DTYPES[row["dtype"]], device=self._device)

    def _launch(self, launches: list[dict[str, Any]]) -> None:
        for launch in launches:
            if 0 in launch["groups"]:
                continue
            args = [self._buffers[arg["buffer"]] if "buffer" in arg else arg["value"] for arg in launch["args"]]
            casts = {i: _CASTS[arg["type"]] for i, arg in enumerate(launch["args"]) if "type" in arg}
            threads = [groups * group for groups, group in zip(launch["groups"], launch["group"], strict=True)]
            kernel = getattr(self._kernels, launch["kernel"])
            kernel(*args, threads=threads, group_size=launch["group"], arg_casts=casts)

    def _bind_changes(self) -> None:
        """Hands over tensors that are new since the last call, and prepares anew."""
        held = {row["name"]: table[name] for table, name, row in self._weights}
        states = {row["name"] for row in self._plan["buffers"] if row["role"] == "state"}
        # A call writes the states itself: only their place counts.
        versions = [(n, t.data_ptr(), None if n in states else t._version) for n, t in held.items()]
        if versions == self._versions and self._versions:
            return
        self._versions = versions
        self._usable = all(
            tensor.device.type == self._device.type
            and tensor.is_contiguous()
            and tensor.dtype == _DTYPES.get(row["dtype"])
            and list(tensor.shape) == row["shape"]
            for (_, _, row), tensor in zip(self._weights, held.values(), strict=True)
        )
        if self._usable:
            self._prepare(held)

    def _prepare(self, held: dict[str, torch.Tensor]) -> None:
        for number, row in enumerate(self._plan["buffers"]):
            if row["role"] in ("parameter", "state"):
                self._buffers[number] = held[row["name"]].detach()
            elif row["role"] not in _GIVEN and self._buffers[number] is None:
                self._buffers[number] = self._fresh(row)
        self._launch(self._plan["prepare"])

    def _compare(self, leaves: list[torch.Tensor]) -> None:
        """Times the original and the kernels in turns; kernels that are slower here are not used."""
        self.comparison = {}
        spec = self._owner._in_spec
        if self._device.type != "mps" and not os.environ.get("KERNELWRIGHT_MPS_COMPARE"):
            return
        if spec.num_leaves != len(leaves) or any(row["role"] == "state" for row in self._plan["buffers"]):
            return
        args, kwargs = pytree.tree_unflatten(leaves, spec)
        try:
            theirs, ours = [], []
            for _ in range(ROUNDS + 1):
                theirs.append(self._seconds(lambda: self._owner._fallback.run(self._owner, True, args, kwargs)))
                ours.append(self._seconds(lambda: self.run(leaves)))
            theirs, ours = theirs[1:], ours[1:]  # the first of each loads and compiles
        except RuntimeError as error:
            warnings.warn(f"kernelwright: the original could not be timed here: {error}", RuntimeWarning, stacklevel=4)
            return
        original_s, kernels_s = sorted(theirs)[ROUNDS // 2], sorted(ours)[ROUNDS // 2]
        self.comparison = {"original_s": original_s, "kernels_s": kernels_s, "slower": kernels_s > original_s}

    def _seconds(self, call: Callable[[], Any]) -> float:
        begun = time.perf_counter()
        call()
        if self._device.type == "mps":
            torch.mps.synchronize()
        return time.perf_counter() - begun
