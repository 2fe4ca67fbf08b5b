"""Tasks follow from version, seed and counts; what is kept for testing is new to whoever trained on the rest."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from checkpoints.edits import EDITS
from checkpoints.pictures import edited, picture, scene, tensor
from checkpoints.tasks import EditTask, edit_tasks
from checkpoints.train import read_edit_tasks
from paramgen.errors import ZooError

COUNTS = {"train": 300, "validation": 10, "test": 45}
ALL = edit_tasks(**COUNTS)
TRAIN = [task for task in ALL if task.split == "train"]
TESTS = [task for task in ALL if task.split == "test"]


def words(*chosen: EditTask) -> set[str]:
    return {word for task in chosen for text in task.texts for word in re.findall(r"[\w'-]+", text)}


def test_every_edit_changes_pictures_in_its_own_way() -> None:
    scenes = torch.stack([tensor(scene(number)) for number in range(12)])
    made = {name: edited(EditTask(edits=(name,), texts=(name,), split="train"), scenes).float() for name in EDITS}
    for name, pictures in made.items():
        assert pictures.shape == scenes.shape and (pictures - scenes).abs().mean() > 0.5, name
    for name, pictures in made.items():
        near = min((pictures - other).abs().mean().item() for each, other in made.items() if each != name)
        assert near > 0.5, name
    assert len([edit for edit in EDITS.values() if not edit.held_out]) >= 25


def test_there_are_as_many_as_asked_for_and_none_twice() -> None:
    assert {split: len([task for task in ALL if task.split == split]) for split in COUNTS} == COUNTS
    assert len({frozenset(task.edits) for task in ALL}) == len(ALL)
    assert all(1 <= len(task.edits) <= 3 and len(set(task.texts)) >= 3 for task in ALL)
    assert edit_tasks(**COUNTS) == ALL and edit_tasks(**COUNTS, seed=1) != ALL


def test_more_training_tasks_leave_the_others_as_they_were() -> None:
    more = edit_tasks(**COUNTS | {"train": 400})
    assert [task for task in more if task.split == "train"][:300] == TRAIN
    assert [task for task in more if task.split == "test"] == TESTS


def test_what_is_tested_was_not_trained_on() -> None:
    trained = {name for task in TRAIN for name in task.edits}
    known = words(*TRAIN)
    for task in TESTS:
        new = {name for name in task.edits if name not in trained}
        assert bool(new) == (task.novelty == "edit") and all(EDITS[name].held_out for name in new)
        assert (not words(task) <= known) == (task.novelty != "chain"), task
    assert {task.novelty for task in TESTS} == {"chain", "words", "edit"}
    assert "sepia" not in " ".join(known)


def test_edits_are_applied_in_order() -> None:
    given = scene(3)
    both = EditTask(edits=("invert", "darken"), texts=("",), split="train").apply(given)
    assert tensor(both).equal(tensor(EDITS["darken"].apply(EDITS["invert"].apply(given))))
    assert not tensor(both).equal(tensor(EDITS["invert"].apply(EDITS["darken"].apply(given))))


def test_pixels_survive_the_way_to_pillow_and_back() -> None:
    given = tensor(scene(0))
    assert tensor(picture(given)).equal(given)


def test_a_task_is_read_as_it_was_written() -> None:
    assert [EditTask.from_json(task.to_json()) for task in ALL] == list(ALL)


@pytest.mark.parametrize("edits", [["nothing"], [], ["blur"] * 4, [["blur"]]])
def test_an_unknown_edit_is_refused(edits: list[Any]) -> None:
    with pytest.raises(ZooError, match="allowed are 1 to 3 known ones"):
        EditTask.from_json(ALL[0].to_json() | {"edits": edits})


@pytest.mark.parametrize("text", ["", "[" * 10**5, "{}", "[1]", "\ufeff[]", "\ud800"])
def test_tasks_of_a_zoo_that_are_none_are_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "tasks.json").write_text(text, errors="surrogatepass")
    with pytest.raises(ZooError) as caught:
        read_edit_tasks(tmp_path)
    assert "\n" not in str(caught.value)


def test_tasks_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "tasks.json")
    with pytest.raises(ZooError, match=r"tasks\.json is no regular file"):
        read_edit_tasks(tmp_path)
