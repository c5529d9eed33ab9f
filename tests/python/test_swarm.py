"""Runs of several models against the scripted provider, on the CPU.

The long runs (all modules, twenty kills, a hundred attempts) are chosen by KW_SWARM=long; by default each is small.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest
from swarm_harness import (
    BINARY,
    LONG,
    MODULES,
    PROVIDER,
    RIGHT,
    STEPS,
    Json,
    asks,
    billed,
    by_author,
    command,
    no_secret_in,
    optimize,
    provider,
)


def check_eight(result: Json, module: str, rows: list[Json]) -> None:
    authors = by_author(result)
    assert result["verdict"] == "verified", (module, result)
    assert {name for name, row in authors.items() if row["won"]} <= RIGHT, (module, authors)
    assert sum(row["won"] for row in authors.values()) == 1
    for name in ("anthropic/cheat", "gemini/wrong", "openai-compatible/malformed"):
        assert authors[name]["verified"] == 0 and authors[name]["failures"], (module, name, authors[name])
    assert authors["anthropic/slow"]["verified"] > 0
    assert round(result["swarm"]["spent_usd"] * 1e12) == billed(rows), module


@pytest.mark.parametrize("target", ["cpu", "metal"])
def test_eight_models(tmp_path: Path, target: str) -> None:
    """Winners are verified, the spend is exact to 10^-12 USD, and a second run ends the same."""
    modules = MODULES if LONG else ["rms_norm" if target == "cpu" else "add_relu"]
    assert len(MODULES) == 10
    outcomes: list[list[tuple[bool, int, int]]] = []
    for again in range(2):
        folder = tmp_path / str(again)
        folder.mkdir()
        with provider(folder, STEPS) as server:
            outcome = []
            for module in modules:
                before = len(server.requests())
                result = optimize(server, module, list(STEPS), folder, "--attempts", 3, "--target", target)
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


def test_the_budget_is_never_exceeded(tmp_path: Path) -> None:
    names = ["openai/prompt", "openai/learner", "anthropic/slow"]
    for i, budget in enumerate((0, 0.03, 0.1) if LONG else (0.03,)):
        folder = tmp_path / str(i)
        folder.mkdir()
        with provider(folder, {name: STEPS[name] for name in names}) as server:
            result = optimize(server, "add_relu", names, folder, "--attempts", 6, "--budget-usd", budget)
            spent = round(result["swarm"]["spent_usd"] * 1e12)
            assert spent == billed(server.requests()) <= budget * 1e12
            if budget == 0:
                assert result["exit_code"] == 3 and not server.requests()
                assert result["reason"] == "the budget is spent"


def test_killed_and_resumed(tmp_path: Path) -> None:
    """kill -9 at random moments: no attempt is lost, none is paid twice, the winner is as without kills."""
    names = ["openai/prompt", "openai/learner", "gemini/wrong", "openai-compatible/flaky"]
    steps = {name: [{**step, "delay_s": 0.3} for step in STEPS[name]] for name in names}
    for name in names:
        for i in range(len(steps[name])):
            steps[name][i].pop("fault", None)
    kills = 20 if LONG else 3
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
            until = time.monotonic() + 120  # from the first question on, at any moment
            while process.poll() is None and time.monotonic() < until and not asks(tmp_path):
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


def memory_mb(pid: int) -> list[float]:
    """Resident memory of a process and of all that it started, its own first; shared pages are counted once."""
    mb, ids = [], [pid]
    for each in ids:
        with contextlib.suppress(OSError, StopIteration, ValueError):
            rollup = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
            mb.append(int(next(line for line in rollup if line.startswith("Pss:")).split()[1]) / 1000)
            for task in Path(f"/proc/{each}/task").iterdir():
                ids += [int(child) for child in (task / "children").read_text().split()]
    return mb or [0.0]


def test_memory_of_a_hundred_attempts(tmp_path: Path) -> None:
    """Eight models whose kernels are all wrong, each in its own way, so that every one is compiled and judged."""
    names, attempts = list(STEPS), 13 if LONG else 2
    text = (PROVIDER / "kernels/add_relu/correct.md").read_text()
    assert text.count("v0 + v1") == 2

    def wrong(who: int, number: int) -> Json:
        return {"text": text.replace("v0 + v1", f"v0 + v1 * 1.{who + 1}{number:02}f")}

    steps = {name: [wrong(who, number) for number in range(attempts)] for who, name in enumerate(names)}
    with provider(tmp_path, steps) as server:
        words = command(server, "add_relu", [*names, "search"], "--attempts", attempts, "--budget-usd", 20)
        process = subprocess.Popen(words, cwd=tmp_path, env=server.env, stdout=subprocess.PIPE, text=True)
        peak_mb = tree_mb = 0.0
        while process.poll() is None:
            memory = memory_mb(process.pid)
            peak_mb, tree_mb = max(peak_mb, memory[0]), max(tree_mb, sum(memory))
            time.sleep(0.1)
        assert process.stdout is not None
        last = json.loads(process.stdout.read().splitlines()[-1])
    rows = [row for name, row in by_author(last).items() if name != "search"]
    assert sum(row["attempts"] for row in rows) == 8 * attempts, last
    assert last["swarm"]["judged"] >= 8 * attempts and sum(row["verified"] for row in rows) == 0, last
    assert by_author(last)["search"]["won"]
    print(f"{8 * attempts} attempts: peak {peak_mb:.0f} MB, {tree_mb:.0f} MB with PyTorch and the compilers")
    assert 0 < peak_mb < 500
