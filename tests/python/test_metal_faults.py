"""Planted faults in the kernels of tests/emulator/faults: each is found at its line, the kernels have none.

A kernel's first line says how it is launched. `CODE  // !N KIND: OTHER` plants fault N by replacing CODE, `// !N KIND:
OTHER` alone on a line replaces the code before it. The report must name the replaced line or one marked `@N`; bytes
that are never written are told by the line of the buffer's declaration.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("KERNELWRIGHT_BUILD", ROOT / "build"))
FOLDER = ROOT / "tests" / "emulator" / "faults"
PLANT = re.compile(r"// !(\d+) ([a-z|-]+): (.*)$")
KERNELS = sorted([*FOLDER.glob("*.metal"), *FOLDER.glob("*.cu")])


def plants(path: Path) -> list[int]:
    return [int(match[1]) for match in map(PLANT.search, path.read_text().splitlines()) if match]


FAULTS = [(path, number) for path in KERNELS for number in plants(path)]


def planted(path: Path, number: int) -> tuple[str, set[str], set[int]]:
    """The source with one fault, the kinds that may be reported, and the lines that may be named."""
    lines = path.read_text().splitlines()
    kinds: set[str] = set()
    places: set[int] = set()
    for at, line in enumerate(lines):
        match = PLANT.search(line)
        if match and int(match[1]) == number:
            target = at
            while PLANT.search(lines[target]) and not lines[target].split("//")[0].strip():
                target -= 1
            kinds = set(match[2].split("|"))
            lines[target] = match[3]
            places.add(target + 1)
        elif re.search(rf"@{number}\b", line):
            places.add(at + 1)
    if kinds == {"unwritten"}:
        places = {at + 1 for at, line in enumerate(lines) if re.search(r"\bout \[\[buffer|\* out\b.*\{$", line)}
    return "\n".join(lines) + "\n", kinds, places


def emulate(source: Path, *more: str) -> tuple[int, dict[str, object], str]:
    words = shlex.split(source.read_text().splitlines()[0].removeprefix("// emulate:"))
    command = [str(BUILD / "kernelwright"), "--json", "emulate", str(source), *words, "--check", *more]
    reply = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return reply.returncode, json.loads(reply.stdout.splitlines()[-1]), reply.stderr


def line_of(place: str) -> int:
    return int(place.rsplit(":", 1)[1])


def test_there_are_enough(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{len(FAULTS)} planted faults in {len(KERNELS)} kernels")
    assert len(KERNELS) >= 17 and len(FAULTS) >= 80


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: path.name)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_kernels_without_a_fault_give_no_report(path: Path, seed: int) -> None:
    code, result, errors = emulate(path, "--schedule-seed", str(seed))
    assert (code, result["reports"]) == (0, []), errors


@pytest.mark.parametrize(("path", "number"), FAULTS, ids=lambda value: value.name if isinstance(value, Path) else value)
def test_a_planted_fault_is_found_at_its_line(path: Path, number: int, tmp_path: Path) -> None:
    source, kinds, places = planted(path, number)
    (tmp_path / path.name).write_text(source)
    code, result, errors = emulate(tmp_path / path.name)
    assert code == 1, errors
    reports = result["reports"]
    assert isinstance(reports, list)
    found = [
        report
        for report in reports
        if report["kind"] in kinds and {line_of(report[key]) for key in ("at", "other") if key in report} & places
    ]
    assert found, (kinds, places, reports)
