"""The figures of the zoo: they are measured as they are told, and the page on zoos quotes those that are kept."""

import json
from pathlib import Path

import pytest

from benchmarks.diffusion.zoo import measured
from checkpoints.recipes import photos, smoke
from checkpoints.train import train_zoo

ROOT = Path(__file__).parents[3]
RESULT = json.loads((ROOT / "cards" / "results" / "zoo_photos.json").read_text(encoding="utf-8"))
LAST = RESULT["distances"][str(photos.config().snapshots[-1])]


@pytest.mark.parametrize(
    "phrase",
    [
        f"with {RESULT['parameters']:,} parameters",
        f"{RESULT['checkpoints']:,} checkpoints of {RESULT['tasks']['train']} training tasks",
        f"and {RESULT['tasks']['validation']} for validation",
        f"After {photos.config().snapshots[-1]} steps the median distance is {LAST['distance']['median']:.3f}",
        f"leaving the picture as it is has {LAST['identity']['median']:.3f}",
        f"different seeds are {RESULT['runs']['same']} apart in the median, two tasks {RESULT['runs']['different']}",
        f"what {sum(test['apart'] < 6 for test in RESULT['tests'])} of {len(RESULT['tests'])} make of pictures",
    ],
)
def test_the_page_quotes_the_result(phrase: str) -> None:
    assert phrase in " ".join((ROOT / "docs" / "how-to" / "zoo.md").read_text(encoding="utf-8").split())


@pytest.mark.slow
def test_a_zoo_is_measured(tmp_path: Path) -> None:
    recipe = smoke.config()
    train_zoo("smoke", recipe, "drawn", tmp_path / "zoo", resume=False, ray=False, report=lambda *_: None)
    found = measured(tmp_path / "zoo")
    assert found["tasks"] == {"train": recipe.train, "validation": recipe.validation}
    assert found["distances"].keys() == {str(steps) for steps in recipe.snapshots}
    assert found["runs"]["same"] > 0 and found["runs"]["tasks"] == recipe.repeated
    assert len(found["tests"]) == recipe.test and all(test["apart"] > 0 for test in found["tests"])
