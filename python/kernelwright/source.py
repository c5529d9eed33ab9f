"""Loads what the user hands over: a KernelBench-style file, FILE.py:factory, or an exported .pt2."""

from __future__ import annotations

import importlib.util
import inspect
import os
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch

from kernelwright.faults import Fault, first_line, raised

Inputs = tuple[tuple[Any, ...], dict[str, Any]]
_KERNELBENCH_NAMES = ("Model", "get_inputs")
_FACTORY = "factory"


@dataclass
class Source:
    """A module with its example inputs; `draw(seed)` gives fresh ones where the file can make them."""

    name: str
    text: str
    style: str  # kernelbench, factory, pt2
    mode: str  # train, eval
    module: torch.nn.Module | None
    program: torch.export.ExportedProgram | None
    inputs: Inputs
    draw: Callable[[int], Inputs] | None
    file: str


def set_seed(seed: int) -> None:
    """Seeds every generator that a module's file may draw from."""
    torch.manual_seed(seed)
    random.seed(seed)
    try:
        import numpy

        numpy.random.seed(seed & 0xFFFFFFFF)
    except ImportError:
        pass


def split_source(text: str) -> tuple[str, str]:
    """`FILE.py:factory` into its parts; the second is "" where none is given."""
    path, colon, factory = text.rpartition(":")
    if colon and path.endswith(".py"):
        return path, factory
    return text, ""


def load_source(text: str, mode: str, seed: int, meta: bool) -> Source:
    """Loads `text`. mode: train, eval or auto (KernelBench style: train; others: eval)."""
    path, factory = split_source(text)
    if not os.path.isfile(path):
        raise Fault("export.missing", f"cannot find the file `{path}`", "check the path")
    if path.endswith(".pt2"):
        return _load_pt2(text)
    if not path.endswith(".py"):
        raise Fault(
            "export.kind", f"`{path}` is neither a .py file nor a .pt2 archive", "see --help for what may be given"
        )
    set_seed(seed)
    module = _import_file(path)
    if not factory and not all(hasattr(module, name) for name in _KERNELBENCH_NAMES) and hasattr(module, _FACTORY):
        factory = _FACTORY
    if factory:
        return _load_factory(text, path, module, factory, mode, seed)
    return _load_kernelbench(text, path, module, mode, seed, meta)


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def _import_file(path: str) -> ModuleType:
    """Imports the file as a script would see itself: its own folder comes first on the path."""
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    name = "kernelwright_user_" + "".join(c if c.isalnum() else "_" for c in _stem(path))
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise Fault("export.import", f"cannot import `{path}`", "check that it is a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        hint = "run the file with python by itself and mend it"
        raise raised(f"importing `{path}`", error, path, "export.import", hint) from error
    return module


def as_inputs(value: Any, owner: str) -> Inputs:
    """Example inputs as (args, kwargs): a tensor, a list or tuple of arguments, a dict, or (args, kwargs dict)."""
    if isinstance(value, torch.Tensor):
        return (value,), {}
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise Fault("export.inputs", f"{owner} gives a dict whose keys are not argument names", "use names as keys")
        return (), dict(value)
    if isinstance(value, tuple | list):
        is_pair = len(value) == 2 and isinstance(value[0], tuple | list) and isinstance(value[1], dict)
        if is_pair and all(isinstance(key, str) for key in value[1]):
            return tuple(value[0]), dict(value[1])
        return tuple(value), {}
    raise Fault("export.inputs", f"{owner} gives {type(value).__name__} as example inputs", "give a tuple or a dict")


def _as_module(value: Any, owner: str) -> torch.nn.Module:
    if not isinstance(value, torch.nn.Module):
        raise Fault("export.module", f"{owner} is {type(value).__name__}, not a torch.nn.Module", "give an nn.Module")
    return value


def _load_factory(text: str, path: str, file: ModuleType, name: str, mode: str, seed: int) -> Source:
    factory = getattr(file, name, None)
    if not callable(factory):
        hint = f"define `def {name}(): return module, example_inputs`"
        raise Fault("export.missing_name", f"`{path}` has no function `{name}`", hint)
    set_seed(seed)
    try:
        made = factory()
    except Exception as error:
        raise raised(f"`{name}()`", error, path, "export.construct", "mend the factory") from error
    if not (isinstance(made, tuple | list) and len(made) == 2):
        raise Fault("export.factory", f"`{name}()` does not return (module, example_inputs)", "return that pair")
    chosen = "train" if mode == "train" else "eval"
    module = _as_module(made[0], f"the first result of `{name}()`").train(chosen == "train")
    label = _stem(path) if name == _FACTORY else name
    return Source(label, text, "factory", chosen, module, None, as_inputs(made[1], f"`{name}()`"), None, path)


def _load_kernelbench(text: str, path: str, file: ModuleType, mode: str, seed: int, meta: bool) -> Source:
    missing = [name for name in _KERNELBENCH_NAMES if not hasattr(file, name)]
    if missing:
        hint = "define Model and get_inputs (and get_init_inputs), or name a factory: FILE.py:factory"
        raise Fault("export.missing_name", f"`{path}` does not define {' and '.join(missing)}", hint)
    device = "meta" if meta else "cpu"

    def draw(draw_seed: int) -> Inputs:
        set_seed(draw_seed)
        try:
            with torch.device(device):
                return as_inputs(file.get_inputs(), "`get_inputs()`")
        except Fault:
            raise
        except Exception as error:
            raise raised("`get_inputs()`", error, path, "export.inputs", "mend get_inputs") from error

    module = _make_model(file, path, seed, device)
    chosen = "eval" if mode == "eval" else "train"
    return Source(
        _stem(path), text, "kernelbench", chosen, module.train(chosen == "train"), None, draw(seed), draw, path
    )


def _make_model(file: ModuleType, path: str, seed: int, device: str) -> torch.nn.Module:
    set_seed(seed)
    try:
        given = file.get_init_inputs() if hasattr(file, "get_init_inputs") else []
        # Files that pass keyword arguments give a dict, some in a one-element list.
        if isinstance(given, list | tuple) and len(given) == 1 and isinstance(given[0], dict):
            given = given[0]
        args, kwargs = ((), dict(given)) if isinstance(given, dict) else (tuple(given), {})
        with torch.device(device):
            return _as_module(file.Model(*args, **kwargs), "`Model(...)`")
    except Fault:
        raise
    except Exception as error:
        if device == "meta":  # constructors that read values (.item()) need real tensors
            return _make_model(file, path, seed, "cpu").to("meta")
        raise raised("`Model(...)`", error, path, "export.construct", "mend the constructor") from error


def _load_pt2(path: str) -> Source:
    try:
        program = torch.export.load(path)
    except Exception as error:
        hint = "give a file that torch.export.save wrote"
        raise Fault("export.pt2", f"torch cannot load `{path}`: {first_line(error)}", hint) from error
    if program.example_inputs is None:
        raise Fault("export.inputs", f"`{path}` holds no example inputs", "save it with its example inputs")
    args, kwargs = program.example_inputs
    return Source(_stem(path), path, "pt2", "eval", None, program, (tuple(args), dict(kwargs)), None, path)


def forward_names(module: torch.nn.Module | None) -> list[str]:
    """Names of forward's positional parameters, so that the drop-in takes them as keywords too."""
    if module is None:
        return []
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in inspect.signature(module.forward).parameters.values() if p.kind in kinds]


def mode_matters(module: torch.nn.Module | None) -> bool:
    """False when train() and eval() cannot differ: no part that looks at `training`, its own code included."""
    if module is None:
        return True
    return any(_looks_at_training(type(part)) and not _is_inert(part) for part in module.modules())


def _looks_at_training(kind: type) -> bool:
    functions = [f for base in kind.__mro__ if base not in (torch.nn.Module, object) for f in vars(base).values()]
    return any("training" in f.__code__.co_names for f in functions if hasattr(f, "__code__"))


def _is_inert(part: torch.nn.Module) -> bool:
    """Parts whose dropout is off, and attention blocks that only pass it on."""
    rates = [getattr(part, name) for name in ("p", "dropout") if isinstance(getattr(part, name, None), float | int)]
    return bool(rates) and all(rate == 0 for rate in rates)
