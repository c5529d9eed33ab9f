"""python -m kernelwright.oracle FOLDER THREADS: runs the exported module on given inputs and parameters.

One JSON line in, one out. In: {"inputs": [tensor...], "params": {name: tensor}, "out": folder}, where a tensor is
{"file", "dtype", "shape"}; parameters that are left out keep their last values. Out: {"outputs": [tensor...]} or
{"error": text}; an output that is the new value of a buffer has its name as "state" too. The program is functional, so
that no call changes what the next one sees.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import torch

_DTYPES = {
    "f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32, "f64": torch.float64, "bool": torch.bool,
    "u8": torch.uint8, "i8": torch.int8, "i16": torch.int16, "i32": torch.int32, "i64": torch.int64,
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def read_tensor(entry: dict[str, Any]) -> torch.Tensor:
    """A tensor from its raw bytes."""
    with open(entry["file"], "rb") as file:
        data = bytearray(file.read())
    if not data:
        return torch.empty(entry["shape"], dtype=_DTYPES[entry["dtype"]])
    return torch.frombuffer(data, dtype=_DTYPES[entry["dtype"]]).reshape(entry["shape"])


def write_tensor(path: str, tensor: torch.Tensor) -> dict[str, Any]:
    dense = tensor.detach().contiguous()
    with open(path, "wb") as file:
        file.write(dense.flatten().view(torch.uint8).numpy().tobytes())
    return {"file": path, "dtype": _NAMES[dense.dtype], "shape": list(dense.shape)}


class Oracle:
    """The exported program, called with everything it reads: parameters, buffers, constants and user inputs."""

    def __init__(self, archive: str) -> None:
        program = torch.export.load(archive)
        self._module = program.graph_module
        self._signature = program.graph_signature
        self._values: dict[str, Any] = {**program.constants, **program.state_dict}

    def update(self, params: dict[str, torch.Tensor]) -> None:
        self._values.update(params)

    def states(self) -> list[str]:
        """Buffers that a call changes."""
        return list(self._signature.buffers_to_mutate.values())

    def run(self, inputs: list[torch.Tensor]) -> list[tuple[str, torch.Tensor]]:
        """The tensors that come out: new values of buffers with their names, user outputs, in order, with ""."""
        given = iter(inputs)
        arguments = [self._argument(spec, given) for spec in self._signature.input_specs]
        with torch.no_grad():
            results = self._module(*arguments)
        pairs = zip(self._signature.output_specs, results, strict=True)
        names = {"USER_OUTPUT": lambda spec: "", "BUFFER_MUTATION": lambda spec: str(spec.target)}
        told = [(names[spec.kind.name](spec), x) for spec, x in pairs if spec.kind.name in names]
        return [(name, x) for name, x in told if isinstance(x, torch.Tensor)]

    def _argument(self, spec: Any, given: Any) -> Any:
        if spec.kind.name != "USER_INPUT":
            return self._values[spec.target]
        # A user input that is no tensor was fixed at export.
        return spec.arg.value if hasattr(spec.arg, "value") else next(given)


def _entry(path: str, state: str, tensor: torch.Tensor) -> dict[str, Any]:
    return {**write_tensor(path, tensor), **({"state": state} if state else {})}


def answer(oracle: Oracle, line: str) -> dict[str, Any]:
    try:
        ask = json.loads(line)
        oracle.update({name: read_tensor(entry) for name, entry in ask["params"].items()})
        outputs = oracle.run([read_tensor(entry) for entry in ask["inputs"]])
        return {"outputs": [_entry(os.path.join(ask["out"], f"out{i}"), *told) for i, told in enumerate(outputs)]}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}".splitlines()[0][:300]}


def main() -> int:
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    torch.set_num_threads(int(sys.argv[2]))
    oracle = Oracle(os.path.join(sys.argv[1], "model.pt2"))
    for line in sys.stdin:
        replies.write(json.dumps(answer(oracle, line)) + "\n")
        replies.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
