"""The table of a text: tokens that were read, how fast, and perplexity by the byte where a token is more than one."""

from dataclasses import replace
from math import exp, log
from typing import Any

import pytest

from paramgen.comparison.curves import svg
from paramgen.comparison.results import (
    ArchitectureResult,
    AtBestLr,
    Conclusion,
    Curve,
    InitializationResult,
    Spread,
    TaskSummary,
)
from paramgen.comparison.table import header, rows


def architecture(**task: Any) -> ArchitectureResult:
    """Return ten steps from one initialization, which end at a perplexity of 16 after 20 seconds."""
    best = AtBestLr(
        lr=0.01,
        lr_at_edge=None,
        seeds=(0,),
        diverged=0,
        at_chance=0,
        steps=(0, 10),
        curve=Curve.of([[log(256), log(16)]]),
        area=Spread.of([2.0]),
        seconds=Spread.of([20.0]),
        init_seconds=Spread.of([0.1]),
    )
    result = InitializationResult(init="library", simple=True, by_lr={}, failed=0, reasons=(), diverged=0, best=best)
    failed = InitializationResult(init="he", simple=True, by_lr={}, failed=1, reasons=("x",), diverged=0)
    summary = {"chance": 3.0, "at_chance_up_to": 3.0, "train": 1, "validation": 1, "test": 1, **task}
    return ArchitectureResult(
        name="gpt2",
        spec="gpt2",
        parameters=1,
        task=TaskSummary(**summary),
        notes=(),
        best_simple="library",
        initializations=(result, failed),
        conclusion=Conclusion(best=None, tied=(), sentences=()),
        per_step=256,
    )


def test_what_is_trained_of_few_numbers_is_shown_beside_what_is_not() -> None:
    found = architecture(metric="perplexity", unit="byte", length=32)
    assert "kB" not in figures(found)
    (dense, failed), few = found.initializations, 2500
    assert dense.best is not None
    best = replace(dense.best, numbers=few, nbytes=4 * few + 1000)
    both = replace(found, parameters=10**6, initializations=(dense, replace(dense, init="he|prune", best=best), failed))
    table = [dict(zip(header(both), row, strict=True)) for row in rows(both)]
    assert {row["initializer"]: (row["numbers trained"], row["kB"]) for row in table} == {
        "library": ("1,000,000", "4,000.0"),
        "he|prune": ("2,500", "11.0"),
        "he": ("", ""),
    }
    assert AtBestLr.from_json(InitializationResult.to_json(both.initializations[1])).nbytes == 11_000


def figures(found: ArchitectureResult) -> dict[str, str]:
    table = [header(found), *rows(found)]
    assert len({len(row) for row in table}) == 1, "every row has every column"
    return dict(zip(table[0], table[1], strict=True))


def test_tokens_of_different_tokenizers_are_compared_by_the_byte() -> None:
    tokens = architecture(metric="perplexity", unit="token", length=32, bytes_per_token=2.0)
    found = figures(tokens)
    assert float(found["perplexity per byte"]) == pytest.approx(exp(log(16) / 2))
    assert found["tokens/s"] == "128"  # 10 steps of 256 in 20 s
    assert "tokens read" in svg(tokens)


def test_a_byte_is_a_byte() -> None:
    found = architecture(metric="perplexity", unit="byte", length=32)
    assert "perplexity per byte" not in figures(found) and figures(found)["bytes/s"] == "128"
    assert "bytes read" in svg(found)


def test_images_have_no_such_columns() -> None:
    found = architecture(metric="accuracy", unit="image")
    assert not [name for name in figures(found) if "/s" in name and name != "s/run"]
    assert "read" not in svg(found)
