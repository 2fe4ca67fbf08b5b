"""What a run writes as it goes: JSON lines and tensorboard's files in its folder, and a line on the terminal."""

import importlib.util
import json
import math
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

from paramgen.storage.folder import write_text

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

NAME: Final = "log.jsonl"
BOARD: Final = "tensorboard"
_EVERY: Final = 10.0  # seconds between lines on the terminal


@final
class Log:
    """The run's log; on resume the lines written after the checkpoint are dropped, for they will be written again."""

    def __init__(self, folder: Path, *, step: int, steps: int) -> None:
        self._path = folder / NAME
        self._steps = steps
        self._recent: deque[tuple[float, int, float, float | None]] = deque(maxlen=200)
        self._shown = 0.0
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] < step]
        write_text(self._path, "".join(f"{line}\n" for line in kept))
        self._board = _board(folder / BOARD, step)

    def write(self, line: dict[str, Any]) -> None:
        """Append one line."""
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        if self._board is not None:
            for name, value in _scalars(line):
                self._board.add_scalar(name, value, line["step"])

    def show(self, step: int, loss: float, accuracy: float | None, *, skipped: int) -> None:
        """Say on the terminal, every few seconds, how far the run is, how fast, how long it has to go, and how well."""
        now = time.monotonic()
        self._recent.append((now, step, loss, accuracy))
        if now - self._shown < _EVERY or len(self._recent) < 2:
            return
        self._shown = now
        first, first_step = self._recent[0][:2]
        speed = (step - first_step) / max(now - first, 1e-9)
        count = len(self._recent)
        losses = sum(entry[2] for entry in self._recent) / count
        accuracies = [entry[3] for entry in self._recent if entry[3] is not None]
        well = f"accuracy {mean(accuracies):.1%}  " if accuracies else ""
        left = timedelta(seconds=round((self._steps - step - 1) / speed))
        sys.stderr.write(
            f"step {step + 1}/{self._steps}  {speed:.2f} steps/s  {left} to go  loss {losses:.3f}  "
            f"{well}skipped {skipped}\n"
        )
        sys.stderr.flush()

    def close(self) -> None:
        """Bring everything to the disk."""
        if self._board is not None:
            self._board.close()


def mean(values: Sequence[float]) -> float:
    """Return the mean, or NaN of nothing."""
    return sum(values) / len(values) if values else math.nan


def _board(folder: Path, step: int) -> "SummaryWriter | None":
    """Return tensorboard's writer, where tensorboard is installed; it hides what was written after `step`."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step)


def _scalars(line: dict[str, Any], path: str = "") -> Iterator[tuple[str, float]]:
    """Yield the numbers of a line by name: of a list of numbers its mean, of a mapping each of its own."""
    for name, value in line.items():
        if isinstance(value, dict):
            yield from _scalars(value, f"{path}{name}/")
        elif isinstance(value, list) and all(isinstance(entry, float) for entry in value):
            yield f"{path}{name}", mean(value)
        elif isinstance(value, (int, float)) and name != "step":
            yield f"{path}{name}", value
