"""What goes wrong with models, keys, servers and programs, against the scripted provider."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from swarm_harness import (
    BINARY,
    KEY,
    PROVIDER,
    STEPS,
    Json,
    asks,
    billed_by,
    by_author,
    command,
    no_secret_in,
    optimize,
    provider,
)

FAULTY: dict[str, tuple[Json, str]] = {
    "openai/prompt": ({"text": "x", "fault": {"kind": "status", "status": 500}}, "llm.server"),
    "openai/learner": ({"text": "x", "fault": {"kind": "cut"}}, "http.cut"),
    "anthropic/slow": ({"text": "x", "fault": {"kind": "status", "status": 529}}, "llm.overloaded"),
    "anthropic/cheat": (
        {"text": "", "chunk_bytes": 60000, "fault": {"kind": "huge", "bytes": 5 << 20}},
        "llm.too_large",
    ),
    "gemini/wrong": ({"text": "x" * 3000, "fault": {"kind": "invalid_utf8"}}, "llm.utf8"),
    "gemini/chatty": ({"text": "What a fine day! Shall we talk about the weather?"}, "reply"),
    "openai-compatible/malformed": ({"file": "kernels/softmax_rows/correct.md"}, "plan"),  # another question
    "openai-compatible/flaky": (
        {
            "text": "x",
            "fault": {"kind": "error_event", "body": {"error": {"type": "overloaded_error", "message": "x"}}},
        },
        "llm.overloaded",
    ),
}


def test_every_fault_at_once(tmp_path: Path) -> None:
    """Each model fails in its own way, for ever: the run ends, the embedded author wins, each failure has its name."""
    with provider(tmp_path, {name: [step] for name, (step, _) in FAULTY.items()}) as server:
        result = optimize(server, "add_relu", [*FAULTY, "search"], tmp_path, "--attempts", 1)
        rows = server.requests()
    authors = by_author(result)
    assert result["verdict"] == "verified" and authors["search"]["won"], result
    for name, (_, fault) in FAULTY.items():
        assert set(authors[name]["failures"]) == {fault}, (name, authors[name])
        assert authors[name]["ended"], authors[name]
    # What was refused or answered with an error costs nothing; a cut stream counts as its bound, a reply by its usage.
    spent = {name: round(authors[name]["cost_usd"] * 1e12) for name in FAULTY}
    assert spent["openai/prompt"] == spent["anthropic/slow"] == 0
    assert spent["openai/learner"] > 3 * billed_by(rows, "learner") > 0
    for name in ("gemini/chatty", "openai-compatible/malformed"):
        assert spent[name] == billed_by(rows, name.split("/")[1]) > 0, name
    assert round(result["swarm"]["spent_usd"] * 1e12) == sum(spent.values()) <= 1e12


def test_the_server_goes_away(tmp_path: Path) -> None:
    """It answers the first questions and is gone for the next ones."""
    names = ["openai/prompt", "anthropic/slow"]
    steps = {name: [STEPS[name][0], {"text": "never", "delay_s": 60}] for name in names}
    with provider(tmp_path, steps) as server:
        words = command(server, "add_relu", names, "--attempts", 3)
        process = subprocess.Popen(words, cwd=tmp_path, env=server.env, stdout=subprocess.PIPE, text=True)
        until = time.monotonic() + 120
        while len(asks(tmp_path)) < 4 and time.monotonic() < until and process.poll() is None:
            time.sleep(0.1)
        server.close()
        last = json.loads(process.communicate(timeout=300)[0].splitlines()[-1])
    assert last["verdict"] == "verified", last
    for row in by_author(last).values():
        assert row["attempts"] == 1 and row["verified"] == 1, row
        assert set(row["failures"]) <= {"http.connect", "http.cut"} and "failures in a row" in row["ended"], row


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


def test_programs_as_authors(tmp_path: Path) -> None:
    """A program reads the Brief and writes the reply; one that fails, lies or is missing hurts nobody."""
    good = tmp_path / "agent.py"
    good.write_text(
        "import json, sys\nbrief = json.load(sys.stdin)\nassert brief['format'] == 'kernelwright-brief/1'\n"
        "assert '__global__ void mine()' in brief['task'] and 'mine.cu' in brief['task']\n"
        f"print(open('{PROVIDER}/kernels/' + brief['problem'] + '/correct.md').read())\n"
    )
    (tmp_path / "mine.toml").write_text(
        f'argv = ["{sys.executable}", "-c", "import os; assert \'OPENAI_API_KEY\' not in os.environ; '
        'print(\'{\\"result\\": \\"no code\\", \\"cost\\": 0.02}\')"]\n'
        'stdin = "prompt"\nreply = "json"\nreply_path = "result"\ncost_path = "cost"\nmax_usd = 0.05\n'
    )
    (tmp_path / "mine.cu").write_text("__global__ void mine() {}\n")
    path = str(PROVIDER / "modules/add_relu.py")
    authors = [f"command:{sys.executable} {good}", "command:exit 3", "command:no-such-program-here", "agent:mine.toml"]
    words = [str(BINARY), "--json", "optimize", path, "--no-bench", "--time", "300", "-o", "o.kw", "--attempts", "2"]
    words += ["--reference", "mine.cu"]
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
