#!/usr/bin/env bash
# clang-format, clang-tidy, ruff and mypy over the whole tree. Every tool runs; any complaint fails at the end.
# Needs a configured BUILD folder (default: build) for the compile commands.
set -uo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
python="python tests scripts examples tools"
failed=()

run() { # NAME COMMAND...: its output, only where it complains
  local name=$1 output
  shift
  if output=$("$@" 2>&1); then
    echo "lint: $name clean"
  else
    printf '%s\n' "$output"
    echo "lint: $name FAILED" >&2
    failed+=("$name")
  fi
}

llvm=$(scripts/llvm.sh) || exit
formatted() { git ls-files '*.cpp' '*.h' '*.c' | xargs "clang-format-$llvm" --dry-run -Werror; }

# "N warnings generated." counts what was suppressed in the system's headers: no finding, so it is dropped.
tidy() {
  git ls-files 'src/*.cpp' | xargs -P "$(nproc)" -n 2 "clang-tidy-$llvm" -p "$build" --quiet --warnings-as-errors='*' 2>&1 |
    grep -vE '^[0-9]+ warnings? (generated|treated as errors?)'
  return "${PIPESTATUS[1]}"
}

[ -f "$build/compile_commands.json" ] || {
  echo "error: \`$build\` holds no compile_commands.json" >&2
  echo "hint: run \`make build\`" >&2
  exit 2
}
run clang-format formatted
run "ruff check" .venv/bin/ruff check $python
run "ruff format" .venv/bin/ruff format --check $python
run mypy .venv/bin/mypy python/kernelwright
run clang-tidy tidy
[ ${#failed[@]} = 0 ] || exit 1
