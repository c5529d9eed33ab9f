#!/usr/bin/env bash
# Prints the version of LLVM whose clang, clang-format and clang-tidy are used: 16, which Debian 12 and Ubuntu 24.04
# have, or the next one that is installed. With --offered: the next one that apt has.
set -euo pipefail
exists() { if [ "${offered:-}" ]; then apt-cache show "clang-tidy-$1"; else command -v "clang-tidy-$1"; fi; }
[ "${1:-}" = --offered ] && offered=1
for version in 16 17 18 19 20 21 22; do
  exists "$version" > /dev/null 2>&1 && echo "$version" && exit
done
echo "error: clang, clang-format and clang-tidy are missing (16 or later)" >&2
echo "hint: run \`make setup-dev\`" >&2
exit 2
