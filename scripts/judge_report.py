"""Joins the judge's reports into results/judge-report.json and writes their tables into docs/judge.md.

    .venv/bin/python scripts/judge_report.py [--build build] [--tables]

Runs build/kw_judge_report (red team, honest candidates, mutants), times the two kinds of judgement on an example
module, and rewrites what stands between the markers `<!-- judge-report -->` and `<!-- /judge-report -->`.
--tables only rewrites the tables from the JSON that is there.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "results" / "judge-report.json"
EXAMPLE = "examples/modules/mlp_gelu.py"
Report = dict[str, Any]


def percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f}%"


def run_report(build: Path, flags: list[str]) -> Report:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "report.json"
        subprocess.run([str(build / "kw_judge_report"), "--out", str(out), *flags], check=False)
        return json.loads(out.read_text())


def words(command: list[str]) -> str:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def judge_example(binary: Path, package: Path, flags: list[str]) -> Report:
    """One judgement by the command line: its wall clock, and what its gates took."""
    start = time.monotonic()
    text = words([str(binary), "verify", str(package), "--json", *flags])
    wall_s = time.monotonic() - start
    certificate = json.loads(text.splitlines()[-1])
    gates = {gate["gate"]: round(gate["seconds"], 3) for gate in certificate["gates"]}
    return {"verdict": certificate["verdict"], "wall_s": round(wall_s, 2), "gates_s": gates}


def measure_cost(build: Path) -> Report:
    binary = build / "kernelwright"
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "example.kw"
        words([str(binary), "optimize", EXAMPLE, "--time", "20", "--no-bench", "-o", str(package)])
        return {
            "module": EXAMPLE,
            "quick": judge_example(binary, package, ["--quick"]),
            "full": judge_example(binary, package, []),
        }


def field_table(mutants: Report) -> str:
    lines = ["| check | faulty kernels that slip past | share |", "| --- | --- | --- |"]
    for row in mutants["field"]:
        name = "**kernelwright verify**" if row["check"] == "kernelwright" else row["check"]
        lines.append(f"| {name} | {row['passed']} of {row['of']} | {percent(row['passed'], row['of'])} |")
    return "\n".join(lines)


def summary_table(report: Report) -> str:
    red, honest, mutants = report["red_team"], report["honest"], report["mutants"]
    verified = honest["outcomes"].get("verified", 0)
    wrongly = honest["outcomes"].get("rejected", 0)
    share = percent(mutants["killed"], mutants["counted"])
    lines = [
        "| question | answer |",
        "| --- | --- |",
        "| hostile candidates caught by the gate meant for them, or an earlier one | "
        f"{red['caught']} of {red['candidates']} |",
        f"| faulty kernels killed ({mutants['operators']} mutation operators) | {mutants['killed']} of "
        f"{mutants['counted']} ({share}) |",
        f"| mutants left out: same machine code as the right kernel | {mutants['equivalent']} |",
        f"| mutants left out: same bits on {mutants['same_bits_draws']} draws of all suites | {mutants['same_bits']} |",
        f"| mutants left out: do not compile | {mutants['stillborn']} |",
        f"| honest candidates verified | {verified} of {honest['candidates']} |",
        f"| honest candidates rejected | {wrongly} |",
    ]
    cost = report.get("cost")
    if cost:
        lines.append(f"| `verify --quick` of {Path(cost['module']).stem} | {cost['quick']['wall_s']} s |")
        lines.append(f"| `verify` of {Path(cost['module']).stem} | {cost['full']['wall_s']} s |")
    return "\n".join(lines)


def cost_text(cost: Report) -> str:
    def longest(run: Report) -> str:
        rows = sorted(run["gates_s"].items(), key=lambda item: -item[1])[:3]
        return ", ".join(f"{name} {seconds:.2f} s" for name, seconds in rows)

    return (
        f"What the time goes to, for {cost['module']}: quick, {cost['quick']['wall_s']} s in all "
        f"({longest(cost['quick'])}); "
        f"full, {cost['full']['wall_s']} s ({longest(cost['full'])}). `numerics.own` holds the start of "
        "PyTorch, which is asked for its own error."
    )


def gates_table(report: Report) -> str:
    counts: dict[str, list[int]] = {}
    for row in report["red_team"]["rows"]:
        counts.setdefault(row["caught_by"], [0, 0])[0] += 1
    for gate, count in report["mutants"]["by_gate"].items():
        counts.setdefault(gate, [0, 0])[1] += count
    lines = ["| gate | hostile candidates caught | mutants killed |", "| --- | --- | --- |"]
    lines += [f"| {gate} | {red} | {killed} |" for gate, (red, killed) in sorted(counts.items())]
    return "\n".join(lines)


def survivors_list(mutants: Report) -> str:
    rows = [row for row in mutants["survivors"] if not row["same_bits"]]
    cell = "| {kernel} | {operator} | `{site}` | {reason} |"
    lines = ["| kernel | operator | change | why |", "| --- | --- | --- | --- |"]
    lines += [cell.format(**{k: str(v).replace("|", "\\|") for k, v in row.items()}) for row in rows]
    return "\n".join(lines)


def between_markers(path: Path, text: str) -> None:
    page = path.read_text()
    pattern = re.compile(r"(<!-- judge-report -->\n).*?(<!-- /judge-report -->)", re.DOTALL)
    if not pattern.search(page):
        sys.exit(f"{path} has no markers <!-- judge-report -->")
    path.write_text(pattern.sub(lambda m: m[1] + text + "\n" + m[2], page))


def write_tables(report: Report) -> None:
    mutants = report["mutants"]
    where = f"`{report['command']}` on {report['device']}, {report['compiler']}, commit {report['commit']}."
    parts = [where, "", summary_table(report), "", field_table(mutants), ""]
    if "cost" in report:
        parts += [cost_text(report["cost"]), ""]
    parts += ["What catches what:", "", gates_table(report), "", "Survivors:", "", survivors_list(mutants)]
    between_markers(ROOT / "docs" / "judge.md", "\n".join(parts))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--tables", action="store_true", help="only rewrite the tables")
    parser.add_argument("--flags", default="", help="for kw_judge_report, such as '--hand-sites 2'")
    options = parser.parse_args()
    if not options.tables:
        report = run_report(options.build, options.flags.split())
        report["cost"] = measure_cost(options.build)
        report["command"] = "make judge-report"
        report["commit"] = words(["git", "rev-parse", "--short", "HEAD"])
        report["date"] = time.strftime("%Y-%m-%d")
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(json.dumps(report, indent=1) + "\n")
    report = json.loads(RESULT.read_text())
    write_tables(report)
    good = report["red_team"]["caught"] == report["red_team"]["candidates"]
    good = good and report["mutants"]["killed"] >= 0.995 * report["mutants"]["counted"]
    return 0 if good and not report["honest"]["outcomes"].get("rejected") else 1


if __name__ == "__main__":
    sys.exit(main())
