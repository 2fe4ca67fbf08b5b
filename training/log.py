"""What a run writes as it goes: JSON lines in its folder, and a line on the terminal every few seconds."""

import json
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any, Final, final

NAME: Final = "log.jsonl"
_EVERY: Final = 10.0  # seconds between lines on the terminal


@final
class Log:
    """The run's log; on resume the lines written after the checkpoint are dropped, for they will be written again."""

    def __init__(self, folder: Path, *, step: int, steps: int) -> None:
        self._path = folder / NAME
        self._steps = steps
        self._recent: deque[tuple[float, int, float, float]] = deque(maxlen=200)
        self._shown = 0.0
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] < step]
        self._path.write_text("".join(f"{line}\n" for line in kept))

    def write(self, line: dict[str, Any]) -> None:
        """Append one line."""
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def show(self, step: int, loss: float, accuracy: float, *, skipped: int) -> None:
        """Say on the terminal, every few seconds, how far the run is, how fast, and how well."""
        now = time.monotonic()
        self._recent.append((now, step, loss, accuracy))
        if now - self._shown < _EVERY or len(self._recent) < 2:
            return
        self._shown = now
        first, first_step = self._recent[0][:2]
        rate = (step - first_step) / max(now - first, 1e-9)
        count = len(self._recent)
        losses = sum(entry[2] for entry in self._recent) / count
        accuracies = sum(entry[3] for entry in self._recent) / count
        sys.stderr.write(
            f"step {step}/{self._steps}  {rate:.2f} steps/s  loss {losses:.3f}  accuracy {accuracies:.1%}  "
            f"skipped {skipped}\n"
        )
        sys.stderr.flush()
