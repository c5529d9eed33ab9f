#!/usr/bin/env bash
# clang-format, clang-tidy, ruff and mypy over the whole tree; the first complaint fails.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
git ls-files '*.cpp' '*.h' '*.c' | xargs clang-format-16 --dry-run -Werror
.venv/bin/ruff check python tests scripts examples
.venv/bin/ruff format --check python tests scripts examples
.venv/bin/mypy python/kernelwright
git ls-files 'src/*.cpp' | xargs -P 2 -n 4 clang-tidy-16 -p "$build" --quiet --warnings-as-errors='*' 2> /dev/null
echo "lint: clean"
