"""A run that was kept, read as if anybody had written it: a folder may have come from somebody else."""

import json
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any, Final

from paramgen.errors import OutputError, one_line

MAX_BYTES: Final = 20_000_000  # of a run, or of the settings
_CURVES: Final = ("accuracy", "loss", "train_loss")


def read_object(file: Path) -> dict[str, Any]:
    """Return the JSON object in a file of limited size."""
    try:
        if not file.is_file() or file.stat().st_size > MAX_BYTES:
            raise ValueError(f"it is no file of up to {MAX_BYTES:,} bytes")
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise OutputError(f"{file} cannot be read: {one_line(error)}. Delete it, and its run is made again.") from error
    if not isinstance(found, dict):
        raise OutputError(f"{file} holds no JSON object. Delete it, and its run is made again.")
    return found


def read_run(file: Path) -> dict[str, Any]:
    """Return what a file says of a run, once it has the values that figures are made of."""
    found = read_object(file)
    status = found.get("status")
    if status == "failed":
        wrong = None if isinstance(found.get("reason"), str) else "reason"
    elif status in ("finished", "diverged"):
        wrong = _wrong(found)
    else:
        wrong = "status"
    if wrong is not None:
        raise OutputError(f"{file} has no {wrong!r} that a run has. Delete it, and its run is made again.")
    return found


def _wrong(run: Mapping[str, Any]) -> str | None:
    """Return the name of the first value that is not as a run has it."""
    steps = run.get("steps")
    if not isinstance(steps, list) or not all(type(step) is int and step >= 0 for step in steps):
        return "steps"
    for name in _CURVES:
        curve = run.get(name)
        if not isinstance(curve, list) or len(curve) != len(steps) or not all(map(_is_value, curve)):
            return name
    return next((name for name in ("seconds", "start_seconds") if not _is_number(run.get(name))), None)


def _is_value(value: object) -> bool:
    return value is None or _is_number(value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300 and isfinite(value)
