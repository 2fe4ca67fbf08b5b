"""Which measure tells who wins: the correlations are Spearman's, and the page says what was found."""

import json
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import spearmanr

from benchmarks.diagnosis.prediction import Figures, correlations, interval, rows_of, spearman
from benchmarks.diagnosis.table import conclusion, prediction_rows

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((ROOT / "cards" / "results" / "diagnosis_prediction.json").read_text("utf-8"))
    return loaded


def test_correlations_are_spearman_s() -> None:
    one, other = [3.0, 1.0, 2.0, 2.0, 9.0], [0.5, 0.1, 0.4, 0.6, 0.2]
    assert spearman(one, other) == pytest.approx(float(spearmanr(one, other).statistic))
    assert spearman([1.0] * 5, other) is None and spearman(one[:3], other[:3]) is None
    assert interval([0.5, 0.5]) == {"mean": 0.5, "low": 0.5, "high": 0.5, "all": [0.5, 0.5], "networks": 2}


@pytest.mark.parametrize("domain", ["vision", "text"])
def test_a_figure_that_is_how_training_ends_predicts_it(domain: str) -> None:
    """More is better of accuracy, less of perplexity's logarithm; an initialization like another one counts once."""
    rows = rows_of(domain)[:3]
    better = 1 if domain == "vision" else -1
    figures: dict[str, Figures] = {
        row.network: {init: {"gradient.loss": -better * each.mean} for init, each in row.ended.items()} for row in rows
    }
    assert correlations(rows, figures)["gradient.loss"]["mean"] == -1.0


def test_the_page_says_what_was_found(found: dict[str, Any]) -> None:
    page = (ROOT / "docs" / "how-to" / "diagnose.md").read_text("utf-8")
    assert all(line in page.splitlines() for line in prediction_rows(found))
    assert len(found["commit"]) == 40 and found["seeds"] == 3
    assert all(line in page.splitlines() for line in conclusion(found)) and conclusion(found)
