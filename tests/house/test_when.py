"""What the page on where it helps says of costs is what was measured."""

import pytest

from tests.support.documents import WHEN, flowing, result_of


def steps_of_making(results: tuple[str, ...]) -> float:
    """The most that the hypernet's weights take longer than the library's draw, in steps of training."""
    found = []
    for result in map(result_of, results):
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
    assert steps < 1 and said.format(steps) in flowing(WHEN)
