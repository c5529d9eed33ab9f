#!/usr/bin/env bash
# Fuzzes the archive reader and the Plan parser for SECONDS_EACH (default 30) seconds each. Needs clang.
set -euo pipefail
cd "$(dirname "$0")/.."
cmake -S . -B build-fuzz -G Ninja -DKW_FUZZ=ON -DCMAKE_C_COMPILER=clang-16 -DCMAKE_CXX_COMPILER=clang++-16 > /dev/null
ninja -C build-fuzz --quiet fuzz_pt2 fuzz_plan
for target in fuzz_pt2 fuzz_plan; do
  corpus=build-fuzz/corpus/$target
  mkdir -p "$corpus"
  [ -d "tests/fuzz/corpus/$target" ] && cp -n tests/fuzz/corpus/"$target"/* "$corpus"/ || true
  build-fuzz/$target -max_total_time="${SECONDS_EACH:-30}" -timeout=10 -rss_limit_mb=2048 "$corpus"
done
