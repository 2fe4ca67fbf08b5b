"""What is said about figures: who is better, by how much, how soon, and when nobody can tell."""

from math import log
from typing import Any

import pytest

from paramgen.comparison.conclusion import conclude
from paramgen.comparison.measures import noise, spread

IMAGES = {"metric": "accuracy", "chance": 0.1, "test": 2000, "classes": 10}
TEXT = {"metric": "perplexity", "chance": 3.0, "test": 20_000, "unit": "byte", "uniform": log(256)}


def start(init: str, ends: list[float], *, first: float = 0.1, **changed: Any) -> dict[str, Any]:
    """Return the figures of a start whose seeds all rise in a straight line from `first` to their ends."""
    middle = [(first + end) / 2 for end in ends]
    points = [spread([first] * len(ends)), spread(middle), spread(ends)]
    return {
        "init": init,
        "simple": init != "hypernet",
        "rate": 1e-3,
        "rate_at_edge": None,
        "seeds": list(range(len(ends))),
        "failed": 0,
        "reasons": [],
        "diverged": 0,
        "at_chance": 0,
        "steps": [0, 100, 200],
        "curve": {key: [each[key] for each in points] for key in ("mean", "std", "values")},
        "final": points[-1],
    } | changed


def said(*starts: dict[str, Any], task: dict[str, Any] = IMAGES, seeds: int = 3) -> list[str]:
    sentences: list[str] = conclude(starts, task, steps=200, seeds=seeds)["sentences"]
    return sentences


def test_a_clear_winner_is_named_with_how_much_and_how_soon() -> None:
    found = conclude(
        [start("library", [0.379, 0.380, 0.381]), start("mimetic", [0.410, 0.412, 0.414])],
        IMAGES,
        steps=200,
        seeds=3,
    )
    assert found["best"] == "mimetic" and found["level"] == ["mimetic"]
    assert found["sentences"] == [
        'On your data, the start "mimetic" reached 41.2 % accuracy after 200 steps; the library\'s own start 38.0 %.',
        "It got to 38.0 % after 179 of 200 steps.",
        "The difference is larger than the spread over 3 seeds.",
    ]


def test_within_the_noise_no_start_is_better() -> None:
    found = conclude(
        [start("library", [0.36, 0.38, 0.40]), start("hypernet", [0.38, 0.40, 0.42])], IMAGES, steps=200, seeds=3
    )
    assert found["best"] is None and found["level"] == ["hypernet", "library"]
    (sentence,) = found["sentences"]
    assert sentence.startswith(
        "No start is better than another here: after 200 steps all 2 are between 38.0 % and 40.0 %"
    )
    assert "no larger than the spread over 3 seeds" in sentence


def test_a_difference_smaller_than_one_answer_is_none() -> None:
    assert said(start("library", [0.38] * 3), start("hypernet", [0.3804] * 3))[0].startswith("No start is better")


def test_two_may_be_level_and_better_than_a_third() -> None:
    sentences = said(start("library", [0.2] * 3), start("he", [0.40, 0.41, 0.42]), start("lsuv", [0.40, 0.42, 0.44]))
    assert 'the start "lsuv" (42.0 %) and the start "he" (41.0 %) are level' in sentences[0]
    assert "The next, the library's own start, reached 20.0 %" in sentences[0]


def test_the_library_is_mentioned_beside_the_next_best() -> None:
    first = said(start("library", [0.2] * 3), start("he", [0.3] * 3), start("lsuv", [0.4] * 3))[0]
    assert first.endswith(
        'reached 40.0 % accuracy after 200 steps; the start "he" 30.0 %; the library\'s own start 20.0 %.'
    )


def test_one_seed_proves_nothing() -> None:
    found = conclude([start("library", [0.2]), start("he", [0.4])], IMAGES, steps=200, seeds=1)
    assert found["best"] is None
    assert found["sentences"][-1] == "With one seed nobody knows whether that is more than chance. Type: --seeds 3"


def test_one_start_has_nothing_to_be_compared_with() -> None:
    assert "Type another --init" in said(start("library", [0.4] * 3))[0]


def test_a_start_ahead_from_the_beginning() -> None:
    sentences = said(start("library", [0.2] * 3), start("hypernet", [0.4] * 3, first=0.3))
    assert sentences[1] == "It was at 20.0 % before the first step."


def test_less_perplexity_is_better() -> None:
    found = conclude(
        [start("library", [1.6] * 3, first=5.5), start("he", [1.2] * 3, first=5.5)], TEXT, steps=200, seeds=3
    )
    assert found["best"] == "he"
    assert (
        'the start "he" reached perplexity 3.32 after 200 steps; the library\'s own start perplexity 4.95.'
        in (found["sentences"][0])
    )


def test_guessing_is_no_success() -> None:
    lost = {"at_chance": 3}
    assert said(start("library", [0.1] * 3, **lost), start("he", [0.11] * 3, **lost))[0] == (
        "After 200 steps, no start is better than guessing (10.0 %). Train for more steps."
    )


def test_everything_that_broke_is_said() -> None:
    broken = start("he", [0.3] * 3, failed=1, reasons=["RuntimeError: no memory"], diverged=2, rate_at_edge="largest")
    sentences = said(start("library", [0.4] * 3), broken)
    assert 'The start "he": 1 run failed (RuntimeError: no memory).' in sentences
    assert 'The start "he": 2 runs diverged.' in sentences
    assert sentences[-1] == (
        'The start "he" did best at the largest learning rate that was tried (0.001), so a larger one may do better: '
        "add 3e-03 to --rates, with another --out."
    )


def test_all_runs_may_fail() -> None:
    failed = {"init": "he", "rate": None, "rate_at_edge": None, "failed": 3, "reasons": ["x"], "diverged": 0}
    found = conclude([failed], IMAGES, steps=200, seeds=3)
    assert found["best"] is None and "every run failed" in found["sentences"][0]


def test_the_noise_is_that_of_welchs_test() -> None:
    one, other = spread([0.1, 0.2, 0.3]), spread([0.5, 0.5, 0.5])
    assert noise(one, other, tested=10**6) == pytest.approx(2.776 * (0.1**2 / 3) ** 0.5, rel=1e-3)
    assert noise(other, other, tested=200) == pytest.approx(1 / 200)
    assert noise(spread([0.1]), spread([0.2]), tested=200) is None
