"""Runs an exported program in numpy's long double (64 bits of mantissa on x86), an arbiter between two float64 results.

It knows the operators that the arbitrated programs use, and raises NotImplementedError for any other.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

LD = np.longdouble
Array = Any


def truth(
    program: torch.export.ExportedProgram, inputs: Sequence[torch.Tensor]
) -> tuple[list[Array], dict[str, Array]]:
    """The user outputs that are tensors, in order, and the new values of changed buffers by name."""
    given = iter(inputs)
    arguments = [_argument(program, spec, given) for spec in program.graph_signature.input_specs]
    results = Exact(program.graph_module).run(*arguments)
    user, states = [], {}
    for spec, result in zip(program.graph_signature.output_specs, results, strict=True):
        if spec.kind.name == "USER_OUTPUT":
            user.append(result)
        else:
            states[spec.target] = result
    return user, states


def _argument(program: torch.export.ExportedProgram, spec: Any, given: Any) -> Array:
    if spec.kind.name == "USER_INPUT":
        return widen(next(given))
    held = {**program.constants, **program.state_dict}
    return widen(held[spec.target])


def widen(tensor: torch.Tensor) -> Array:
    array = tensor.detach().numpy()
    return array.astype(LD) if tensor.is_floating_point() else array


class Exact(torch.fx.Interpreter):
    """Every aten operator by its row of the table."""

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = getattr(target, "_schema", None) and target._schema.name.removeprefix("aten::")
        if name is None:
            return target(*args, **kwargs)
        if name not in OPS:
            raise NotImplementedError(f"long double does not know {name}")
        return OPS[name](*args, **kwargs)


def _listed(value: Any, rank: int) -> list[int]:
    given = [value] if isinstance(value, int) else list(value)
    return given * rank if len(given) == 1 else given


def _windows(x: Array, size: Sequence[int], stride: Sequence[int], step: Sequence[int], out: Sequence[int]) -> Any:
    """For each place in the window: the place, and what every window sees there."""
    for place in itertools.product(*map(range, size)):
        cut = [slice(p * d, p * d + (n - 1) * s + 1, s) for p, d, n, s in zip(place, step, out, stride, strict=True)]
        yield place, x[(..., *cut)]


def _padded(x: Array, padding: Sequence[int], value: float) -> Array:
    return np.pad(x, [(0, 0)] * (x.ndim - len(padding)) + [(p, p) for p in padding], constant_values=LD(value))


def conv(
    x: Array, w: Array, b: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Array:
    rank = w.ndim - 2
    stride, padding, step = _listed(stride, rank), _listed(padding, rank), _listed(dilation, rank)
    x = _padded(x, padding, 0)
    size = w.shape[2:]
    out = [(n - d * (k - 1) - 1) // s + 1 for n, d, k, s in zip(x.shape[2:], step, size, stride, strict=True)]
    total = np.zeros((x.shape[0], groups, w.shape[0] // groups, int(np.prod(out))), LD)
    for place, seen in _windows(x, size, stride, step, out):
        weights = w[(..., *place)].reshape(groups, w.shape[0] // groups, w.shape[1])
        total += weights @ np.ascontiguousarray(seen).reshape(x.shape[0], groups, w.shape[1], -1)
    y = total.reshape(x.shape[0], w.shape[0], *out)
    return y if b is None else y + b.reshape(-1, *[1] * rank)


def max_pool2d(x: Array, size: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil: bool = False) -> Array:
    if ceil:
        raise NotImplementedError("long double pools by whole windows only")
    size, padding, step = _listed(size, 2), _listed(padding, 2), _listed(dilation, 2)
    stride = _listed(stride or size, 2)
    x = _padded(x, padding, -np.inf)
    out = [(n - d * (k - 1) - 1) // s + 1 for n, d, k, s in zip(x.shape[-2:], step, size, stride, strict=True)]
    return np.maximum.reduce([seen for _, seen in _windows(x, size, stride, step, out)])


def avg_pool2d(x: Array, size: Any, stride: Any = (), padding: Any = 0, ceil: bool = False, *_: Any) -> Array:
    size = _listed(size, 2)
    if ceil or any(_listed(padding, 2)):
        raise NotImplementedError("long double averages whole windows only")
    stride = _listed(stride or size, 2)
    out = [(n - k) // s + 1 for n, k, s in zip(x.shape[-2:], size, stride, strict=True)]
    return sum(seen for _, seen in _windows(x, size, stride, [1, 1], out)) / LD(size[0] * size[1])


def adaptive_avg_pool2d(x: Array, size: Any) -> Array:
    if _listed(size, 2) != [1, 1]:
        raise NotImplementedError("long double averages over everything only")
    return x.mean((-2, -1), keepdims=True, dtype=LD)


def _channels(value: Any, rank: int) -> Any:
    return value if value is None else value.reshape(-1, *[1] * (rank - 2))


def batch_norm(x: Array, w: Any, b: Any, mean: Array, var: Array, training: bool, momentum: float, eps: float) -> Any:
    if not training:
        raise NotImplementedError("long double normalises batches in train mode only")
    axes = (0, *range(2, x.ndim))
    m, v = x.mean(axes, dtype=LD), x.var(axes, dtype=LD)
    count = x.size // x.shape[1]
    y = (x - _channels(m, x.ndim)) / np.sqrt(_channels(v, x.ndim) + LD(eps))
    y = y if w is None else y * _channels(w, x.ndim) + _channels(b, x.ndim)
    share = LD(momentum)
    kept = LD(1) - share
    return y, m, 1 / np.sqrt(v + LD(eps)), kept * mean + share * m, kept * var + share * v * count / (count - 1)


def group_norm(x: Array, groups: int, w: Any = None, b: Any = None, eps: float = 1e-5, *_: Any) -> Array:
    parts = x.reshape(x.shape[0], groups, -1)
    m, v = parts.mean(-1, keepdims=True, dtype=LD), parts.var(-1, keepdims=True, dtype=LD)
    y = ((parts - m) / np.sqrt(v + LD(eps))).reshape(x.shape)
    return y if w is None else y * _channels(w, x.ndim) + _channels(b, x.ndim)


def mean(x: Array, dim: Any = None, keepdim: bool = False, **_: Any) -> Array:
    return x.mean(None if dim is None else tuple(dim), keepdims=keepdim, dtype=LD)


def same(x: Array, *_: Any, **__: Any) -> Array:
    return x


OPS: dict[str, Callable[..., Any]] = {
    "conv2d": conv,
    "conv3d": conv,
    "_native_batch_norm_legit_functional": batch_norm,
    "group_norm": group_norm,
    "max_pool2d": max_pool2d,
    "avg_pool2d": avg_pool2d,
    "adaptive_avg_pool2d": adaptive_avg_pool2d,
    "mean": mean,
    "linear": lambda x, w, b=None: x @ w.T + (0 if b is None else b),
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "hardtanh": lambda x, lo=-1, hi=1: np.clip(x, LD(lo), LD(hi)),
    "clamp": lambda x, lo=None, hi=None: np.clip(x, lo, hi),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "add": lambda x, y, alpha=1: x + y * alpha,
    "mul": lambda x, y: x * y,
    "cat": lambda xs, dim=0: np.concatenate(xs, dim),
    "view": lambda x, shape: x.reshape(shape),
    "reshape": lambda x, shape: x.reshape(shape),
    "flatten": lambda x, a=0, b=-1: x.reshape(*x.shape[:a], -1, *x.shape[b % x.ndim + 1 :]),
    "transpose": lambda x, a, b: np.swapaxes(x, a, b),
    "permute": lambda x, dims: np.transpose(x, dims),
    "clone": same,
    "_unsafe_view": lambda x, shape: x.reshape(shape),
    "contiguous": same,
    "detach": same,
    "alias": same,
}
