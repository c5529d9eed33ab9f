"""Traces a module with torch.export into the functional form that the C++ reader takes."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
from torch.utils import _pytree as pytree

from kernelwright.assignments import assignments_as_copies, watch_assignments
from kernelwright.faults import Fault, first_line, raised, user_line
from kernelwright.recurrences import quick_recurrences
from kernelwright.source import Inputs, Source

SUPPORTED_DTYPES = (
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool,
    torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
)  # fmt: skip


def capture(source: Source) -> torch.export.ExportedProgram:
    """Exports under no_grad and runs the functionalising decomposition. Raises Fault."""
    with torch.no_grad(), warnings.catch_warnings(), quick_recurrences():
        warnings.simplefilter("ignore")
        program = source.program or _export(source)
        program = _functionalise(program, source)
    _check_inputs(program)
    _check_values(program)
    _check_outputs(program)
    # Names of passes and addresses of graphs only bloat the archive.
    for node in program.graph.nodes:
        node.meta.pop("from_node", None)
    return program


def _export(source: Source) -> torch.export.ExportedProgram:
    """Non-strict first (it follows Python as it runs), then strict, unless strict would lose state."""
    assert source.module is not None
    module = with_tensor_attributes_as_buffers(source.module)
    args, kwargs = source.inputs
    first: Exception | None = None
    for strict in (False, True):
        try:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                program = trace(module, args, kwargs, strict)
            # Strict tracing only warns that an assignment to a buffer is lost; non-strict tracing keeps it.
            if strict and any("assigned during export" in str(w.message) for w in said):
                continue
            return program
        except Exception as error:
            first = first or error
    raise _explain(source, first or RuntimeError("an assignment in forward would be lost")) from first


def with_tensor_attributes_as_buffers(module: torch.nn.Module) -> torch.nn.Module:
    """Registers tensors held as plain attributes as non-persistent buffers: export would freeze them, and silently
    lose what forward assigns to them. The state_dict stays as it is."""
    for part in module.modules():
        plain = {name: value for name, value in vars(part).items() if isinstance(value, torch.Tensor)}
        for name, value in plain.items():
            delattr(part, name)
            part.register_buffer(name, value, persistent=False)
    return module


def trace(
    module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], strict: bool, free_shapes: Any = None
) -> torch.export.ExportedProgram:
    """torch.export silently loses what parts of the module assign to their buffers, and mixes up the old and the new
    value where both are used: a module that assigns is traced again, with its assignments written as copies."""
    with watch_assignments(module) as assigned:
        program = torch.export.export(module, args, kwargs, dynamic_shapes=free_shapes, strict=strict)
    if not assigned:
        return program
    with assignments_as_copies(module, assigned):
        return torch.export.export(module, args, kwargs, dynamic_shapes=free_shapes, strict=strict)


def _explain(source: Source, error: Exception) -> Fault:
    """Tells the module's own errors from what torch.export cannot trace: runs forward once, eagerly."""
    assert source.module is not None
    args, kwargs = source.inputs
    on_meta = any(isinstance(x, torch.Tensor) and x.is_meta for x in pytree.tree_leaves((args, kwargs)))
    if not on_meta:
        try:
            copy.deepcopy(source.module)(*args, **kwargs)
        except Exception as own:
            hint = "mend the module, or the example inputs, so that forward runs"
            return raised("the module's forward", own, source.file, "export.forward", hint)
    where = user_line(error, source.file)
    at = f" at {where}" if where else ""
    text = first_line(error)
    if "data-dependent" in str(error).lower() or "Could not guard" in str(error):
        hint = "avoid .item(), nonzero and branches on tensor values; use torch.where"
        return Fault("export.data_dependent", f"forward depends on tensor values{at}, which export cannot trace", hint)
    return Fault(
        "export.trace", f"torch.export cannot trace the module{at}: {text}", "see the torch.export documentation"
    )


def _functionalise(program: torch.export.ExportedProgram, source: Source) -> torch.export.ExportedProgram:
    try:
        return program.run_decompositions({})
    except Exception as error:
        where = user_line(error, source.file)
        at = f" at {where}" if where else ""
        message = f"torch.export cannot make the module functional{at}: {first_line(error)}"
        raise Fault("export.functionalise", message, "avoid in-place writes to views in forward") from error


def node_line(node: torch.fx.Node) -> str:
    """` (file:line)` of the user's code that made `node`, or ""."""
    trace = node.meta.get("stack_trace") or ""
    frames = [line.strip() for line in trace.splitlines() if line.strip().startswith('File "')]
    own = [f for f in frames if "/torch/" not in f and '"<' not in f]
    if not own:
        return ""
    file, _, rest = own[-1][len('File "') :].partition('", line ')
    return f" ({file}:{rest.split(',')[0]})"


def _tensor_values(node: torch.fx.Node) -> list[torch.Tensor]:
    return [v for v in pytree.tree_leaves(node.meta.get("val")) if isinstance(v, torch.Tensor)]


def _check_inputs(program: torch.export.ExportedProgram) -> None:
    user_inputs = set(program.graph_signature.user_inputs)
    for node in program.graph.nodes:
        if node.op != "placeholder" or node.name not in user_inputs:
            continue
        for value in _tensor_values(node):
            dynamic = [i for i, size in enumerate(value.shape) if not isinstance(size, int)]
            if dynamic:
                message = f"the input `{node.name}` has a dynamic size in dimension {dynamic[0]}"
                raise Fault("pt2.dynamic_shape", message, "export with static shapes (no dynamic_shapes)")
        if isinstance(node.meta.get("val"), torch.SymInt | torch.SymFloat | torch.SymBool):
            message = f"the input `{node.name}` is a dynamic number"
            raise Fault("pt2.dynamic_shape", message, "export with static shapes (no dynamic_shapes)")


def _check_values(program: torch.export.ExportedProgram) -> None:
    """Names the first value of a dtype or layout that is not supported, or of a size that depends on data."""
    for node in program.graph.nodes:
        where = node_line(node)
        for value in _tensor_values(node):
            owner = f"the input `{node.name}`" if node.op == "placeholder" else f"`{node.target}`{where}"
            if value.dtype not in SUPPORTED_DTYPES:
                dtype = str(value.dtype).removeprefix("torch.")
                hint = "float16 to float64, bfloat16, bool, uint8 and int8 to int64 are supported"
                raise Fault("pt2.dtype", f"{owner} has dtype {dtype}, which is not supported", hint)
            if value.layout != torch.strided:
                raise Fault("pt2.dtype", f"{owner} is not a dense tensor", "use dense tensors")
            if any(not isinstance(size, int) for size in value.shape):
                hint = "avoid ops whose result size depends on data (nonzero, boolean masks, unique)"
                raise Fault("pt2.dynamic_shape", f"{owner} has a size that depends on data", hint)


def _check_outputs(program: torch.export.ExportedProgram) -> None:
    for spec in program.graph_signature.output_specs:
        if spec.kind.name == "PARAMETER_MUTATION":
            raise Fault("export.mutation", f"forward changes the parameter `{spec.target}`", "use a buffer for state")


def mutations(program: torch.export.ExportedProgram) -> dict[str, list[str]]:
    """What forward changes besides giving its outputs: buffers by name, inputs by argument name."""
    signature = program.graph_signature
    return {
        "buffers": list(signature.buffers_to_mutate.values()),
        "inputs": list(signature.user_inputs_to_mutate.values()),
    }


def pytree_text(spec: Any, owner: str) -> str:
    """A pytree spec as torch writes it. Raises Fault for classes that torch cannot write."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pytree.treespec_dumps(spec)
    except Exception as error:
        hint = "use tensors, tuples, lists, dicts, named tuples or registered dataclasses"
        raise Fault(
            "export.structure", f"{owner} has a structure that cannot be stored: {first_line(error)}", hint
        ) from error


def ordered_inputs(program: torch.export.ExportedProgram, inputs: Inputs) -> list[Any]:
    """The leaves of (args, kwargs) in the order of the program's user inputs."""
    args, kwargs = inputs
    keys = program.call_spec.in_spec.child(1).context if program.call_spec.in_spec is not None else list(kwargs)
    return pytree.tree_leaves((tuple(args), {key: kwargs[key] for key in keys}))
