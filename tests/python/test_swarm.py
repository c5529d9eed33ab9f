"""Runs of several models against the scripted provider, through the command line, on the CPU.

Everything is real but the models: HTTP, keys, prices, compiler, judge, timing, store. The long runs (all modules,
twenty kills) are chosen by KW_SWARM=long; by default each is made small.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
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


def by_author(result: Json) -> dict[str, Json]:
    return {row["author"].split("@")[0]: row for row in result["swarm"]["authors"]}


def check_eight(result: Json, module: str, rows: list[Json]) -> None:
    authors = by_author(result)
    assert result["verdict"] == "verified", (module, result)
    assert {name for name, row in authors.items() if row["won"]} <= RIGHT, (module, authors)
    assert sum(row["won"] for row in authors.values()) == 1
    for name in ("anthropic/cheat", "gemini/wrong", "openai-compatible/malformed"):
        assert authors[name]["verified"] == 0 and authors[name]["failures"], (module, name, authors[name])
    assert authors["anthropic/slow"]["verified"] > 0
    assert round(result["swarm"]["spent_usd"] * 1e12) == billed(rows), module


def test_eight_models(tmp_path: Path) -> None:
    """Winners are verified, the spend is exact to 10^-12 USD, and a second run ends the same."""
    modules = MODULES if LONG else ["rms_norm", "add_relu"]
    assert len(MODULES) == 10
    outcomes: list[list[tuple[str, int, int]]] = []
    for again in range(2):
        folder = tmp_path / str(again)
        folder.mkdir()
        with provider(folder, STEPS) as server:
            outcome = []
            for module in modules:
                before = len(server.requests())
                result = optimize(server, module, list(STEPS), folder, "--attempts", 3)
                rows = server.requests()[before:]
                check_eight(result, module, rows)
                authors = by_author(result)
                verified = sum(row["verified"] for row in authors.values())
                winner = next(name for name, row in authors.items() if row["won"])
                outcome.append((winner in RIGHT, verified, round(result["swarm"]["spent_usd"] * 1e12)))
                print(module, winner, verified, result["swarm"])
            outcomes.append(outcome)
        no_secret_in(folder, allowed={"scenario.json"})
    assert outcomes[0] == outcomes[1]


def no_secret_in(folder: Path, allowed: set[str]) -> None:
    searched = 0
    for path in folder.rglob("*"):
        if path.is_file() and path.name not in allowed:
            searched += 1
            assert KEY.encode() not in path.read_bytes(), path
    assert searched > 3


def test_a_key_that_expires_is_never_shown(tmp_path: Path) -> None:
    """The server quotes the key in its refusal; nothing that is written may hold it."""
    with provider(tmp_path, {"openai/prompt": STEPS["openai/prompt"]}, key_lives=1) as server:
        words = command(server, "add_relu", ["openai/prompt"], "--attempts", 3, "-v", "-v")
        reply = subprocess.run(words, cwd=tmp_path, env=server.env, capture_output=True, text=True, timeout=600)
        assert KEY not in reply.stdout + reply.stderr
        author = by_author(json.loads(reply.stdout.splitlines()[-1]))["openai/prompt"]
        assert author["failures"]["llm.auth"] == 1 and "expired" in author["ended"], author
        assert author["won"]
    no_secret_in(tmp_path, allowed={"scenario.json"})


def test_the_budget_is_never_exceeded(tmp_path: Path) -> None:
    names = ["openai/prompt", "openai/learner", "anthropic/slow"]
    for i, budget in enumerate((0, 0.03, 0.1)):
        folder = tmp_path / str(i)
        folder.mkdir()
        with provider(folder, {name: STEPS[name] for name in names}) as server:
            result = optimize(server, "add_relu", names, folder, "--attempts", 6, "--budget-usd", budget)
            spent = round(result["swarm"]["spent_usd"] * 1e12)
            assert spent == billed(server.requests()) <= budget * 1e12
            if budget == 0:
                assert result["exit_code"] == 3 and not server.requests()
                assert result["reason"] == "the budget is spent"


def asks(folder: Path) -> list[tuple[str, int, str, int, int]]:
    with contextlib.closing(sqlite3.connect(folder / ".kernelwright/store.db")) as store:
        return list(store.execute("SELECT author, number, state, spent, reserved FROM ask ORDER BY author, number"))


def test_killed_and_resumed(tmp_path: Path) -> None:
    """kill -9 at random moments: no attempt is lost, none is paid twice, the winner is as without kills."""
    names = ["openai/prompt", "openai/learner", "gemini/wrong", "openai-compatible/flaky"]
    steps = {name: [{**step, "delay_s": 0.3} for step in STEPS[name]] for name in names}
    for name in names:
        for i in range(len(steps[name])):
            steps[name][i].pop("fault", None)
    kills = 20 if LONG else 4
    moments = random.Random(5)
    with provider(tmp_path, steps) as server:
        words = command(server, "row_sum", names, "--attempts", 4)
        for kill in range(kills):
            if kill > 0:
                words = [str(BINARY), "--json", "resume"]
            process = subprocess.Popen(
                words,
                cwd=tmp_path,
                env=server.env,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            store = tmp_path / ".kernelwright/store.db"
            until = time.monotonic() + 120
            with contextlib.suppress(sqlite3.Error):  # from the first question on, at any moment
                while process.poll() is None and time.monotonic() < until and not (store.exists() and asks(tmp_path)):
                    time.sleep(0.05)
            time.sleep(moments.uniform(0, 6 if kill == 0 else 9))
            if process.poll() is not None:
                break  # it was done
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        words = [str(BINARY), "--json", "resume"]
        reply = subprocess.run(words, cwd=tmp_path, env=server.env, capture_output=True, text=True, timeout=600)
        last = json.loads(reply.stdout.splitlines()[-1])
        if last["type"] == "error":  # the last kill came after the end
            assert last["id"] == "resume.nothing", last
            with contextlib.closing(sqlite3.connect(tmp_path / ".kernelwright/store.db")) as db:
                last = json.loads(db.execute("SELECT result_json FROM run").fetchone()[0])
        rows = server.requests()
        assert last["verdict"] == "verified", last
        assert next(n for n, row in by_author(last).items() if row["won"]) in RIGHT
        stored = asks(tmp_path)
        for name in names:
            mine = [row for row in stored if row[0].split("@")[0] == name]
            assert [row[1] for row in mine] == list(range(1, len(mine) + 1))  # none lost
            assert all(row[2] == "judged" and row[4] == 0 for row in mine), mine
            assert by_author(last)[name]["attempts"] == len(mine)
        # Never less than what was billed; more only for questions whose answer a kill swallowed, each asked again.
        spent = round(last["swarm"]["spent_usd"] * 1e12)
        assert spent == sum(row[3] for row in stored)
        paid = [row for row in rows if row["billed"] is not None]
        repeated = len(paid) - len({row["key"] for row in paid})
        assert spent >= billed(rows)
        assert (spent > billed(rows)) == (repeated > 0)
        assert repeated <= kills * len(names)
        assert len({row["key"] for row in paid}) == len(stored)


def test_memory_of_a_hundred_attempts(tmp_path: Path) -> None:
    # Replies that differ in a constant only, so that none is equal to another.
    text = (PROVIDER / "kernels/add_relu/correct.md").read_text()
    wrong = [{"text": text.replace("(void)group;", f"(void)group; if (y == x0) y[0] = {i}.0f;")} for i in range(100)]
    attempts = 100 if LONG else 12
    with provider(tmp_path, {"openai/prompt": wrong}) as server:
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        words = command(server, "add_relu", ["openai/prompt"], "--attempts", attempts)
        process = subprocess.Popen(words, cwd=tmp_path, env=server.env, stdout=subprocess.PIPE, text=True)
        peak_kb = 0
        while process.poll() is None:
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{process.pid}/status").read_text()
                peak_kb = max(peak_kb, *(int(x.split()[1]) for x in status.splitlines() if x.startswith("VmHWM")))
            time.sleep(0.2)
        assert process.stdout is not None
        last = json.loads(process.stdout.read().splitlines()[-1])
        assert by_author(last)["openai/prompt"]["attempts"] >= 4, last
        print("peak", peak_kb >> 10, "MiB", before)
        assert 0 < peak_kb < 500 << 10


def test_programs_as_authors(tmp_path: Path) -> None:
    """A program reads the Brief and writes the reply; one that fails, lies or is missing hurts nobody."""
    good = tmp_path / "agent.py"
    good.write_text(
        "import json, sys\nbrief = json.load(sys.stdin)\nassert brief['format'] == 'kernelwright-brief/1'\n"
        f"print(open('{PROVIDER}/kernels/' + brief['problem'] + '/correct.md').read())\n"
    )
    (tmp_path / "mine.toml").write_text(
        f'argv = ["{sys.executable}", "-c", "import os; assert \'OPENAI_API_KEY\' not in os.environ; '
        'print(\'{\\"result\\": \\"no code\\", \\"cost\\": 0.02}\')"]\n'
        'stdin = "prompt"\nreply = "json"\nreply_path = "result"\ncost_path = "cost"\nmax_usd = 0.05\n'
    )
    path = str(PROVIDER / "modules/add_relu.py")
    authors = [f"command:{sys.executable} {good}", "command:exit 3", "command:no-such-program-here", "agent:mine.toml"]
    words = [str(BINARY), "--json", "optimize", path, "--no-bench", "--time", "300", "-o", "o.kw", "--attempts", "2"]
    for author in authors:
        words += ["--author", author]
    env = {**os.environ, "KERNELWRIGHT_PYTHON": sys.executable, "OPENAI_API_KEY": KEY}
    reply = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=600)
    rows = json.loads(reply.stdout.splitlines()[-1])["swarm"]
    by_name = {row["author"]: row for row in rows["authors"]}
    assert by_name[authors[0]]["won"], by_name
    assert by_name[authors[1]]["failures"] == {"command.failed": 2}
    assert by_name[authors[2]]["failures"] == {"command.missing": 1}
    assert by_name[authors[3]]["failures"] == {"reply": 2}
    assert abs(rows["spent_usd"] - 0.04) < 1e-9


def refused(folder: Path, *words: str, env: dict[str, str] | None = None) -> Json:
    path = str(PROVIDER / "modules/add_relu.py")
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY")}
    reply = subprocess.run(
        [str(BINARY), "--json", "optimize", path, *words],
        cwd=folder,
        env={**environment, **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert reply.returncode == 2, reply.stdout
    return json.loads(reply.stdout.splitlines()[-1])


def test_authors_that_cannot_be_asked(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text('argv = ["x"]\nstdin = "nonsense"\n')
    rows = [
        (["--author", "openai/gpt-6-luna"], "author.key", "OPENAI_API_KEY"),
        (["--author", "opnai/x"], "author.spec", "did you mean `openai`"),
        (["--author", "openai-compatible/m"], "author.url", "without a password"),
        (["--author", "openai-compatible/m@https://example.com/v1"], "llm.price", "models.toml"),
        (["--author", "agent:nobody"], "agent.unknown", "claude-code"),
        (["--author", "agent:bad.toml"], "agent.toml", "authors.md"),
        (["--author", "search", "--author", "search"], "author.twice", "once"),
        (["--offline", "--author", "agent:codex"], "author.offline", "--offline"),
    ]
    for words, fault, hint in rows:
        told = refused(tmp_path, *words)
        assert told["id"] == fault and hint in told["message"] + told["hint"], told
    assert not (tmp_path / ".kernelwright").exists()


def test_a_dry_run_sends_and_stores_nothing(tmp_path: Path) -> None:
    with provider(tmp_path, {"openai/prompt": STEPS["openai/prompt"]}) as server:
        result = optimize(server, "add_relu", ["openai/prompt"], tmp_path, "--dry-run")
        assert result["dry_run"] and result["authors"][0]["bound_usd"] > 0.04
        assert not server.requests() and not (tmp_path / ".kernelwright").exists()
