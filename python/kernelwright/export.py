"""python -m kernelwright.export SOURCE --out DIR: a module as DIR/model.pt2, DIR/problem.json and DIR/draws/.

stdout carries one JSON line: {"type":"export",...} or {"type":"error","id","message","hint"} (then exit code 2).
What the user's code prints goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

_DRAW_LIMIT_BYTES = 1 << 30


def main(argv: list[str] | None = None) -> int:
    options = parse_options(argv)
    reply = _claim_stdout()
    from kernelwright.faults import Fault

    try:
        result = run(options.source, options.out, options.mode, options.seed, options.meta, options.draws)
        code = 0
    except Fault as fault:
        result, code = fault.as_json(), 2
    except KeyboardInterrupt:
        return 130
    reply.write(json.dumps(result) + "\n")
    reply.flush()
    return code


def parse_options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m kernelwright.export", description=__doc__)
    parser.add_argument("source", help="FILE.py (KernelBench style), FILE.py:factory, or model.pt2")
    parser.add_argument("--out", required=True, help="folder to write")
    parser.add_argument("--mode", choices=("train", "eval", "auto"), default="auto")
    parser.add_argument("--draws", type=int, default=3, help="how many draws of the inputs to keep")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--meta", action="store_true", help="parameters without data: shapes only")
    return parser.parse_args(argv)


def _claim_stdout() -> Any:
    """Keeps the real stdout for the reply and sends all other output, C code's too, to stderr."""
    sys.stdout.flush()
    reply = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return reply


def run(text: str, out: str, mode: str, seed: int, meta: bool, draws: int) -> dict[str, Any]:
    """Exports `text` into the folder `out`. Raises Fault; writes problem.json last, so that half a folder shows."""
    from kernelwright.capture import capture
    from kernelwright.fallback import save_dynamic
    from kernelwright.faults import Fault
    from kernelwright.source import load_source

    source = load_source(text, mode, seed, meta)
    program = capture(source)
    try:
        os.makedirs(out, exist_ok=True)
        _save_program(program, os.path.join(out, "model.pt2"))
        if source.module is not None and not meta:
            save_dynamic(source.module, *source.inputs, os.path.join(out, "fallback.pt2"))
        problem = _describe(source, program, out, seed, draws)
        _write_json(os.path.join(out, "problem.json"), problem)
    except OSError as error:
        hint = "choose a folder that you may write to, with enough space"
        raise Fault("export.write", f"cannot write to `{out}`: {error.strerror or error}", hint) from error
    return {"type": "export", "name": source.name, "mode": source.mode, "folder": os.path.abspath(out)}


def _save_program(program: Any, path: str) -> None:
    """Saves without the example inputs (they lie in draws/), first under another name."""
    import warnings

    import torch

    from kernelwright.faults import Fault, first_line

    program._example_inputs = None
    partial = path.removesuffix(".pt2") + ".partial.pt2"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.export.save(program, partial)
        os.replace(partial, path)
    except OSError:
        raise
    except Exception as error:
        message = f"torch.export.save cannot write the program: {first_line(error)}"
        raise Fault("export.save", message, "use tensors, tuples, lists and dicts as inputs and outputs") from error
    finally:
        if os.path.exists(partial):
            os.remove(partial)


def _describe(source: Any, program: Any, out: str, seed: int, draws: int) -> dict[str, Any]:
    import torch

    from kernelwright.capture import mutations, ordered_inputs, pytree_text
    from kernelwright.domains import describe
    from kernelwright.source import forward_names, mode_matters

    leaves = ordered_inputs(program, source.inputs)
    names = [spec.arg.name for spec in program.graph_signature.input_specs if spec.kind.name == "USER_INPUT"]
    tensors = [(name, leaf) for name, leaf in zip(names, leaves, strict=True) if isinstance(leaf, torch.Tensor)]
    changed = mutations(program)
    return {
        "format": "kernelwright-problem/1",
        "name": source.name,
        "source": source.text,
        "mode": source.mode,
        "style": source.style,
        "seed": seed,
        "torch": torch.__version__,
        "inputs": [describe(name, leaf) for name, leaf in tensors],
        "argument_count": len(source.inputs[0]),
        "argument_names": list(source.inputs[1]),
        "forward_names": forward_names(source.module),
        "mode_matters": mode_matters(source.module),
        "in_spec": pytree_text(program.call_spec.in_spec, "the input"),
        "out_spec": pytree_text(program.call_spec.out_spec, "the output"),
        "mutated_buffers": changed["buffers"],
        "mutated_inputs": changed["inputs"],
        "draws": _write_draws(source, program, [leaf for _, leaf in tensors], out, seed, draws),
    }


def _write_draws(source: Any, program: Any, first: list[Any], out: str, seed: int, count: int) -> list[list[str]]:
    """The example inputs and further draws, while they fit the limit."""
    import torch

    from kernelwright.capture import ordered_inputs
    from kernelwright.domains import total_bytes, write_draw

    folder, written, used = os.path.join(out, "draws"), [], 0
    tensors = first
    for k in range(count):
        if k > 0:
            if source.draw is None:
                break
            tensors = [x for x in ordered_inputs(program, source.draw(seed + k)) if isinstance(x, torch.Tensor)]
            same = [(t.shape, t.dtype) for t in tensors] == [(t.shape, t.dtype) for t in first]
            if not same:
                break
        used += total_bytes(tensors)
        if used > _DRAW_LIMIT_BYTES or any(t.is_meta for t in tensors):
            break
        written.append(write_draw(folder, k, tensors))
    return written


def _write_json(path: str, value: dict[str, Any]) -> None:
    partial = path + ".partial"
    with open(partial, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
    os.replace(partial, path)


if __name__ == "__main__":
    sys.exit(main())
