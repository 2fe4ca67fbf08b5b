"""What is said about figures: who is better, by how much, how soon, and when nobody can tell."""

from dataclasses import replace
from math import exp, log
from typing import Any

import pytest

from paramgen.comparison.conclusion import conclude, shown, shown_difference
from paramgen.comparison.results import AtBestLr, Curve, Difference, InitializationResult, Spread, TaskSummary
from paramgen.comparison.statistics import difference

IMAGES = TaskSummary(
    metric="accuracy", chance=0.1, at_chance_up_to=0.12, unit="image", train=9, validation=9, test=2000, classes=10
)
TEXT = TaskSummary(
    metric="perplexity",
    chance=3.0,
    at_chance_up_to=3.0,
    unit="byte",
    train=9,
    validation=9,
    test=20_000,
    uniform=log(256),
)


def result(init: str, ends: list[float], *, first: float = 0.1, lost: int = 0, **changed: Any) -> InitializationResult:
    """Return the figures of an initialization whose seeds all rise in a straight line from `first` to their ends."""
    edge, lr = changed.pop("lr_at_edge", None), changed.pop("lr", 1e-3)
    best = AtBestLr(
        lr=lr,
        lr_at_edge=edge,
        seeds=tuple(range(len(ends))),
        diverged=0,
        at_chance=lost,
        steps=(0, 100, 200),
        curve=Curve.of([[first, (first + end) / 2, end] for end in ends]),
        area=Spread.of(ends),
        seconds=Spread.of(ends),
        init_seconds=Spread.of(ends),
    )
    found = InitializationResult(
        init=init, simple=init != "hypernet", by_lr={}, failed=0, reasons=(), diverged=0, best=best
    )
    return replace(found, **changed)


def said(*results: InitializationResult, task: TaskSummary = IMAGES, seeds: int = 3) -> tuple[str, ...]:
    return conclude(results, task, steps=200, seeds=seeds).sentences


def test_a_clear_winner_is_named_with_how_much_and_how_soon() -> None:
    found = conclude(
        [result("library", [0.379, 0.380, 0.381]), result("mimetic", [0.410, 0.412, 0.414])],
        IMAGES,
        steps=200,
        seeds=3,
    )
    assert found.best == "mimetic" and found.tied == ("mimetic",)
    assert list(found.sentences) == [
        'On your data, the initializer "mimetic" reached 41.2 % accuracy after 200 steps; the default initialization '
        "38.0 %.",
        "It got to 38.0 % after 179 of 200 steps.",
        "It is ahead of the next by 3.2 points (95 % interval +2.8 to +3.6, Welch's t-test over 3 seeds).",
    ]


def test_no_initializer_is_better_where_no_difference_is_significant() -> None:
    found = conclude(
        [result("library", [0.36, 0.38, 0.40]), result("hypernet", [0.38, 0.40, 0.42])], IMAGES, steps=200, seeds=3
    )
    assert found.best is None and found.tied == ("hypernet", "library")
    (sentence,) = found.sentences
    assert sentence.startswith(
        "No initializer is better than another here: after 200 steps all 2 are between 38.0 % and 40.0 %"
    )
    assert "over 3 seeds these differences are not statistically significant" in sentence


def test_a_difference_smaller_than_one_answer_is_none() -> None:
    assert said(result("library", [0.38] * 3), result("hypernet", [0.3804] * 3)) == (
        "No initializer is better than another here: after 200 steps all 2 are at 38.0 %.",
    )


def test_two_may_be_tied_and_better_than_a_third() -> None:
    sentences = said(result("library", [0.2] * 3), result("he", [0.40, 0.41, 0.42]), result("lsuv", [0.40, 0.42, 0.44]))
    assert (
        'the initializer "lsuv" (42.0 %) and the initializer "he" (41.0 %) are statistically tied over 3 seeds'
        in sentences[0]
    )
    assert "The next, the default initialization, reached 20.0 %" in sentences[0]


def test_the_library_is_mentioned_beside_the_next_best() -> None:
    first = said(result("library", [0.2] * 3), result("he", [0.3] * 3), result("lsuv", [0.4] * 3))[0]
    assert first.endswith(
        'reached 40.0 % accuracy after 200 steps; the initializer "he" 30.0 %; the default initialization 20.0 %.'
    )


def test_one_seed_proves_nothing() -> None:
    found = conclude([result("library", [0.2]), result("he", [0.4])], IMAGES, steps=200, seeds=1)
    assert found.best is None
    assert found.sentences[-1] == "With one seed nobody knows whether that is more than chance. Type: --seeds 3"


def test_one_initializer_has_nothing_to_be_compared_with() -> None:
    assert "Type another --init" in said(result("library", [0.4] * 3))[0]


def test_an_initializer_ahead_from_the_beginning() -> None:
    sentences = said(result("library", [0.2] * 3), result("hypernet", [0.4] * 3, first=0.3))
    assert sentences[1] == "It was at 20.0 % before the first step."


def test_less_perplexity_is_better() -> None:
    found = conclude(
        [result("library", [1.6] * 3, first=5.5), result("he", [1.2] * 3, first=5.5)], TEXT, steps=200, seeds=3
    )
    assert found.best == "he"
    assert (
        'the initializer "he" reached perplexity 3.32 after 200 steps; the default initialization perplexity 4.95.'
        in (found.sentences[0])
    )


def test_guessing_is_no_success() -> None:
    assert said(result("library", [0.1] * 3, lost=3), result("he", [0.11] * 3, lost=3))[0] == (
        "After 200 steps, no initializer is better than guessing (10.0 %). Train for more steps."
    )


def test_everything_that_broke_is_said() -> None:
    broken = result("he", [0.3] * 3, failed=1, reasons=("RuntimeError: no memory",), diverged=2, lr_at_edge="largest")
    sentences = said(result("library", [0.4] * 3), broken)
    assert 'The initializer "he": 1 run failed (RuntimeError: no memory).' in sentences
    assert 'The initializer "he": 2 runs diverged.' in sentences
    assert sentences[-1] == (
        'The initializer "he" did best at the largest learning rate that was tried (0.001), even beyond the grid, so a '
        "larger one may do better: add 3e-03 to --lr, with another --out."
    )


def test_all_runs_may_fail() -> None:
    failed = replace(result("he", [0.1]), best=None, failed=3, reasons=("x",))
    found = conclude([failed], IMAGES, steps=200, seeds=3)
    assert found.best is None and found.sentences == ("No initializer could be tried here: every run failed.",)


def test_some_runs_may_end_no_better_than_guessing() -> None:
    sentences = said(result("library", [0.1, 0.4, 0.4], lost=1), result("he", [0.5] * 3))
    assert sentences[-1] == "The default initialization: 1 run ended no better than guessing after 200 steps."


def test_all_may_be_at_the_edge_of_the_grid() -> None:
    low = [
        result(init, [0.3 + 0.1 * index] * 3, lr_at_edge="smallest", lr=4e-3)
        for index, init in enumerate(("he", "lsuv"))
    ]
    assert said(*low)[-1] == (
        "Every initializer did best at the smallest learning rate that was tried (0.004), even beyond the grid, so a "
        "smaller one may do better: add 1e-03 to --lr, with another --out."
    )
    assert said(low[0])[-1].startswith('The initializer "he" did best at the smallest')
    assert said(*low, result("library", [0.1] * 3))[-1].startswith(
        'The initializer "he" and the initializer "lsuv" did'
    )
    perfect = result("he", [1.0] * 3, lr_at_edge="smallest")
    assert not any("learning rate" in sentence for sentence in said(perfect, result("library", [0.1] * 3)))


def test_what_was_reached_at_the_very_end_is_not_said_to_be_soon() -> None:
    equal = conclude([result("library", [0.4]), result("he", [0.4])], IMAGES, steps=200, seeds=1)
    assert len(equal.sentences) == 2 and not any("It got to" in sentence for sentence in equal.sentences)


def test_one_step_is_no_steps() -> None:
    (sentence, *_) = conclude([result("library", [0.4] * 3)], IMAGES, steps=1, seeds=3).sentences
    assert sentence.startswith("The default initialization reached 40.0 % after 1 step; there is no other")


def test_texts_may_be_tied() -> None:
    (sentence,) = said(result("library", [1.2, 1.3, 1.4]), result("he", [1.19, 1.3, 1.39]), task=TEXT)
    assert "all 2 are between perplexity 3.67 and 3.64, and over 3 seeds" in sentence


def test_a_perplexity_is_shown_with_the_digits_that_matter() -> None:
    assert shown(log(99.5), "perplexity") == "perplexity 99.50" and shown(0.12345, "accuracy") == "12.3 %"
    assert (
        shown(log(100.4), "perplexity") == "perplexity 100" and shown(log(1234.4), "perplexity") == "perplexity 1,234"
    )
    assert shown(1e9, "perplexity") == shown(700.0, "perplexity") != shown(699.0, "perplexity")


def test_a_difference_is_in_points_or_in_percent_of_the_others_perplexity() -> None:
    logs = Difference(mean=log(0.9), interval=(log(0.8), log(1.1)), paired=(log(0.85), log(0.95)), significant=True)
    assert shown_difference(logs, "perplexity") == ("10.0 % of its perplexity", "-20.0 to +10.0 %")
    assert shown_difference(logs, "perplexity", paired=True)[1] == "-15.0 to -5.0 %"
    wild = shown_difference(replace(logs, mean=-1e4, interval=(-1e4, 1e4)), "perplexity")
    assert wild[0] == "100.0 % of its perplexity" and wild[1] == f"-100.0 to {100 * (exp(700) - 1):+.1f} %"
    points = Difference(mean=0.032, interval=(-0.01, 0.05), paired=None, significant=False)
    assert shown_difference(points, "accuracy") == ("3.2 points", "-1.0 to +5.0")


def test_the_interval_is_that_of_welch_and_satterthwaite() -> None:
    # By hand: variances 0.01 and 0.0004, degrees of freedom (0.0104/3)^2 / ((0.01/3)^2/2 + (0.0004/3)^2/2) = 2.1595.
    found = difference({0: 0.1, 1: 0.2, 2: 0.3}, {0: 0.48, 1: 0.5, 2: 0.52}, tested=10**6)
    assert found is not None
    width = 4.0107 * (0.0104 / 3) ** 0.5  # Student's quantile at 2.1595; at four, the number of seeds' own, it is 2.776
    assert found.mean == pytest.approx(-0.3)
    assert found.interval == pytest.approx([-0.3 - width, -0.3 + width], abs=2e-4)
    assert found.significant


def test_differences_are_also_taken_seed_by_seed() -> None:
    wide = {0: 0.1, 1: 0.3, 2: 0.5}
    found = difference(wide, {seed: value - 0.01 for seed, value in wide.items()}, tested=10**6)
    assert found is not None and not found.significant  # seeds differ by far more than the two
    assert found.paired == pytest.approx([0.01, 0.01])
    # Mean 0.02, standard deviation 0.01: 4.3027 of the mean's error on two degrees of freedom.
    other = difference({0: 0.11, 1: 0.32, 2: 0.53}, wide, tested=10**6)
    assert other is not None
    assert other.paired == pytest.approx([0.02 - 4.3027 * 0.01 / 3**0.5, 0.02 + 4.3027 * 0.01 / 3**0.5], abs=1e-4)
    assert difference({0: 0.1, 2: 0.2}, {1: 0.1, 3: 0.2}, tested=10).paired is None  # type: ignore[union-attr]


def test_equal_seeds_differ_by_one_answer_at_least() -> None:
    same = {0: 0.5, 1: 0.5}
    assert difference(same, {0: 0.5004, 1: 0.5004}, tested=2000).significant is False  # type: ignore[union-attr]
    assert difference(same, {0: 0.51, 1: 0.51}, tested=2000).significant is True  # type: ignore[union-attr]
    assert difference({0: 0.1}, {0: 0.2}, tested=200) is None
