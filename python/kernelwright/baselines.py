"""What the user would otherwise run: eager, torch.compile and ONNX Runtime, each prepared and checked."""

from __future__ import annotations

import copy
import os
import signal
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils import _pytree as pytree

Call = Callable[[int], Any]
Inputs = tuple[tuple[Any, ...], dict[str, Any]]


class NotPrepared(Exception):
    """Why a baseline (or the drop-in) cannot take part."""


@dataclass
class Subject:
    """The module with its inputs, and the drop-in that is timed."""

    module: torch.nn.Module
    inputs: list[Inputs]
    expected: list[list[torch.Tensor]]  # eager's outputs, for each input set
    candidate: Call
    threads: int
    note: str = ""


def flat_tensors(value: Any) -> list[torch.Tensor]:
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def agrees(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> bool:
    """A sanity check within 1% of the largest value; whether a kernel is right is the judge's question."""
    return len(ours) == len(theirs) and all(_close(a, b) for a, b in zip(ours, theirs, strict=True))


def _close(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if not b.is_floating_point() or b.numel() == 0:
        # Equal maxima may be found at either place.
        return bool((a == b).float().mean() >= 0.99) if b.numel() else True
    finite = b[torch.isfinite(b)]
    scale = float(finite.abs().max()) if finite.numel() else 1.0
    return torch.allclose(a.double(), b.double(), rtol=1e-2, atol=1e-2 * scale + 1e-30, equal_nan=True)


def load_subject(request: dict[str, Any], sets: int) -> Subject:
    """Rebuilds the module as the export did, with the package's weights. Raises Fault."""
    import kernelwright

    fast = kernelwright.load(request["package"], threads=request["threads"])
    module, inputs, note = _rebuild(request, sets)
    _copy_weights(module, fast)
    fast.train(module.training)
    expected = [[x.clone() for x in flat_tensors(copy.deepcopy(module)(*a, **k))] for a, k in inputs]
    subject = Subject(module, inputs, expected, lambda k: fast(*inputs[k][0], **inputs[k][1]), request["threads"], note)
    for k in range(sets):
        if not agrees(flat_tensors(subject.candidate(k)), expected[k]):
            raise NotPrepared("the drop-in's outputs differ from eager's")
    return subject


def _rebuild(request: dict[str, Any], sets: int) -> tuple[torch.nn.Module, list[Inputs], str]:
    import json

    from kernelwright.faults import Fault
    from kernelwright.source import load_source

    described: dict[str, Any] = {}
    path = os.path.join(request["folder"], "problem.json") if request["folder"] else ""
    if path and os.path.isfile(path):
        with open(path, encoding="utf-8") as file:
            described = json.load(file)
    mode = request["mode"] or described.get("mode", "auto")
    try:
        source = load_source(request["source"], mode, described.get("seed", 0), False)
        module = source.module or source.program.module()  # type: ignore[union-attr]
        first, draw, note = source.inputs, source.draw, ""
    except Fault:
        module, first = _from_folder(request["folder"], described)
        draw, note = None, "the module's source is gone: the baselines run its exported program"
    if draw is not None:
        return module, [draw(request["seed"] + k) for k in range(sets)], note
    generator = torch.Generator().manual_seed(request["seed"])
    return module, [_fresh(first, generator) for _ in range(sets)], note


def _from_folder(folder: str, described: dict[str, Any]) -> tuple[torch.nn.Module, Inputs]:
    """The exported program as a module, with the first of the stored draws."""
    from kernelwright.oracle import read_tensor

    program = torch.export.load(os.path.join(folder, "model.pt2"))
    names, leaves = described["draws"][0], []
    for name, row in zip(names, described["inputs"], strict=True):
        path = os.path.join(folder, "draws", os.path.basename(name))
        leaves.append(read_tensor({"file": path, "dtype": row["dtype"], "shape": row["shape"]}))
    args, kwargs = pytree.tree_unflatten(leaves, pytree.treespec_loads(described["in_spec"]))
    module = program.module()
    module.training = described.get("mode") == "train"  # an exported module says True whatever it was exported as
    return module, (tuple(args), kwargs)


def _fresh(inputs: Inputs, generator: torch.Generator) -> Inputs:
    """The same values in another order: every distribution and index range is kept."""

    def shuffled(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor) or leaf.numel() < 2:
            return leaf
        return leaf.flatten()[torch.randperm(leaf.numel(), generator=generator)].reshape(leaf.shape).contiguous()

    return pytree.tree_map(shuffled, inputs)


def _copy_weights(module: torch.nn.Module, fast: torch.nn.Module) -> None:
    weights = fast.state_dict()
    own = module.state_dict()
    shared = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    module.load_state_dict({**own, **shared})


def _checked(call: Call, subject: Subject) -> Call:
    for k, expected in enumerate(subject.expected):
        if not agrees(flat_tensors(call(k)), expected):
            raise NotPrepared("its outputs differ from eager's")
    return call


class _Alarm:
    """Raises NotPrepared in the main thread after `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        def ring(*_: Any) -> None:
            raise NotPrepared(f"not ready within {self._seconds:.0f} s")

        self._before = signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def __exit__(self, *_: Any) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._before)


def _prepared(make: Callable[[Subject], Call]) -> Callable[[Subject, float], Call]:
    """Within the limit, noise swallowed, any error of the framework told in one line."""

    def prepare(subject: Subject, limit_s: float) -> Call:
        try:
            with _Alarm(limit_s), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return _checked(make(subject), subject)
        except NotPrepared:
            raise
        except Exception as error:
            text = str(error).strip().splitlines()
            raise NotPrepared(f"{type(error).__name__}: {text[0] if text else ''}"[:300]) from error

    return prepare


def _eager(subject: Subject) -> Call:
    module, inputs = copy.deepcopy(subject.module), subject.inputs
    return lambda k: module(*inputs[k][0], **inputs[k][1])


def _compiled(mode: str | None) -> Callable[[Subject], Call]:
    def make(subject: Subject) -> Call:
        compiled, inputs = torch.compile(copy.deepcopy(subject.module), mode=mode), subject.inputs
        return lambda k: compiled(*inputs[k][0], **inputs[k][1])

    return make


def _onnxruntime(subject: Subject) -> Call:
    """Exported by torch.onnx, all optimisations on, inputs and outputs bound so that nothing is copied."""
    import onnxruntime

    args, kwargs = subject.inputs[0]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.onnx")
        program = torch.onnx.export(copy.deepcopy(subject.module), args, kwargs=kwargs, dynamo=True, verbose=False)
        program.save(path)  # type: ignore[union-attr]
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads = subject.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    bound = [_bind(session, flat_tensors(subject.inputs[k]), subject.expected[k]) for k in range(len(subject.inputs))]

    def call(k: int) -> list[torch.Tensor]:
        binding, outputs = bound[k]
        session.run_with_iobinding(binding)
        return outputs

    return call


def _bind(session: Any, inputs: list[torch.Tensor], like: list[torch.Tensor]) -> tuple[Any, list[torch.Tensor]]:
    names = [entry.name for entry in session.get_inputs()]
    if len(names) != len(inputs) or len(session.get_outputs()) < len(like):
        raise NotPrepared("its exported form has other inputs or outputs than the module")
    binding = session.io_binding()
    dense = [x.contiguous() for x in inputs]
    outputs = [torch.empty(x.shape, dtype=x.dtype) for x in like]
    for name, x in zip(names, dense, strict=True):
        binding.bind_input(name, "cpu", 0, _numpy_type(x), tuple(x.shape), x.data_ptr())
    for entry, y in zip(session.get_outputs(), outputs, strict=False):
        binding.bind_output(entry.name, "cpu", 0, _numpy_type(y), tuple(y.shape), y.data_ptr())
    for entry in session.get_outputs()[len(outputs) :]:  # new values of buffers
        binding.bind_output(entry.name, "cpu")
    binding.kept_tensors = dense
    return binding, outputs


def _numpy_type(x: torch.Tensor) -> Any:
    return x.detach().flatten()[:1].numpy().dtype.type


PREPARERS: dict[str, Callable[[Subject, float], Call]] = {
    "eager": _prepared(_eager),
    "compile": _prepared(_compiled(None)),
    "max-autotune": _prepared(_compiled("max-autotune")),
    "onnxruntime": _prepared(_onnxruntime),
}
