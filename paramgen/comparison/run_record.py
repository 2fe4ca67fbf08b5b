"""What one training run measured, as it is kept in a file: read as if anybody had written it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Final, Literal, final

from paramgen.errors import OutputError, one_line
from paramgen.storage.json_file import read_json_object

RESULTS_VERSION: Final = 1  # of results.json, settings.json and the files of runs
MAX_RUN_BYTES: Final = 20_000_000  # of the file of a run, or of the settings
_CURVES: Final = ("accuracy", "loss", "train_loss")
_SECONDS: Final = ("seconds", "init_seconds")
_SIZES: Final = ("numbers", "nbytes")
_STATUSES: Final = ("finished", "diverged", "failed")

Status = Literal["finished", "diverged", "failed"]
Values = tuple[float | None, ...]


@final
@dataclass(frozen=True, slots=True)
class Scores:
    """Accuracy and loss (nats) on one part of the data."""

    accuracy: float
    loss: float


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What was measured of one run; a value is None where it was not finite, or before the first step."""

    status: Status
    reason: str | None = None  # why it failed
    steps: tuple[int, ...] = ()
    accuracy: Values = ()  # on the test data, after each of `steps`
    loss: Values = ()
    train_loss: Values = ()  # mean since the step before
    validation: Scores | None = None  # at the end; None where the run did not get there
    seconds: float = 0.0  # of training
    init_seconds: float = 0.0  # of making the initial weights, with those of their preparation
    numbers: int | None = None  # that are trained, where a constraint leaves fewer than parameters
    nbytes: int | None = None  # that these take in float32, with what says which they are

    @classmethod
    def failure(cls, reason: str) -> "RunRecord":
        """Return the record of a run that ended with an error."""
        return cls(status="failed", reason=reason)

    def to_json(self) -> dict[str, Any]:
        """Return what a run of this status has."""
        if self.status == "failed":
            return {"status": self.status, "reason": self.reason}
        scores = self.validation
        return {
            "status": self.status,
            "steps": list(self.steps),
            **{name: list(getattr(self, name)) for name in _CURVES},
            "validation": None if scores is None else {"accuracy": scores.accuracy, "loss": scores.loss},
            **{name: getattr(self, name) for name in _SECONDS},
            **{name: getattr(self, name) for name in _SIZES if getattr(self, name) is not None},
        }


def read_object(file: Path) -> dict[str, Any]:
    """Return the JSON object in a file of limited size, if it has our format."""
    advice = "Delete it, and its run is made again."
    found = read_json_object(file, most=MAX_RUN_BYTES, error=OutputError, advice=advice)
    if found.get("format_version") != RESULTS_VERSION:
        raise OutputError(
            f"{file} has the format_version {one_line(repr(found.get('format_version')))[:40]}; this version of "
            f"paramgen reads {RESULTS_VERSION}. Type another folder: --out NAME"
        )
    return found


def read_run(file: Path) -> RunRecord:
    """Return what a file says of a run, once every value is of the type that figures are made of."""
    found = read_object(file)
    wrong = _wrong(found)
    if wrong is not None:
        raise OutputError(f"{file} has no {wrong!r} that a run has. Delete it, and its run is made again.")
    if found["status"] == "failed":
        return RunRecord.failure(found["reason"])
    scores = found["validation"]
    return RunRecord(
        status=found["status"],
        steps=tuple(found["steps"]),
        accuracy=_values(found["accuracy"]),
        loss=_values(found["loss"]),
        train_loss=_values(found["train_loss"]),
        validation=None if scores is None else Scores(float(scores["accuracy"]), float(scores["loss"])),
        seconds=float(found["seconds"]),
        init_seconds=float(found["init_seconds"]),
        numbers=found.get("numbers"),
        nbytes=found.get("nbytes"),
    )


def _values(given: Sequence[float | None]) -> Values:
    return tuple(None if value is None else float(value) for value in given)


def _wrong(run: Mapping[str, Any]) -> str | None:
    """Return the name of the first value that is not as a run has it."""
    status, steps, scores = run.get("status"), run.get("steps"), run.get("validation", "missing")
    if status not in _STATUSES:
        return "status"
    if status == "failed":
        return None if isinstance(run.get("reason"), str) else "reason"
    if not isinstance(steps, list) or not all(type(step) is int and step >= 0 for step in steps):
        return "steps"
    for name in _CURVES:
        curve = run.get(name)
        if not isinstance(curve, list) or len(curve) != len(steps) or not all(map(_is_value, curve)):
            return name
    if scores is not None and not (
        isinstance(scores, dict) and all(_is_number(scores.get(name)) for name in ("accuracy", "loss"))
    ):
        return "validation"
    if odd := [name for name in _SIZES if name in run and (type(run[name]) is not int or not 0 <= run[name] < 2**63)]:
        return odd[0]
    return next((name for name in _SECONDS if not _is_number(run.get(name))), None)


def _is_value(value: object) -> bool:
    return value is None or _is_number(value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300 and isfinite(value)
