"""Concepts follow from version, seed and counts; what is kept for testing is new to whoever trained on the rest."""

import re

import pytest
import torch

from checkpoints.concepts import Concept, concepts
from checkpoints.edits import EDITS
from checkpoints.pictures import edited, picture, scene, tensor
from paramgen.errors import ZooError

COUNTS = {"train": 300, "validation": 10, "test": 45}
ALL = concepts(**COUNTS)
TRAIN = [concept for concept in ALL if concept.split == "train"]
TESTS = [concept for concept in ALL if concept.split == "test"]


def words(*chosen: Concept) -> set[str]:
    return {word for concept in chosen for text in concept.texts for word in re.findall(r"[\w'-]+", text)}


def test_every_edit_changes_pictures_in_its_own_way() -> None:
    scenes = torch.stack([tensor(scene(number)) for number in range(12)])
    made = {name: edited(Concept(edits=(name,), texts=(name,), split="train"), scenes).float() for name in EDITS}
    for name, pictures in made.items():
        assert pictures.shape == scenes.shape and (pictures - scenes).abs().mean() > 0.5, name
    for name, pictures in made.items():
        near = min((pictures - other).abs().mean().item() for each, other in made.items() if each != name)
        assert near > 0.5, name
    assert len([edit for edit in EDITS.values() if not edit.held_out]) >= 25


def test_there_are_as_many_as_asked_for_and_none_twice() -> None:
    assert {split: len([concept for concept in ALL if concept.split == split]) for split in COUNTS} == COUNTS
    assert len({frozenset(concept.edits) for concept in ALL}) == len(ALL)
    assert all(1 <= len(concept.edits) <= 3 and len(set(concept.texts)) >= 3 for concept in ALL)
    assert concepts(**COUNTS) == ALL and concepts(**COUNTS, seed=1) != ALL


def test_more_training_concepts_leave_the_others_as_they_were() -> None:
    more = concepts(**COUNTS | {"train": 400})
    assert [concept for concept in more if concept.split == "train"][:300] == TRAIN
    assert [concept for concept in more if concept.split == "test"] == TESTS


def test_what_is_tested_was_not_trained_on() -> None:
    trained = {name for concept in TRAIN for name in concept.edits}
    known = words(*TRAIN)
    for concept in TESTS:
        new = {name for name in concept.edits if name not in trained}
        assert bool(new) == (concept.novelty == "edit") and all(EDITS[name].held_out for name in new)
        assert (not words(concept) <= known) == (concept.novelty != "chain"), concept
    assert {concept.novelty for concept in TESTS} == {"chain", "words", "edit"}
    assert "sepia" not in " ".join(known)


def test_edits_are_applied_in_order() -> None:
    given = scene(3)
    both = Concept(edits=("invert", "darken"), texts=("",), split="train").apply(given)
    assert tensor(both).equal(tensor(EDITS["darken"].apply(EDITS["invert"].apply(given))))
    assert not tensor(both).equal(tensor(EDITS["invert"].apply(EDITS["darken"].apply(given))))


def test_pixels_survive_the_way_to_pillow_and_back() -> None:
    given = tensor(scene(0))
    assert tensor(picture(given)).equal(given)


def test_a_concept_is_read_as_it_was_written() -> None:
    assert [Concept.from_json(concept.to_json()) for concept in ALL] == list(ALL)


@pytest.mark.parametrize("edits", [["nothing"], [], ["blur"] * 4])
def test_an_unknown_edit_is_refused(edits: list[str]) -> None:
    with pytest.raises(ZooError, match="allowed are 1 to 3 known ones"):
        Concept.from_json(ALL[0].to_json() | {"edits": edits})
