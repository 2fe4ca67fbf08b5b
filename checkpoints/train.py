"""Train a zoo: the shared start, then one unit after another, each a shard. What is there is not made again."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file
from torch import Tensor

from checkpoints.classes import ClassConcept
from checkpoints.concepts import VERSION, Concept
from checkpoints.index import index
from checkpoints.kinds import Kind, kind_of
from checkpoints.recipe import Recipe
from checkpoints.start import NAME as START
from checkpoints.start import shared_start
from checkpoints.units import Made, Unit, layout_of, trained_unit, units
from checkpoints.writing import read_shard_rows, write_json, write_layout, write_shard
from paramgen.errors import OptionError, ZooError
from paramgen.zoo.layout import NAME as LAYOUT
from paramgen.zoo.reading import SHARDS, Skipped

RUN: Final = "run.json"
CONCEPTS: Final = "concepts.json"
LICENCE: Final = "Apache-2.0"

Report = Callable[[str, int, int], None]
"""What is being made, how much of it is done, and how much there is."""


def train_zoo(
    name: str, recipe: Recipe, data: str, out: Path, *, resume: bool, ray: bool, report: Report
) -> tuple[int, list[Skipped]]:
    """Make or continue the zoo in `out`; return how many checkpoints its table has, and what was left out."""
    report("pictures", 0, 1)
    kind = kind_of(recipe, data)
    run = {
        "recipe": name,
        "identity": recipe.identity,
        "grammar": VERSION,
        "pictures": hashlib.sha256(kind.pictures.numpy().tobytes()).hexdigest(),
        "settings": recipe.to_json(),
    }
    _begin(out, json.loads(json.dumps(run)), resume=resume)
    write_json(out / CONCEPTS, [concept.to_json() for concept in kind.concepts()])
    base = _base(out, kind, report)
    every = units(recipe, kind.concepts())
    left = [unit for unit in every if not _whole(out / SHARDS / unit.shard)]
    about = {"licence": LICENCE, "source": f"train-zoo {name}", "revision": recipe.identity[:40]}
    make = _with_ray if ray else _here
    report("units", len(every) - len(left), len(every))
    for done, (unit, made) in enumerate(make(left, kind, base, about), len(every) - len(left) + 1):
        write_shard(out, unit.shard, made)
        report("units", done, len(every))
    return index(out)


def read_concepts(folder: Path) -> list[Concept]:
    """Return all concepts of a translation zoo, those for testing too."""
    return [Concept.from_json(each) for each in _concepts(folder)]


def read_class_concepts(folder: Path) -> list[ClassConcept]:
    """Return all concepts of a classifier zoo, those for testing too."""
    return [ClassConcept.from_json(each) for each in _concepts(folder)]


def _concepts(folder: Path) -> list[Any]:
    path = folder / CONCEPTS
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ZooError(f"{path} cannot be read: {type(error).__name__}. Get the zoo again.") from error
    if not isinstance(given, list):
        raise ZooError(f"{path} holds no list of concepts. Get the zoo again.")
    return given


def _begin(out: Path, run: Mapping[str, Any], *, resume: bool) -> None:
    """Mark a new folder as this run's, or see that it is; remove what a killed process left half written."""
    path = out / RUN
    if not path.exists():
        if out.exists() and any(out.iterdir()):
            raise OptionError(f"{str(out)!r} is not empty, and no zoo was begun there. Type another --out.")
        write_json(path, run)
    elif not resume:
        raise OptionError(f"{str(out)!r} has a zoo that was begun. Add --resume to continue it, or type another --out.")
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OptionError(f"{path} cannot be read: {type(error).__name__}. Type another --out.") from error
    if before != run:
        differ = sorted(key for key in run if not isinstance(before, dict) or before.get(key) != run[key])
        raise OptionError(f"{str(out)!r} was begun with another {' and '.join(differ)}. Type another --out.")
    for partial in (*out.glob(".*.partial*"), *(out / SHARDS).glob(".*.partial*")):
        partial.unlink(missing_ok=True)


def _base(out: Path, kind: Kind, report: Report) -> dict[str, Tensor]:
    if (out / LAYOUT).exists():
        return load_file(out / "base.safetensors")
    base = shared_start(kind, out, lambda done, total: report("shared start", done, total))
    write_layout(out, layout_of(kind, base), base)
    (out / START).unlink(missing_ok=True)
    return base


def _whole(path: Path) -> bool:
    """Whether a unit's shard is there and can be read; one that is damaged is made again."""
    try:
        return path.exists() and bool(read_shard_rows(path))
    except ZooError:
        return False


def _here(
    left: Sequence[Unit], kind: Kind, base: Mapping[str, Tensor], about: Mapping[str, str]
) -> Iterator[tuple[Unit, Made]]:
    for unit in left:
        yield unit, trained_unit(unit, kind, base, about)


def _with_ray(
    left: Sequence[Unit], kind: Kind, base: Mapping[str, Tensor], about: Mapping[str, str]
) -> Iterator[tuple[Unit, Made]]:
    """Train units on the machines of a Ray cluster, or on this one's processors; yield them as they are done.

    One processor trains one unit: on more threads the same unit would not have the same bytes. A unit whose machine is
    lost is trained again by Ray.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise OptionError("--ray needs Ray, which is not installed. Type: pip install 'ray>=2'") from error

    def train(unit: Unit, kind: Kind, base: Mapping[str, Tensor]) -> Made:
        torch.set_num_threads(1)
        return trained_unit(unit, kind, base, about)

    ray.init(ignore_reinit_error=True, include_dashboard=False, log_to_driver=False)
    try:
        shared = ray.put(kind), ray.put(dict(base))
        task = ray.remote(num_cpus=1, max_retries=5)(train)
        waiting = {task.remote(unit, *shared): unit for unit in left}
        while waiting:
            ready, _ = ray.wait(list(waiting), num_returns=1)
            yield waiting.pop(ready[0]), ray.get(ready[0])
    finally:
        ray.shutdown()
