"""Buffers that forward assigns anew (`self.hidden = ...`), in a form that torch.export keeps for every part."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn.modules.module import register_module_buffer_registration_hook

Assigned = list[tuple[torch.nn.Module, str]]  # a part of the module, and the name of its buffer


@contextlib.contextmanager
def watch_assignments(module: torch.nn.Module) -> Iterator[Assigned]:
    """Collects which buffers of which parts are assigned while it lasts."""
    parts = {id(part) for part in module.modules()}
    assigned: Assigned = []

    def note(part: torch.nn.Module, name: str, value: Any) -> None:
        known = any(part is other and name == one for other, one in assigned)
        if id(part) in parts and name in part._buffers and not known:
            assigned.append((part, name))

    hook = register_module_buffer_registration_hook(note)
    try:
        yield assigned
    finally:
        hook.remove()


@contextlib.contextmanager
def assignments_as_copies(module: torch.nn.Module, assigned: Assigned) -> Iterator[None]:
    """While it lasts, a call works on clones of the `assigned` buffers and copies what they hold at its end into the
    buffers: the same values, told without an assignment. A result that is a buffer's old value stays the old value."""
    originals: list[torch.Tensor] = []

    def begin(*_: Any) -> None:
        originals[:] = [_held(part, name) for part, name in assigned]
        for (part, name), original in zip(assigned, originals, strict=True):
            part._buffers[name] = original.clone()

    def end(*_: Any) -> None:
        for (part, name), original in zip(assigned, originals, strict=True):
            original.copy_(_held(part, name))
            part._buffers[name] = original

    hooks = [module.register_forward_pre_hook(begin), module.register_forward_hook(end)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _held(part: torch.nn.Module, name: str) -> torch.Tensor:
    value = part._buffers[name]
    if value is None:
        raise TypeError(f"forward sets the buffer `{name}` to None")
    return value
