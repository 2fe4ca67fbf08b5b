"""A zoo is trained, killed, continued; each network of an ensemble trains as if it were alone."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch

from checkpoints.ensemble import Ensemble, Pairs, stack
from checkpoints.generator import generator
from checkpoints.networks import targets
from checkpoints.pictures import edited, pictures
from checkpoints.recipe import ZooRecipe
from checkpoints.recipes import smoke
from checkpoints.tasks import edit_tasks
from checkpoints.train import read_edit_tasks, train_zoo
from checkpoints.units import first_tensors, units
from checkpoints.verify import verify
from paramgen.errors import OptionError
from paramgen.zoo import Zoo
from paramgen.zoo.low_rank import RIGHT, first_factors
from tests.conftest import Command, application

RECIPE = smoke.config()


def quiet(what: str, done: int, total: int) -> None:
    """Report nothing."""


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoos") / "zoo"
    train_zoo("smoke", RECIPE, "drawn", folder, resume=False, ray=False, report=quiet)
    return folder


def trained_alone(recipe: ZooRecipe, names: list[int]) -> dict[int, dict[str, torch.Tensor]]:
    given = pictures("drawn", recipe.pictures + recipe.held_out)
    chosen = [edit_tasks(train=9, validation=0, test=0)[name] for name in names]
    pairs = Pairs(inputs=given, targets=torch.stack([edited(task, given) for task in chosen]))
    base = {name: each.detach() for name, each in generator().state_dict().items()}
    ensemble = Ensemble(generator(), base, stack(first_tensors(recipe, base), len(names)), pairs, recipe)
    last = list(ensemble.run(recipe.pictures, seed=0))[-1]
    return {name: {key: each[index] for key, each in last.tensors.items()} for index, name in enumerate(names)}


@pytest.mark.parametrize("form", ["full", "low_rank"])
def test_a_network_trains_in_company_as_it_does_alone(form: Literal["full", "low_rank"]) -> None:
    recipe = replace(RECIPE, form=form, common=False, snapshots=(3,))
    together = trained_alone(recipe, [1, 5])
    alone = trained_alone(recipe, [5])[5]
    for key, each in alone.items():
        torch.testing.assert_close(together[5][key], each, atol=2e-4, rtol=0)


def test_checkpoints_have_words_metrics_and_weights_that_fit(zoo: Path) -> None:
    opened = Zoo.open(zoo)
    rows = {row.id: row for row in opened.rows}
    own = [task for task in read_edit_tasks(zoo) if task.split != "test"]
    expected = {f"{task.id}.s0.{step:05d}" for task in own for step in RECIPE.snapshots}
    assert expected <= rows.keys() and not opened.skipped
    assert len([row for row in rows.values() if row.seed]) == 2 * RECIPE.repeated * len(RECIPE.snapshots)
    assert {row.split for row in rows.values()} == {"train", "validation"}
    for row in rows.values():
        assert row.metrics.keys() == {"distance", "base", "identity"} and row.texts and row.licence
    shared = [name for name in opened.base if name.endswith(RIGHT)]
    assert len(shared) == len(opened.layout.targets) and not any(name in opened.shapes for name in shared)
    generator().load_state_dict(opened.restore(opened.rows[0].id))
    generator().load_state_dict(opened.base_state)


def test_the_first_tensors_change_nothing(zoo: Path) -> None:
    opened = Zoo.open(zoo)
    first = first_tensors(RECIPE, opened.base)
    assert first.keys() == opened.shapes.keys()
    assert all(torch.equal(each, opened.base[name]) for name, each in first.items() if name in opened.base)
    assert all(not each.any() for name, each in first.items() if name not in opened.base)


def test_the_same_recipe_gives_the_same_bytes(zoo: Path, tmp_path: Path) -> None:
    train_zoo("smoke", RECIPE, "drawn", tmp_path / "zoo", resume=False, ray=False, report=quiet)
    assert files(tmp_path / "zoo") == files(zoo)


def test_what_is_missing_or_damaged_is_made_again_and_nothing_else(zoo: Path, tmp_path: Path) -> None:
    again = tmp_path / "zoo"
    for name, content in files(zoo).items():
        (again / name).parent.mkdir(parents=True, exist_ok=True)
        (again / name).write_bytes(content)
    (again / "index.parquet").unlink()
    (again / "shards" / "00001.safetensors").unlink()
    damaged = again / "shards" / "00002.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:1000])
    (again / "shards" / ".00003.safetensors.partial-1").write_bytes(b"half")
    kept = (again / "shards" / "00000.safetensors").stat().st_mtime_ns
    train_zoo("smoke", RECIPE, "drawn", again, resume=True, ray=False, report=quiet)
    assert files(again) == files(zoo)
    assert (again / "shards" / "00000.safetensors").stat().st_mtime_ns == kept


def test_a_folder_is_not_mixed_up(zoo: Path, tmp_path: Path) -> None:
    before = files(zoo)
    with pytest.raises(OptionError, match="Add --resume"):
        train_zoo("smoke", RECIPE, "drawn", zoo, resume=False, ray=False, report=quiet)
    with pytest.raises(OptionError, match="begun with other settings and sha256"):
        train_zoo("smoke", replace(RECIPE, rank=2), "drawn", zoo, resume=True, ray=False, report=quiet)
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(OptionError, match="is not empty"):
        train_zoo("smoke", RECIPE, "drawn", tmp_path, resume=True, ray=False, report=quiet)
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "run.json").write_bytes(b" " * 2**21)
    with pytest.raises(OptionError, match="allowed are"):
        train_zoo("smoke", RECIPE, "drawn", tmp_path / "zoo", resume=True, ray=False, report=quiet)
    assert files(zoo) == before


def test_verify_measures_what_the_table_says_and_finds_a_changed_value(zoo: Path, tmp_path: Path) -> None:
    found = verify(zoo, data="drawn", samples=3, report=quiet)
    assert found.measured == 3 and found.worst < 1e-5 and not found.skipped and not found.different
    again = tmp_path / "zoo"
    for name, content in files(zoo).items():
        (again / name).parent.mkdir(parents=True, exist_ok=True)
        (again / name).write_bytes(content)
    shard = again / "shards" / "00000.safetensors"
    changed = bytearray(shard.read_bytes())
    changed[-3] ^= 1
    shard.write_bytes(changed)
    damaged = verify(again, data=None, samples=0, report=quiet)
    assert damaged.whole == found.whole - 1 and "its hash differs" in damaged.skipped[0].reason


def test_units_cover_every_task_once_and_the_repeated_ones_three_times() -> None:
    recipe = replace(RECIPE, train=10, validation=2, repeated=4, group=5)
    chosen = edit_tasks(train=10, validation=2, test=3)
    found = units(recipe, chosen)
    assert [unit.number for unit in found] == list(range(len(found)))
    seen = [(task.id, unit.seed) for unit in found for task in unit.tasks]
    assert len(seen) == len(set(seen)) == 12 + 2 * 4
    assert not {task.id for task in chosen if task.split == "test"} & {name for name, _ in seen}


def test_first_factors_differ_between_slots_of_one_shape() -> None:
    base = dict(generator().state_dict())
    first = first_factors(base, targets(base), rank=2, seed=0)
    one, other = (first[f"mid_block.resnets.{index}.conv1.weight{RIGHT}"] for index in (0, 1))
    assert one.shape == other.shape and not torch.equal(one, other)


KILLED = """
import os, signal, sys
def watch(event, arguments, shards=iter(range(10**9))):
    if event == "os.rename" and "/shards/0" in str(arguments[1]) and next(shards) == 1:
        os.kill(os.getpid(), signal.SIGKILL)  # the second shard is written, but has no name yet
sys.addaudithook(watch)
"""


@pytest.mark.slow
def test_a_killed_zoo_is_continued_to_the_same_bytes(zoo: Path, tmp_path: Path, command: Command) -> None:
    out = tmp_path / "zoo"
    arguments = ["train-zoo", "smoke", "--data", "drawn", "--out", str(out)]
    line = [sys.executable, "-W", "ignore", "-c", f"{KILLED}{application('checkpoints')}", *arguments]
    killed = subprocess.run(line, stderr=subprocess.DEVNULL)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(out.glob("shards/0*.safetensors"))) == 1 < len(list(zoo.glob("shards/*")))
    assert not (out / "index.parquet").exists()
    done = command(*arguments, "--resume", "--json", code=application("checkpoints"), alone=True)
    assert done.status == 0, done
    assert json.loads(done.out)["checkpoints"] == len(Zoo.open(out).rows)
    assert files(out) == files(zoo)
