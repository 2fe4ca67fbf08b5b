"""A classifier zoo: pairs of classes with words, trained, resumed and measured as translations are."""

from pathlib import Path

import pytest
import torch

from checkpoints.class_tasks import ClassTask, class_tasks
from checkpoints.classifier import CLASSIFIER
from checkpoints.pictures import scene
from checkpoints.recipes import pairs, smoke_pairs
from checkpoints.train import read_class_tasks, train_zoo
from checkpoints.verify import verify
from paramgen.errors import OptionError
from paramgen.zoo import Zoo

NAMES = ("bird", "car", "cat", "ship")


def quiet(what: str, done: int, total: int) -> None:
    """Report nothing."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("set")
    for index, name in enumerate(NAMES):
        folder = root / "train" / name
        folder.mkdir(parents=True)
        for number in range(12):
            scene(100 * index + number).save(folder / f"{number}.png")
    return root


def test_pairs_are_in_one_split_and_test_classes_are_known_from_other_pairs() -> None:
    recipe = pairs.config()
    names = [f"class {number}" for number in range(10)]
    found = class_tasks(names, train=recipe.train, validation=recipe.validation, test=recipe.test)
    assert len({frozenset(task.classes) for task in found}) == 45
    trained = {name for task in found if task.split == "train" for name in task.classes}
    assert trained == set(names)
    assert all(each in text for task in found for text in task.texts for each in task.classes)
    assert [ClassTask.from_json(task.to_json()) for task in found] == list(found)
    with pytest.raises(OptionError, match="3 classes have 3 pairs; the recipe takes 4"):
        class_tasks(names[:3], train=4, validation=0, test=0)


def test_a_classifier_zoo_is_trained_and_says_what_its_networks_find(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "zoo"
    train_zoo("smoke_pairs", smoke_pairs.config(), str(data), out, resume=False, ray=False, report=quiet)
    zoo = Zoo.open(out)
    assert zoo.layout.kind == "classification" and not zoo.skipped
    assert {row.task for row in zoo.rows} == {c.id for c in read_class_tasks(out) if c.split != "test"}
    assert all(row.metrics.keys() == {"loss", "accuracy", "base"} for row in zoo.rows)
    found = verify(out, data=str(data), samples=3, report=quiet)
    assert found.measured == 3 and found.worst < 1e-5
    module = CLASSIFIER.initialized(0)
    module.load_state_dict(zoo.restore(zoo.rows[0].id))
    assert module(torch.zeros(1, 3, 32, 32)).logits.shape == (1, 2)


def test_too_few_pictures_are_told_before_anything_is_written(data: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"too few pictures of 'bird'; this recipe takes 500 of each class"):
        train_zoo("pairs", pairs.config(), str(data), tmp_path / "zoo", resume=False, ray=False, report=quiet)
    assert not (tmp_path / "zoo").exists()
