"""python -m kernelwright ...: runs the kernelwright program with this interpreter as its Python."""

from __future__ import annotations

import os
import shutil
import sys

_PACKAGE = os.path.dirname(os.path.abspath(__file__))


def find_binary() -> str | None:
    """$KERNELWRIGHT_BIN, else build/kernelwright of the checkout that this package lies in, else PATH."""
    named = os.environ.get("KERNELWRIGHT_BIN")
    built = os.path.join(os.path.dirname(os.path.dirname(_PACKAGE)), "build", "kernelwright")
    for candidate in (named, built):
        if candidate and os.access(candidate, os.X_OK) and os.path.isfile(candidate):
            return candidate
    return shutil.which("kernelwright")


def main() -> int:
    binary = find_binary()
    if binary is None:
        print("error: the kernelwright program is not built", file=sys.stderr)
        print("hint: run `make build`, or name it in KERNELWRIGHT_BIN", file=sys.stderr)
        return 2
    os.environ.setdefault("KERNELWRIGHT_PYTHON", sys.executable)
    os.execv(binary, [binary, *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
