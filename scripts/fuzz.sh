#!/usr/bin/env bash
# Fuzzes what reads strangers' files for SECONDS_EACH (default 30) seconds each, two at a time. Needs clang.
# The corpus grows in build-fuzz/corpus; a crash leaves its input in build-fuzz/crashes.
set -euo pipefail
cd "$(dirname "$0")/.."
llvm=$(scripts/llvm.sh)
cmake -S . -B build-fuzz -G Ninja -DKW_FUZZ=ON -DCMAKE_C_COMPILER="clang-$llvm" -DCMAKE_CXX_COMPILER="clang++-$llvm" \
  > build-fuzz.log 2>&1 || { cat build-fuzz.log; exit 1; }
ninja -C build-fuzz --quiet

fuzz() { # TARGET
  local target=$1 corpus=build-fuzz/corpus/$1
  mkdir -p "$corpus" build-fuzz/crashes
  if build-fuzz/"$target" -max_total_time="${SECONDS_EACH:-30}" -timeout=10 -rss_limit_mb=2048 -verbosity=0 \
    -artifact_prefix="build-fuzz/crashes/$target-" "$corpus" "tests/fuzz/corpus/$target" > "build-fuzz/$target.log" 2>&1
  then
    echo "fuzz: $target clean"
  else
    cat "build-fuzz/$target.log"
    echo "fuzz: $target FAILED" >&2
    return 1
  fi
}

export -f fuzz
for source in tests/fuzz/fuzz_*.cpp; do basename "$source" .cpp; done | xargs -P 2 -I{} bash -c 'fuzz {}'
