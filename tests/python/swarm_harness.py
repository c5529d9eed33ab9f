"""Runs of several models against the scripted provider (tests/provider/server.py), through the command line.

Everything is real but the models: HTTP, keys, prices, compiler, judge, timing, store.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("KERNELWRIGHT_BUILD", ROOT / "build"))
BINARY = BUILD / "kernelwright"
PROVIDER = ROOT / "tests/provider"
KEY = "sk-planted-0123456789abcdef"
LONG = os.environ.get("KW_SWARM") == "long"
MODULES = sorted(path.stem for path in (PROVIDER / "modules").glob("*.py"))
Json = dict[str, Any]

# Eight models behind four protocols: right at once, right late, slow, wrong, cheating, malformed, chatty, failing.
STEPS: dict[str, list[Json]] = {
    "openai/prompt": [{"kernel": "correct", "usage": {"input": 1200, "cached": 1000, "output": 400}}],
    "openai/learner": [
        {"kernel": "wrong"},
        {"text": "What is it that you want?"},
        {"kernel": "correct", "form": "tilde"},
    ],
    "anthropic/slow": [{"kernel": "slow", "usage": {"input": 3000, "cached": 2000, "cache_write": 500, "output": 900}}],
    "anthropic/cheat": [{"kernel": "cheat"}, {"kernel": "cheat", "form": "chatty"}],
    "gemini/wrong": [{"kernel": "wrong", "usage": {"output": 800, "reasoning": 300}}],
    "gemini/chatty": [{"kernel": "slow", "form": "chatty"}, {"kernel": "correct", "form": "chatty"}],
    "openai-compatible/malformed": [{"text": "```cpp\nvoid k() {"}, {"kernel": "wrong", "form": "object"}],
    "openai-compatible/flaky": [
        {"kernel": "correct", "form": "object", "fault": {"kind": "status", "status": 500, "times": 1}},
        {"text": "x", "fault": {"kind": "status", "status": 429, "headers": {"retry-after": "0"}, "times": 1}},
    ],
}
# USD for a million tokens: in, cached, written, out.
PRICES = {
    "openai/prompt": (1.25, 0.125, 1.25, 10),
    "openai/learner": (2, 0.2, 2, 8),
    "anthropic/slow": (4, 0.2, 5, 20),
    "anthropic/cheat": (1, 0.1, 1.25, 5),
    "gemini/wrong": (0.75, 0.075, 0.75, 3.75),
    "gemini/chatty": (0.1, 0.01, 0.1, 0.5),
    "openai-compatible/malformed": (0.3, 0.3, 0.3, 0.6),
    "openai-compatible/flaky": (0.07, 0.07, 0.07, 0.28),
}
RIGHT = {"openai/prompt", "openai/learner", "gemini/chatty", "openai-compatible/flaky"}


class Provider:
    """The scripted server with what a run needs to reach it."""

    def __init__(self, folder: Path, steps: dict[str, list[Json]], **more: Any) -> None:
        self.log = folder / "requests.jsonl"
        scenario = {"key": KEY, "models": {name.split("/")[1]: rows for name, rows in steps.items()}, **more}
        (folder / "scenario.json").write_text(json.dumps(scenario))
        rows = []
        for name in steps:
            provider, model = name.split("/")
            i, c, w, o = PRICES[name]
            rows.append(
                f'[[model]]\nprovider = "{provider}"\nname = "{model}"\nask_output = 4000\n'
                f"usd_per_million = {{ input = {i}, cache_read = {c}, cache_write = {w}, output = {o} }}\n"
            )
        (folder / "models.toml").write_text("\n".join(rows))
        command = [sys.executable, str(PROVIDER / "server.py"), str(folder / "scenario.json"), "--log", str(self.log)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}"
        self.env = {
            **os.environ,
            "KERNELWRIGHT_PYTHON": sys.executable,
            "KERNELWRIGHT_MODELS": str(folder / "models.toml"),
            "OPENAI_BASE_URL": f"{self.url}/v1",
            "ANTHROPIC_BASE_URL": self.url,
            "GEMINI_BASE_URL": f"{self.url}/v1beta",
            **{f"{name}_API_KEY": KEY for name in ("OPENAI", "ANTHROPIC", "GEMINI", "OPENAI_COMPATIBLE")},
        }

    def authors(self, names: list[str]) -> list[str]:
        words = []
        for name in names:
            words += ["--author", f"{name}@{self.url}/v1" if name.startswith("openai-compatible/") else name]
        return words

    def requests(self) -> list[Json]:
        if not self.log.exists():
            return []
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def provider(folder: Path, steps: dict[str, list[Json]], **more: Any) -> Iterator[Provider]:
    server = Provider(folder, steps, **more)
    try:
        yield server
    finally:
        server.close()


def command(server: Provider, module: str, names: list[str], *words: object) -> list[str]:
    path = str(PROVIDER / "modules" / f"{module}.py")
    fixed = ["--no-bench", "--time", "400", "--seed", "7", "-o", f"{module}.kw"]
    return [str(BINARY), "--json", "optimize", path, *server.authors(names), *fixed, *map(str, words)]


def optimize(server: Provider, module: str, names: list[str], folder: Path, *words: object) -> Json:
    reply = subprocess.run(
        command(server, module, names, *words), cwd=folder, env=server.env, capture_output=True, text=True, timeout=600
    )
    assert reply.stdout, reply.stderr
    last = json.loads(reply.stdout.splitlines()[-1])
    last["exit_code"] = reply.returncode
    return last


def picodollars(row: Json) -> int:
    """What one request costs by the price list, exactly; the server's log says what was billed."""
    prices = next(p for name, p in PRICES.items() if name.split("/")[1] == row["model"])
    i, c, w, o = (round(price * 1e6) for price in prices)
    u = row["billed"]
    # Chat Completions and generateContent have no word for cache writes.
    written = u["cache_write"] if row["wire"] in ("responses", "messages") else 0
    return (u["input"] - u["cached"] - written) * i + u["cached"] * c + written * w + u["output"] * o


def billed(rows: list[Json]) -> int:
    """A repeated question is billed once."""
    first = {row["key"]: row for row in rows if row["billed"] is not None}
    return sum(picodollars(row) for row in first.values())


def billed_by(rows: list[Json], model: str) -> int:
    return billed([row for row in rows if row.get("model") == model])


def by_author(result: Json) -> dict[str, Json]:
    return {row["author"].split("@")[0]: row for row in result["swarm"]["authors"]}


def asks(folder: Path) -> list[tuple[str, int, str, int, int]]:
    """What the run has asked so far; nothing where it has not begun."""
    path = folder / ".kernelwright/store.db"
    if not path.exists():
        return []
    with contextlib.closing(sqlite3.connect(path)) as store, contextlib.suppress(sqlite3.Error):
        return list(store.execute("SELECT author, number, state, spent, reserved FROM ask ORDER BY author, number"))
    return []


def no_secret_in(folder: Path, allowed: set[str]) -> None:
    searched = 0
    for path in folder.rglob("*"):
        if path.is_file() and path.name not in allowed:
            searched += 1
            assert KEY.encode() not in path.read_bytes(), path
    assert searched > 3
