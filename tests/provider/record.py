"""Writes replay.jsonl: 200 attempts of eight models at one module, as a run records them, from the kernels beside it.

What models do is played by a fixed seed: they repeat themselves, forget a semicolon, are wrong, slow, or right.
Each line: author, latency_s (from question to reply, short ones, so that the work behind them is what counts), source,
plan.
"""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODULE = "layer_norm"
AUTHORS = [f"model-{letter}" for letter in "abcdefgh"]
SHARES = {"correct": 0.25, "slow": 0.15, "wrong": 0.2, "cheat": 0.1, "broken": 0.2, "again": 0.1}


def kernel(kind: str) -> tuple[str, str]:
    text = (HERE / "kernels" / MODULE / f"{kind}.md").read_text()
    source, plan = re.findall(r"```\w+\n(.*?)```", text, re.S)
    return source, json.dumps(json.loads(plan))


def main() -> None:
    draw = random.Random(20261122)
    lines: list[dict[str, object]] = []
    for number in range(25):
        for author in AUTHORS:
            kind = draw.choices(list(SHARES), list(SHARES.values()))[0]
            source, plan = kernel(kind if kind not in ("broken", "again") else "correct")
            # A constant that is no part of the result keeps sources and binaries apart.
            changed = source.replace("1e-5f", f"1e-5f + {draw.randrange(1, 10**6)}e-22f")
            if kind == "broken":
                changed = changed.replace(";", "", 1)
            if kind == "again" and lines:
                past = draw.choice(lines)
                changed, plan = f"// once more\n{past['source']}", str(past["plan"])
            latency_s = round(draw.lognormvariate(-1.6, 0.6), 3)
            lines.append({"author": author, "latency_s": latency_s, "source": changed, "plan": plan, "number": number})
    (HERE / "replay.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


if __name__ == "__main__":
    main()
