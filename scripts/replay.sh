#!/usr/bin/env bash
# One recorded set of 200 attempts, step after step and as the swarm does it: scripts/replay.sh [BUILD]
# Leaves build/replay-MODE.json and results/swarm-replay.json. The machine should have nothing else to do.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
export KERNELWRIGHT_PYTHON=${KERNELWRIGHT_PYTHON:-$PWD/.venv/bin/python}
for mode in ${KW_REPLAY_MODES:-serial pipeline}; do
  cache=$(mktemp -d)
  KERNELWRIGHT_CACHE=$cache "$build/kw_replay" tests/provider/modules/layer_norm.py tests/provider/replay.jsonl "$mode" \
    | tee "$build/replay-$mode.json"
  rm -r "$cache"
done
[ -f "$build/replay-serial.json" ] && [ -f "$build/replay-pipeline.json" ] || exit 0
"$KERNELWRIGHT_PYTHON" - "$build" << 'END'
import json, os, pathlib, sys
serial, pipeline = (json.loads(pathlib.Path(sys.argv[1], f"replay-{mode}.json").read_text()) for mode in ("serial", "pipeline"))
busy, ready, wanted = (pipeline[f"device_{key}_s"] for key in ("busy", "idle_while_ready", "idle_while_wanted"))
report = {
    "cores": os.cpu_count(),
    "serial": serial,
    "pipeline": pipeline,
    "less_wall_time": round(1 - pipeline["wall_s"] / serial["wall_s"], 3),
    "device_idle_while_ready": round(ready / (busy + ready), 4),  # a measurement waited for its turn
    "device_idle_while_wanted": round(wanted / (busy + wanted), 3),  # its sandbox was still being started
}
pathlib.Path("results/swarm-replay.json").write_text(json.dumps(report, indent=1) + "\n")
print({key: report[key] for key in ("less_wall_time", "device_idle_while_ready", "device_idle_while_wanted")})
END
