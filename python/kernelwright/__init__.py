"""Kernelwright: the same module, faster. `kernelwright.load("out.kw")` gives the drop-in."""

from __future__ import annotations

from typing import Any

__all__ = ["load"]
__version__ = "0.1.0"


def load(path: str, **options: Any) -> Any:
    """The package at `path` as an nn.Module with the original's signature, outputs and state_dict."""
    from kernelwright.dropin import load as load_package

    return load_package(path, **options)
