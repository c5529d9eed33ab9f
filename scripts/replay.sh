#!/usr/bin/env bash
# One recorded set of 200 attempts, step after step and as the swarm does it: scripts/replay.sh [BUILD]
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
for mode in serial pipeline; do
  cache=$(mktemp -d)
  KERNELWRIGHT_CACHE=$cache KERNELWRIGHT_PYTHON=${KERNELWRIGHT_PYTHON:-$PWD/.venv/bin/python} \
    "$build/kw_replay" tests/provider/modules/layer_norm.py tests/provider/replay.jsonl $mode
  rm -r "$cache"
done
