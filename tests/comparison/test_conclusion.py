"""What is said about figures: who is better, by how much, how soon, and when nobody can tell."""

from math import log
from typing import Any

import pytest

from paramgen.comparison.conclusion import conclude
from paramgen.comparison.measures import difference, spread

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
        "It is ahead of the next by 3.2 points (95 % interval +2.8 to +3.6, Welch's t-test over 3 seeds).",
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
        'The start "he" did best at the largest learning rate that was tried (0.001), even beyond the grid, so a '
        "larger one may do better: add 3e-03 to --rates, with another --out."
    )


def test_all_runs_may_fail() -> None:
    failed = {"init": "he", "rate": None, "rate_at_edge": None, "failed": 3, "reasons": ["x"], "diverged": 0}
    found = conclude([failed], IMAGES, steps=200, seeds=3)
    assert found["best"] is None and "every run failed" in found["sentences"][0]


def test_the_interval_is_that_of_welch_and_satterthwaite() -> None:
    # By hand: variances 0.01 and 0.0004, degrees of freedom (0.0104/3)^2 / ((0.01/3)^2/2 + (0.0004/3)^2/2) = 2.1595.
    found = difference({0: 0.1, 1: 0.2, 2: 0.3}, {0: 0.48, 1: 0.5, 2: 0.52}, tested=10**6)
    assert found is not None
    width = 4.0107 * (0.0104 / 3) ** 0.5  # Student's quantile at 2.1595; at four, the number of seeds' own, it is 2.776
    assert found["mean"] == pytest.approx(-0.3)
    assert found["interval"] == pytest.approx([-0.3 - width, -0.3 + width], abs=2e-4)
    assert found["apart"]


def test_differences_are_also_taken_seed_by_seed() -> None:
    wide = {0: 0.1, 1: 0.3, 2: 0.5}
    found = difference(wide, {seed: value - 0.01 for seed, value in wide.items()}, tested=10**6)
    assert found is not None and not found["apart"]  # seeds differ by far more than the two
    assert found["paired"] == pytest.approx([0.01, 0.01])
    # Mean 0.02, standard deviation 0.01: 4.3027 of the mean's error on two degrees of freedom.
    other = difference({0: 0.11, 1: 0.32, 2: 0.53}, wide, tested=10**6)
    assert other is not None
    assert other["paired"] == pytest.approx([0.02 - 4.3027 * 0.01 / 3**0.5, 0.02 + 4.3027 * 0.01 / 3**0.5], abs=1e-4)
    assert difference({0: 0.1, 2: 0.2}, {1: 0.1, 3: 0.2}, tested=10)["paired"] is None  # type: ignore[index]


def test_equal_seeds_differ_by_one_answer_at_least() -> None:
    same = {0: 0.5, 1: 0.5}
    assert difference(same, {0: 0.5004, 1: 0.5004}, tested=2000)["apart"] is False  # type: ignore[index]
    assert difference(same, {0: 0.51, 1: 0.51}, tested=2000)["apart"] is True  # type: ignore[index]
    assert difference({0: 0.1}, {0: 0.2}, tested=200) is None
