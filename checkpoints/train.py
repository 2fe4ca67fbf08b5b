"""Train a zoo: its base checkpoint, then one unit of tasks after another, each a shard. Finished shards are kept."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file
from torch import Tensor

from checkpoints.base import NAME as BASE_TRAINING
from checkpoints.base import train_base
from checkpoints.class_tasks import ClassTask
from checkpoints.index import index
from checkpoints.recipe import ZooRecipe
from checkpoints.task_sets import TaskSet, task_set_of
from checkpoints.tasks import GRAMMAR_VERSION, EditTask
from checkpoints.units import Made, Unit, layout_of, trained_unit, units
from checkpoints.writing import read_shard_rows, write_json, write_layout, write_shard
from paramgen.errors import OptionError, ZooError
from paramgen.storage.json_file import read_json, read_json_object
from paramgen.zoo.layout import ZOO_FILE
from paramgen.zoo.reading import SHARDS, Skipped

RUN: Final = "run.json"
TASKS: Final = "tasks.json"
MAX_RUN: Final = 2**20
LICENCE: Final = "Apache-2.0"
MAX_TASKS_BYTES: Final = 100_000_000

Report = Callable[[str, int, int], None]
"""Called with the name of a stage, how much of it is done, and how much there is."""


def train_zoo(
    name: str, recipe: ZooRecipe, data: str, out: Path, *, resume: bool, ray: bool, report: Report
) -> tuple[int, list[Skipped]]:
    """Train or continue the zoo in `out`; return how many checkpoints its table lists, and which were skipped."""
    report("pictures", 0, 1)
    task_set = task_set_of(recipe, data)
    run = {
        "recipe": name,
        "sha256": recipe.sha256,
        "grammar": GRAMMAR_VERSION,
        "pictures": hashlib.sha256(task_set.pictures.numpy().tobytes()).hexdigest(),
        "settings": recipe.to_json(),
    }
    _begin(out, json.loads(json.dumps(run)), resume=resume)
    write_json(out / TASKS, [task.to_json() for task in task_set.tasks()])
    base = _base(out, task_set, report)
    every = units(recipe, task_set.tasks())
    left = [unit for unit in every if not _whole(out / SHARDS / unit.shard)]
    about = {"licence": LICENCE, "source": f"train-zoo {name}", "revision": recipe.sha256[:40]}
    make = _with_ray if ray else _sequentially
    report("units", len(every) - len(left), len(every))
    for done, (unit, made) in enumerate(make(left, task_set, base, about), len(every) - len(left) + 1):
        write_shard(out, unit.shard, made)
        report("units", done, len(every))
    return index(out)


def read_edit_tasks(folder: Path) -> list[EditTask]:
    """Return all tasks of a translation zoo, including those of the test split."""
    return [EditTask.from_json(each) for each in _tasks(folder)]


def read_class_tasks(folder: Path) -> list[ClassTask]:
    """Return all tasks of a classifier zoo, including those of the test split."""
    return [ClassTask.from_json(each) for each in _tasks(folder)]


def _tasks(folder: Path) -> list[Any]:
    path = folder / TASKS
    given = read_json(path, most=MAX_TASKS_BYTES, error=ZooError, advice="Get the zoo again.")
    if not isinstance(given, list):
        raise ZooError(f"{path} holds no list of tasks. Get the zoo again.")
    return given


def _begin(out: Path, run: Mapping[str, Any], *, resume: bool) -> None:
    """Write run.json into a new folder, or compare it in one that is continued; remove partial files."""
    path = out / RUN
    if not path.exists():
        if out.exists() and any(out.iterdir()):
            raise OptionError(f"{str(out)!r} is not empty, and no zoo was begun there. Type another --out.")
        write_json(path, run)
    elif not resume:
        raise OptionError(f"{str(out)!r} has a zoo that was begun. Add --resume to continue it, or type another --out.")
    before = read_json_object(path, most=MAX_RUN, error=OptionError, advice="Type another --out.")
    if before != run:
        differ = sorted(key for key in run if before.get(key) != run[key])
        raise OptionError(f"{str(out)!r} was begun with other {' and '.join(differ)}. Type another --out.")
    for partial in (*out.glob(".*.partial*"), *(out / SHARDS).glob(".*.partial*")):
        partial.unlink(missing_ok=True)


def _base(out: Path, task_set: TaskSet, report: Report) -> dict[str, Tensor]:
    if (out / ZOO_FILE).exists():
        return load_file(out / "base.safetensors")
    base = train_base(task_set, out, lambda done, total: report("base checkpoint", done, total))
    write_layout(out, layout_of(task_set, base), base)
    (out / BASE_TRAINING).unlink(missing_ok=True)
    return base


def _whole(path: Path) -> bool:
    """Whether a unit's shard exists and can be read; a damaged one is trained again."""
    try:
        return path.exists() and bool(read_shard_rows(path))
    except ZooError:
        return False


def _sequentially(
    left: Sequence[Unit], task_set: TaskSet, base: Mapping[str, Tensor], about: Mapping[str, str]
) -> Iterator[tuple[Unit, Made]]:
    for unit in left:
        yield unit, trained_unit(unit, task_set, base, about)


def _with_ray(
    left: Sequence[Unit], task_set: TaskSet, base: Mapping[str, Tensor], about: Mapping[str, str]
) -> Iterator[tuple[Unit, Made]]:
    """Train units in parallel on a Ray cluster, or on this machine's processors; yield them as they finish.

    Each unit is trained on one thread, as more threads would give other bytes. Ray repeats a unit whose machine is
    lost.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise OptionError("--ray needs Ray, which is not installed. Type: pip install 'ray>=2'") from error

    def train(unit: Unit, task_set: TaskSet, base: Mapping[str, Tensor]) -> Made:
        torch.set_num_threads(1)
        return trained_unit(unit, task_set, base, about)

    ray.init(ignore_reinit_error=True, include_dashboard=False, log_to_driver=False)
    try:
        shared = ray.put(task_set), ray.put(dict(base))
        remote = ray.remote(num_cpus=1, max_retries=5)(train)
        waiting = {remote.remote(unit, *shared): unit for unit in left}
        while waiting:
            ready, _ = ray.wait(list(waiting), num_returns=1)
            yield waiting.pop(ready[0]), ray.get(ready[0])
    finally:
        ray.shutdown()
