"""The drop-in: an nn.Module that runs a package's kernels, and the original where they do not apply."""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import threading
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch.nn.modules import module as _modules
from torch.utils import _pytree as pytree

from kernelwright.fallback import Fallback
from kernelwright.mps import MetalEngine, MetalUnavailable

_DTYPES = {
    "f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32, "f64": torch.float64, "bool": torch.bool,
    "u8": torch.uint8, "i8": torch.int8, "i16": torch.int16, "i32": torch.int32, "i64": torch.int64,
}  # fmt: skip


_KW_ARGUMENT = 3
_empty = torch.empty


class PackageError(RuntimeError):
    """A package that cannot be loaded, with the reason."""


def load(path: str | os.PathLike[str], *, original: torch.nn.Module | None = None, threads: int = 0) -> DropIn:
    """The package at `path` as a module.

    original: runs inputs that no Plan covers, instead of the copy inside the package.
    threads: of the kernels; 0 takes what the package was tuned for, at most the usable cores.
    """
    return DropIn(os.fspath(path), original, threads)


class DropIn(torch.nn.Module):
    """Same signature, outputs and state_dict as the original. Runs without autograd."""

    _manifest: dict[str, Any]
    _path: str
    _original: torch.nn.Module | None
    _fallback: Fallback
    _said: set[str]
    _trains: bool
    _mode_matters: bool
    _calls: list[int]  # by kernels, by the original
    _engine: _Engine | MetalEngine | None
    _in_spec: Any
    _out_spec: Any
    _names: list[str]
    _plain: int
    _wrap: Any

    def __init__(self, path: str, original: torch.nn.Module | None = None, threads: int = 0) -> None:
        super().__init__()
        manifest = _read_manifest(path)
        _hold_weights(self, manifest, path)
        put = self.__dict__.__setitem__  # nn.Module's own __setattr__ would register or slow these
        put("_manifest", manifest)
        put("_path", path)
        put("_original", original)
        put("_fallback", Fallback(path, manifest["fallback"], manifest.get("fallback_dynamic")))
        put("_said", set())
        put("_trains", manifest["mode"] == "train")
        put("_mode_matters", manifest["problem"].get("mode_matters", True))
        put("_calls", [0, 0])
        put("_engine", _make_engine(self, path, manifest, threads))
        problem = manifest["problem"]
        put("_in_spec", pytree.treespec_loads(problem["in_spec"]))
        put("_out_spec", pytree.treespec_loads(problem["out_spec"]))
        put("_names", problem.get("forward_names", []))
        put("_plain", _plain_arguments(self._in_spec, manifest))
        put("_wrap", _output_wrapper(self._out_spec, manifest))
        self.train(manifest["mode"] == "train")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Straight to forward unless a hook is set: nn.Module's own way there costs as much as a small kernel."""
        hooked = self._forward_hooks or self._forward_pre_hooks or self._backward_hooks or self._backward_pre_hooks
        if hooked or _modules._has_any_global_hook():
            return super().__call__(*args, **kwargs)
        return self.forward(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        engine = self._engine
        leaves = args if len(args) == self._plain and not kwargs else self._flatten(args, kwargs)
        in_mode = self.training == self._trains or not self._mode_matters
        if engine is None or leaves is None or not in_mode or not engine.accepts(leaves):
            return self._run_original(leaves, args, kwargs)
        outputs = engine.run(leaves)
        if outputs is None:  # the original knows what to raise
            return self._run_original(leaves, args, kwargs)
        self._calls[0] += 1
        return outputs[0] if self._wrap is None else self._wrap(outputs)

    def stats(self) -> dict[str, Any]:
        """Calls by the kernels and by the original, and what the package says of itself."""
        kept = {key: self._manifest.get(key) for key in ("verdict", "target", "mode")}
        isa = self._engine.isa if self._engine else None
        if isinstance(self._engine, MetalEngine):
            kept["comparison"] = self._engine.comparison
        return {"kernel_calls": self._calls[0], "original_calls": self._calls[1], "isa": isa, **kept}

    def _in_mode(self) -> bool:
        return self.training == self._trains or not self._mode_matters

    def _flatten(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any] | None:
        """Tensor leaves in the Plan's order, or None when the arguments are structured otherwise than exported."""
        args, kwargs = self._as_exported(args, kwargs)
        leaves, spec = pytree.tree_flatten((args, kwargs))
        if spec != self._in_spec:
            return None
        return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)] if self._fixed_agree(leaves) else None

    def _as_exported(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Keywords that were positional at export become positional, the others take the export's order."""
        problem = self._manifest["problem"]
        rest = dict(kwargs)
        positional = list(args)
        for name in self._names[len(args) : problem["argument_count"]]:
            if name not in rest:
                break
            positional.append(rest.pop(name))
        ordered = {name: rest.pop(name) for name in problem["argument_names"] if name in rest}
        return tuple(positional), {**ordered, **rest}

    def _fixed_agree(self, leaves: list[Any]) -> bool:
        """Arguments that are no tensors were fixed at export: another value needs the original."""
        fixed = iter(self._manifest.get("fixed_inputs", []))
        others = [leaf for leaf in leaves if not isinstance(leaf, torch.Tensor)]
        return all(_same_constant(leaf, next(fixed, leaf)) for leaf in others)

    def _is_fixed_otherwise(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether only the values of arguments that are no tensors differ from the export's."""
        leaves, spec = pytree.tree_flatten(self._as_exported(args, kwargs))
        return bool(spec == self._in_spec and not self._fixed_agree(leaves))

    def _run_original(self, leaves: list[Any] | tuple[Any, ...] | None, args: Any, kwargs: Any) -> Any:
        fixed_otherwise = leaves is None and self._is_fixed_otherwise(args, kwargs)
        if fixed_otherwise and self._original is None:
            raise PackageError(
                "an argument that is no tensor has another value than at export, where it was fixed; "
                "load the package with original=MODULE for every value"
            )
        if self._engine is not None:
            other = "an argument that is no tensor has another value than at export"
            self._say_once(other if fixed_otherwise else self._why_original(leaves))
        self._calls[1] += 1
        if self._original is not None:
            return self._call_original(self._original, args, kwargs)
        if not self._in_mode():
            mode = self._manifest["mode"]
            raise PackageError(
                f"the package holds the module in {mode} mode only; load it with original=MODULE for both"
            )
        args, kwargs = self._as_exported(args, kwargs)
        return self._fallback.run(self, self._has_exported_shapes(leaves), args, kwargs)

    def _call_original(self, original: torch.nn.Module, args: Any, kwargs: Any) -> Any:
        """With the drop-in's own parameters, buffers and mode, so that both ways of a call keep one state."""
        if original.training != self.training:
            original.train(self.training)
        mine = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        values = dict(mine)
        with torch.no_grad():
            results = torch.func.functional_call(original, values, args, kwargs, tie_weights=False)
            for name, value in values.items():
                if value is not mine[name]:  # assigned anew, not written in place
                    mine[name].copy_(value)
        return results

    def _has_exported_shapes(self, leaves: Any) -> bool:
        wanted = [tuple(row["shape"]) for row in self._manifest["inputs"]]
        return leaves is not None and [tuple(leaf.shape) for leaf in leaves] == wanted

    def _why_original(self, leaves: Any) -> str:
        if leaves is None:
            return "the arguments are structured otherwise than at export"
        if not self._in_mode():
            return f"the kernels were made for {self._manifest['mode']} mode"
        for leaf, row in zip(leaves, self._manifest["inputs"], strict=False):
            wanted = f"{row['dtype']}{row['shape']}"
            if not isinstance(leaf, torch.Tensor) or list(leaf.shape) != row["shape"]:
                return f"no Plan covers the shape {list(getattr(leaf, 'shape', []))}, only {wanted}"
            if leaf.dtype != _DTYPES[row["dtype"]]:
                return f"no Plan covers {leaf.dtype}, only {wanted}"
            if isinstance(self._engine, MetalEngine):
                return "the original is faster here, or the module is not on the GPU"
            if not leaf.is_cpu:
                return f"the kernels run on the CPU, an input is on {leaf.device}"
            if not leaf.is_contiguous():
                return "no Plan covers an input that is not contiguous"
        if self._engine is not None and self._engine.accepts(leaves):
            return "an index is out of range"
        return "a parameter's shape, dtype or layout has changed"

    def _say_once(self, reason: str) -> None:
        if reason not in self._said:
            self._said.add(reason)
            warnings.warn(f"kernelwright: {reason}; the original runs instead", RuntimeWarning, stacklevel=4)


class _Engine:
    """The C library's side of one package: checks inputs, binds parameters, runs."""

    def __init__(self, owner: DropIn, path: str, manifest: dict[str, Any], threads: int) -> None:
        self._library = _library()
        self._handle = ctypes.c_void_p()
        _checked(self._library, self._library.kw_load(os.fsencode(path), threads, ctypes.byref(self._handle)))
        self._lock = threading.Lock()
        self.isa = self._library.kw_isa(self._handle).decode()
        self._inputs = [(torch.Size(row["shape"]), _DTYPES[row["dtype"]]) for row in manifest["inputs"]]
        self._outputs = [(tuple(row["shape"]), _DTYPES[row["dtype"]]) for row in manifest["outputs"]]
        self._in_pointers = (ctypes.c_void_p * max(1, len(self._inputs)))()
        self._out_pointers = (ctypes.c_void_p * max(1, len(self._outputs)))()
        self._weights = [_slot(owner, row) for row in manifest["weights"]]
        self._states = set(manifest.get("states", []))
        self._held: list[torch.Tensor] = []
        self._versions: list[int] = []
        self._run = self._library.kw_run_data
        self._usable = True

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self._library.kw_unload(self._handle)

    def accepts(self, leaves: Any) -> bool:
        for leaf, (shape, dtype) in zip(leaves, self._inputs, strict=True):
            if not isinstance(leaf, torch.Tensor) or leaf.shape != shape or leaf.dtype is not dtype:
                return False
            if not leaf.is_cpu or not leaf.is_contiguous():
                return False
        if self._weights and self._parameters_changed():
            with self._lock:
                self._bind()
        return self._usable

    def run(self, leaves: Any) -> list[torch.Tensor] | None:
        """The results; None where an input that holds indices has one out of range."""
        outputs = [_empty(shape, dtype=dtype) for shape, dtype in self._outputs]
        with self._lock:
            i = 0
            for leaf in leaves:
                self._in_pointers[i] = leaf.data_ptr()
                i += 1
            i = 0
            for output in outputs:
                self._out_pointers[i] = output.data_ptr()
                i += 1
            code = self._run(self._handle, self._in_pointers, self._out_pointers)
        if code == _KW_ARGUMENT:
            return None
        if code != 0:
            _checked(self._library, code)
        return outputs

    def _parameters_changed(self) -> bool:
        held = [table[name] for table, name, _ in self._weights]
        versions = [tensor._version ^ tensor.data_ptr() for tensor in held]
        if versions == self._versions:
            return False
        self._held, self._versions = held, versions
        return True

    def _bind(self) -> None:
        """Hands every tensor's memory to the library and prepares anew."""
        self._usable = all(
            tensor.dtype == _DTYPES[row["dtype"]]
            and list(tensor.shape) == row["shape"]
            and tensor.is_cpu
            and tensor.is_contiguous()
            for tensor, (_, _, row) in zip(self._held, self._weights, strict=True)
        )
        if not self._usable:
            return
        for tensor, (_, _, row) in zip(self._held, self._weights, strict=True):
            code = self._library.kw_bind_data(self._handle, row["name"].encode(), tensor.data_ptr())
            _checked(self._library, code)
        _checked(self._library, self._library.kw_prepare(self._handle))


def _make_engine(owner: DropIn, path: str, manifest: dict[str, Any], threads: int) -> _Engine | MetalEngine | None:
    """None when the package says that the original runs, or this machine has none of its instruction sets."""
    if manifest["verdict"] != "verified":
        return None
    try:
        if manifest.get("target") == "metal":
            return MetalEngine(owner, path, manifest, _slot)
        return _Engine(owner, path, manifest, threads)
    except (PackageError, MetalUnavailable) as error:
        warnings.warn(f"kernelwright: {error}; the original runs instead", RuntimeWarning, stacklevel=4)
        return None


def _read_manifest(path: str) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = json.loads(archive.read("manifest.json"))
    except FileNotFoundError as error:
        raise PackageError(f"cannot find the package `{path}`") from error
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise PackageError(f"`{path}` is no package, or is damaged: {error}") from error
    if manifest.get("format") != "kernelwright-package/1":
        raise PackageError(f"`{path}` has the format {manifest.get('format')!r}; this version reads 1")
    return manifest


def _hold_weights(owner: torch.nn.Module, manifest: dict[str, Any], path: str) -> None:
    """Registers every parameter and buffer under its own name, with the package's values."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
        for row in manifest["weights"]:
            value = _read_tensor(memory, row)
            *path_parts, name = row["name"].split(".")
            part = owner
            for step in path_parts:
                if step not in part._modules:
                    part.add_module(step, torch.nn.Module())
                part = part._modules[step]  # type: ignore[assignment]
            if row["kind"] == "parameter":
                part.register_parameter(name, torch.nn.Parameter(value, requires_grad=value.is_floating_point()))
            else:
                part.register_buffer(name, value, persistent=row["kind"] == "buffer" and row.get("persistent", True))


def _read_tensor(memory: mmap.mmap, row: dict[str, Any]) -> torch.Tensor:
    dtype = _DTYPES[row["dtype"]]
    value = torch.empty(row["shape"], dtype=dtype)
    if value.numel() == 0:
        return value
    if row["offset"] < 0 or row["offset"] + row["bytes"] > len(memory):
        raise PackageError(f"the package is damaged: `{row['name']}` lies outside it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the view is read-only and copied at once
        view = torch.frombuffer(memory, dtype=dtype, count=value.numel(), offset=row["offset"])
    value.view(-1).copy_(view)
    return value


def _slot(owner: torch.nn.Module, row: dict[str, Any]) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """The dictionary and key under which a module holds a tensor: replaced tensors are seen there."""
    *path, name = row["name"].split(".")
    part = owner.get_submodule(".".join(path))
    return (part._parameters if row["kind"] == "parameter" else part._buffers), name, row


def _same_constant(a: Any, b: Any) -> bool:
    """2 and 2.0 differ: they may lead to other dtypes."""
    return type(a) is type(b) and bool(a == b or a != a and b != b)


def _plain_arguments(in_spec: Any, manifest: dict[str, Any]) -> int:
    """How many positional tensors forward takes, or -1 when its arguments are structured."""
    args_spec, kwargs_spec = in_spec.children()
    plain = kwargs_spec.num_leaves == 0 and all(child.is_leaf() for child in args_spec.children())
    count = args_spec.num_leaves
    return count if plain and count == len(manifest["inputs"]) else -1


def _output_wrapper(out_spec: Any, manifest: dict[str, Any]) -> Any:
    """None when forward returns one tensor; else a function from the tensors to forward's structure."""
    slots = manifest["output_slots"]
    if out_spec.is_leaf() and slots == [{"tensor": 0}]:
        return None

    def wrap(outputs: list[torch.Tensor]) -> Any:
        leaves = [outputs[slot["tensor"]] if "tensor" in slot else slot.get("value") for slot in slots]
        return pytree.tree_unflatten(leaves, out_spec)

    return wrap


def _checked(library: Any, code: int) -> None:
    if code != 0:
        raise PackageError(library.kw_last_error().decode(errors="replace"))


_loaded: Any = None


def _library() -> Any:
    """libkernelwright, loaded once: from $KERNELWRIGHT_LIB, beside this file, or from a checkout's build folder."""
    global _loaded
    if _loaded is not None:
        return _loaded
    here = Path(__file__).resolve().parent
    names = ("libkernelwright.so", "libkernelwright.dylib")
    places = [os.environ.get("KERNELWRIGHT_LIB", "")]
    places += [str(folder / name) for folder in (here, here.parent.parent / "build") for name in names]
    found = next((place for place in places if place and os.path.exists(place)), None)
    if found is None:
        raise PackageError("libkernelwright was not found; run `make build`, or set KERNELWRIGHT_LIB")
    library = ctypes.CDLL(found)
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    signatures = {
        "kw_load": ([text, ctypes.c_int, ctypes.POINTER(pointer)], ctypes.c_int),
        "kw_last_error": ([], text),
        "kw_isa": ([pointer], text),
        "kw_bind_data": ([pointer, text, pointer], ctypes.c_int),
        "kw_prepare": ([pointer], ctypes.c_int),
        "kw_run_data": ([pointer, pointer, pointer], ctypes.c_int),
        "kw_unload": ([pointer], None),
    }
    for name, (arguments, result) in signatures.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, result
    _loaded = library
    return library
