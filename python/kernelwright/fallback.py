"""The original module inside a package: for shapes, dtypes and layouts that no Plan covers.

`model.pt2` holds the shapes of the example inputs. `fallback.pt2` is the same module exported with free dimensions
and without weights, so that any shape which the original accepts runs; both share the drop-in's parameters.
"""

from __future__ import annotations

import io
import warnings
import zipfile
from typing import Any

import torch
from torch.utils import _pytree as pytree


def save_dynamic(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], path: str) -> bool:
    """Writes the free-dimension export to `path`; False when the module cannot be exported so."""
    from kernelwright.capture import trace  # not above: loading a package needs none of it
    from kernelwright.recurrences import quick_recurrences

    try:
        with torch.no_grad(), warnings.catch_warnings(), quick_recurrences():
            warnings.simplefilter("ignore")
            program = trace(module, args, kwargs, False, _free_shapes(args, kwargs))
            program._state_dict = {name: _weightless(value) for name, value in program.state_dict.items()}
            program._example_inputs = None
            torch.export.save(program, path)
        return True
    except Exception:  # torch raises many kinds; without it other shapes are refused with a reason
        return False


def _free_shapes(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    def free(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor):
            return None
        return {axis: torch.export.Dim.AUTO for axis in range(leaf.dim())}

    shapes = pytree.tree_map(free, args)
    if not kwargs:
        return shapes
    return (*shapes, *(pytree.tree_map(free, value) for value in kwargs.values()))


def _weightless(value: torch.Tensor) -> torch.Tensor:
    empty = torch.empty_like(value, device="meta")
    return torch.nn.Parameter(empty, value.requires_grad) if isinstance(value, torch.nn.Parameter) else empty


class Fallback:
    """The original, loaded on first use, over the drop-in's own parameters and buffers."""

    def __init__(self, package: str, static: str, dynamic: str | None) -> None:
        self._package, self._static, self._dynamic = package, static, dynamic
        self._modules: dict[str, torch.nn.Module] = {}

    def run(self, owner: torch.nn.Module, same_shapes: bool, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = self._static if same_shapes or self._dynamic is None else self._dynamic
        module = self._modules.get(name) or self._load(name)
        _share_state(module, owner)
        with torch.no_grad():
            return module(*args, **kwargs)

    def _load(self, name: str) -> torch.nn.Module:
        with zipfile.ZipFile(self._package) as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.load(io.BytesIO(archive.read(name)))
            self._modules[name] = program.module()
        return self._modules[name]


def _share_state(module: torch.nn.Module, owner: torch.nn.Module) -> None:
    """Points every parameter and buffer of `module` at the owner's tensor of that name."""
    for kind in ("_parameters", "_buffers"):
        for prefix, part in list(owner.named_modules()):
            target = _submodule(module, prefix)
            if target is None:
                continue
            for name, value in getattr(part, kind).items():
                if name in getattr(target, kind):
                    getattr(target, kind)[name] = value


def _submodule(module: torch.nn.Module, path: str) -> torch.nn.Module | None:
    for step in path.split(".") if path else []:
        found = getattr(module, step, None)
        if not isinstance(found, torch.nn.Module):
            return None
        module = found
    return module
