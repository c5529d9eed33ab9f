"""Shapes of LSTM, GRU and RNN results without unrolling them.

While it traces, torch finds the result shapes of a recurrence by running its decomposition on tensors without data:
every cell of every step, minutes of Python for a long sequence. The shapes follow from the arguments alone.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch._decomp import decomposition_table
from torch._subclasses.fake_tensor import FakeTensor
from torch.fx.experimental.proxy_tensor import get_proxy_mode

_NAMES = ("lstm", "gru", "rnn_tanh", "rnn_relu")


def _has_no_data(value: Any) -> bool:
    return isinstance(value, FakeTensor) or (type(value) is torch.Tensor and value.is_meta)


def _result_shapes(x: torch.Tensor, states: Sequence[torch.Tensor], two_ways: bool) -> tuple[torch.Tensor, ...]:
    """The outputs over time, then each final state: a state's last size is what one direction puts out."""
    width = states[0].shape[-1] * (2 if two_ways else 1)
    return (x.new_empty((*x.shape[:-1], width)), *(s.new_empty(s.shape) for s in states))


def _quick(unrolled: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(unrolled)
    def call(
        x: Any, hx: Any, params: Any, has_biases: bool, layers: int, dropout: float, train: bool, two_ways: bool,
        batch_first: bool,
    ) -> Any:  # fmt: skip
        states = [hx] if isinstance(hx, torch.Tensor) else list(hx)
        # Being traced itself, the decomposition must be what is recorded; and data must be computed.
        if get_proxy_mode() is None and x.dim() == 3 and all(map(_has_no_data, [x, *states])):
            return _result_shapes(x, states, two_ways)
        return unrolled(x, hx, params, has_biases, layers, dropout, train, two_ways, batch_first)

    return call


def _kernels(op: Any) -> list[tuple[dict[Any, Any], Any]]:
    """Where torch looks for what computes `op`: (table, key) each."""
    kernels = getattr(op, "py_kernels", {})
    found = [(kernels, key) for key in kernels]
    return found + ([(decomposition_table, op)] if op in decomposition_table else [])


@contextlib.contextmanager
def quick_recurrences() -> Iterator[None]:
    """While it lasts, tracing takes the shapes of recurrences from their arguments. Where torch keeps its kernels
    elsewhere than expected nothing changes, and tracing is as slow as it was."""
    ops = [getattr(torch.ops.aten, name).input for name in _NAMES]
    kept = [(table, key, table[key]) for op in ops for table, key in _kernels(op)]
    try:
        for table, key, kernel in kept:
            table[key] = _quick(kernel)
        _forget_dispatch(ops)
        yield
    finally:
        for table, key, kernel in kept:
            table[key] = kernel
        _forget_dispatch(ops)


def _forget_dispatch(ops: list[Any]) -> None:
    for op in ops:
        getattr(op, "_dispatch_cache", {}).clear()
