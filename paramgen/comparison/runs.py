"""Which runs a comparison needs, and where finished ones are kept, so that a second call goes on.

Each run is one JSON file in `OUT/runs/`, written in one step. `OUT/settings.json` says what the runs belong to.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, final

from paramgen.comparison.run_record import RESULTS_VERSION, RunRecord, read_object, read_run
from paramgen.errors import OutputError, one_line
from paramgen.storage.folder import write_text

SETTINGS: Final = "settings.json"
RUNS_FOLDER: Final = "runs"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RunId:
    """Which training run: what is trained, from what, at which learning rate, with which random numbers."""

    architecture: str
    init: str
    lr: float
    seed: int

    @property
    def label(self) -> str:
        """The run in a line, for a reader."""
        return f"{self.architecture}, {self.init}, lr {self.lr:g}, seed {self.seed}"

    @property
    def file(self) -> str:
        """The name of the run's file: readable, and different for every run."""
        words = f"{self.architecture}-{self.init}-{self.lr:g}-{self.seed}"
        plain = "".join(letter if letter.isalnum() or letter in ".-" else "_" for letter in words)
        return f"{plain[-80:]}-{hashlib.sha256(repr(self).encode()).hexdigest()[:8]}.json"


@final
class Store:
    """The folder of a comparison, or nothing where its runs are kept in memory alone."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._memory: dict[RunId, RunRecord] = {}

    def refuse_others(self, settings: Mapping[str, Any]) -> None:
        """Raise an error if the folder belongs to something else: other settings, or no comparison at all."""
        if self._folder is None or not self._folder.exists():
            return
        if not self._folder.is_dir():
            raise OutputError(
                f"{str(self._folder)!r} is a file; the output is a folder. Type the name of a new folder."
            )
        file = self._folder / SETTINGS
        if not file.is_file():
            if any(self._folder.iterdir()):
                raise OutputError(
                    f"The folder {str(self._folder)!r} exists and holds no comparison. Type another one: --out NAME"
                )
            return
        known = read_object(file)
        keys = (*settings, *(key for key in known if key not in settings and key != "format_version"))
        changed = next((key for key in keys if known.get(key) != settings.get(key)), None)
        if changed is not None:
            was = _difference(known.get(changed), settings.get(changed))
            now = _difference(settings.get(changed), known.get(changed))
            raise OutputError(
                f"The folder {str(self._folder)!r} holds a comparison with other settings ({changed}: {was} there, "
                f"{now} now). Type another one: --out NAME"
            )

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Write down what the runs belong to."""
        if self._folder is not None and not (self._folder / SETTINGS).is_file():
            kept = {"format_version": RESULTS_VERSION, **settings}
            write_text(self._folder / SETTINGS, json.dumps(kept, indent=1) + "\n")

    def get(self, run: RunId) -> RunRecord | None:
        """Return what was measured, if the run has ended."""
        if self._folder is not None and run not in self._memory:
            file = self._folder / RUNS_FOLDER / run.file
            if file.is_file():
                self._memory[run] = read_run(file)
        return self._memory.get(run)

    def ended(self, architecture: str, init: str) -> dict[tuple[float, int], RunRecord]:
        """Return the runs of one initialization that were looked up or made since the store was opened.

        They are keyed by learning rate and seed.
        """
        return {
            (run.lr, run.seed): record
            for run, record in self._memory.items()
            if (run.architecture, run.init) == (architecture, init)
        }

    def put(self, run: RunId, record: RunRecord) -> None:
        """Keep what was measured."""
        self._memory[run] = record
        if self._folder is not None:
            kept = {"format_version": RESULTS_VERSION, **asdict(run), **record.to_json()}
            write_text(self._folder / RUNS_FOLDER / run.file, json.dumps(kept) + "\n")


def _difference(one: Any, other: Any) -> str:
    """Return `one` as text, and of an object only what the other has not."""
    if isinstance(one, dict) and isinstance(other, dict):
        changed = ", ".join(f"{key} {value}" for key, value in one.items() if other.get(key) != value)
        return one_line(changed) or "less"
    return one_line(one)
