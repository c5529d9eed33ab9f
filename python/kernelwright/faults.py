"""Expected failures of the export side: an id, one sentence and a hint, told with the user's own file and line."""

from __future__ import annotations

import os
import traceback
from dataclasses import dataclass

_OWN_FOLDER = os.path.dirname(os.path.abspath(__file__))


@dataclass
class Fault(Exception):
    """A user's or the environment's fault; `id` is stable, `message` one sentence without its full stop."""

    id: str
    message: str
    hint: str = ""

    def as_json(self) -> dict[str, str]:
        return {"type": "error", "id": self.id, "message": self.message, "hint": self.hint}


def _is_library(path: str) -> bool:
    inside = os.sep + "site-packages" + os.sep in path or os.sep + "dist-packages" + os.sep in path
    return inside or path.startswith((_OWN_FOLDER, "<")) or os.path.basename(os.path.dirname(path)) == "importlib"


def user_line(error: BaseException, source: str = "") -> str:
    """`file:line` of the innermost frame in the user's own code, or "" when there is none."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    wanted = os.path.abspath(source) if source else ""
    in_source = [f for f in frames if wanted and os.path.abspath(f.filename) == wanted]
    own = in_source or [f for f in frames if not _is_library(f.filename)]
    return f"{own[-1].filename}:{own[-1].lineno}" if own else ""


def first_line(error: BaseException) -> str:
    """The first line of an error's text with its type, short enough for one sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else ""
    name = type(error).__name__
    text = f"{name}: {text}" if text else name
    return (text[:297] + "...") if len(text) > 300 else text.rstrip(".")


def raised(doing: str, error: BaseException, source: str, fault_id: str, hint: str) -> Fault:
    """A Fault that says where the user's code raised while we were `doing` something."""
    where = user_line(error, source)
    at = f" at {where}" if where else ""
    return Fault(fault_id, f"{doing} raised{at}: {first_line(error)}", hint)
