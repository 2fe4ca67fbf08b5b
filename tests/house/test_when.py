"""What the page on where it helps says of costs is what was measured."""

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def page() -> str:
    """The page without its line breaks."""
    return " ".join((ROOT / "docs" / "when.md").read_text(encoding="utf-8").split())


def steps_of_making(results: tuple[str, ...]) -> float:
    """The most that the hypernet's weights take longer than the library's draw, in steps of training."""
    found = []
    for name in results:
        result: dict[str, Any] = json.loads((ROOT / "cards" / "results" / f"{name}.json").read_text(encoding="utf-8"))
        for row in result["rows"]:
            library, hypernet = (row["initializations"][init] for init in ("library", "hypernet"))
            more = hypernet["init_seconds"]["mean"] - library["init_seconds"]["mean"]
            found.append(more * result["steps"] / library["seconds"]["mean"])
    return max(found)


@pytest.mark.parametrize(
    ("results", "said"),
    [
        (("vision",), "at most {:.1f} of a step more than the library's own draw in the tables of small image"),
        (("vision_real", "vision_largest", "text_real"), "at most {:.1f} in those of networks that people name"),
    ],
)
def test_weights_take_less_than_a_step(results: tuple[str, ...], said: str) -> None:
    steps = steps_of_making(results)
    assert steps < 1 and said.format(steps) in page()
