"""A run that was kept, read as if anybody had written it: a folder may have come from somebody else."""

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any, Final

from paramgen.errors import OutputError
from paramgen.storage.json_file import read_json_object

MAX_BYTES: Final = 20_000_000  # of a run, or of the settings
_CURVES: Final = ("accuracy", "loss", "train_loss")


def read_object(file: Path) -> dict[str, Any]:
    """Return the JSON object in a file of limited size."""
    return read_json_object(file, most=MAX_BYTES, error=OutputError, advice="Delete it, and its run is made again.")


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
