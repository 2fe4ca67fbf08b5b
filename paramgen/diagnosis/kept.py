"""What measures that train found, kept in files until the page is written: the same command goes on after a kill.

A file belongs to one measure of one network: its name is made of the weights, the examples and all else that decides.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, final

import torch
from torch import Tensor

from paramgen.diagnosis import Measure, Observation, Profile, is_figure
from paramgen.diagnosis.trial import Trial
from paramgen.errors import OutputError, ParamgenError
from paramgen.slots.torch_internals import tree_leaves
from paramgen.storage.folder import write_text
from paramgen.storage.json_file import read_json_object
from paramgen.storage.work_folder import work_folder

_MAX_BYTES: Final = 20_000_000


@final
class KeptObservations:
    """The observations of a diagnosis that took training, in a folder; without one, nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def observed(self, measure: Measure, name: str, trial: Trial) -> Observation:
        """Return what a measure sees of a network, from its file where it was measured before."""
        if self._folder is None or not measure.trains:
            return measure.observe(trial)
        file = self._folder / f"{name}-{_digest_of(trial)[:32]}.json"
        if file.exists():
            return _read(file, measure)
        found = measure.observe(trial)
        write_text(file, json.dumps(_record(found), allow_nan=False) + "\n")
        return found


@contextmanager
def kept_beside(page: Path | None, *, trains: bool, overwrite: bool) -> Iterator[Path | None]:
    """Yield a hidden folder beside a page; it is there after a kill, and gone once the page was written.

    Raises:
        OutputError: Another process is at it.
    """
    if page is None or not trains:
        yield None
        return
    with work_folder(page, {"work": "diagnosis"}, overwrite=overwrite) as work:
        try:
            yield work.path
        except OutputError:  # what was measured so far is of use once there is room
            raise
        except ParamgenError:
            work.end()
            raise
        work.end()


def _digest_of(trial: Trial) -> str:
    """Return the sha256 of all that decides what is seen of a network: weights, examples, seed, version."""
    digest = hashlib.sha256()
    settings = [
        version("paramgen"),
        torch.__version__,
        trial.architecture.spec,
        trial.seed,
        trial.seeds,
        trial.requested,
    ]
    digest.update(json.dumps([*settings, trial.sample.source, trial.sample.count]).encode())
    sample = trial.sample
    tensors = {name: tensor for name, tensor in trial.module.state_dict().items() if isinstance(tensor, Tensor)}
    leaves = tree_leaves((sample.args, dict(sample.kwargs), sample.labels))
    for name, leaf in (*tensors.items(), *enumerate(leaves)):
        digest.update(f"{name}\0".encode())
        if isinstance(leaf, Tensor):
            digest.update(f"{leaf.dtype} {tuple(leaf.shape)}\0".encode())
            digest.update(leaf.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        else:
            digest.update(repr(leaf).encode())
    return digest.hexdigest()


def _record(found: Observation) -> dict[str, Any]:
    profile = found.profile
    shown = None
    if profile is not None:
        shown = {"layers": list(profile.layers), "values": {name: list(row) for name, row in profile.values.items()}}
    return {"figures": dict(found.figures), "profile": shown, "pooled": dict(found.pooled)}


def _read(file: Path, measure: Measure) -> Observation:
    """Return what a file says, read as if anybody had written it."""
    advice = "Delete it, and it is measured again."
    found = read_json_object(file, most=_MAX_BYTES, error=OutputError, advice=advice)
    figures: Any = found.get("figures")
    profile, pooled = found.get("profile"), found.get("pooled")
    fits = _is_row(figures) and set(figures) <= set(measure.labels) and (profile is None or _is_profile(profile))
    if not fits or not isinstance(pooled, dict) or not measure.reads(pooled):
        raise OutputError(f"{file} is not what {type(measure).__name__} keeps of a network. {advice}")
    return Observation(
        figures=figures,
        profile=None
        if profile is None
        else Profile(
            layers=tuple(profile["layers"]), values={name: tuple(row) for name, row in profile["values"].items()}
        ),
        pooled=pooled,
    )


def _is_row(found: Any) -> bool:
    return isinstance(found, dict) and all(map(is_figure, found.values()))


def _is_profile(found: Any) -> bool:
    layers, values = (found.get(name) for name in ("layers", "values")) if isinstance(found, dict) else (None, None)
    if not isinstance(layers, list) or not isinstance(values, dict) or not all(isinstance(e, str) for e in layers):
        return False
    rows = values.values()
    return all(isinstance(row, list) and len(row) == len(layers) and all(map(is_figure, row)) for row in rows)
