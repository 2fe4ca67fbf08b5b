"""What papers found by measures of `diagnose` is in the results that were measured, and on the page."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.diagnosis.__main__ import EXPERIMENTS
from benchmarks.diagnosis.table import rows

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((ROOT / "cards" / "results" / "diagnosis.json").read_text("utf-8"))
    return loaded


def test_the_page_has_the_measured_figures(found: dict[str, Any]) -> None:
    page = (ROOT / "docs" / "how-to" / "diagnose.md").read_text("utf-8")
    assert all(line in page.splitlines() for line in rows(found))
    assert set(found) == set(EXPERIMENTS) and len(rows(found)) == len(found)
    for each in found.values():
        assert len(each["commit"].partition("+")[0]) == 40 and each["versions"]["torch"]


def test_the_figures_say_what_the_page_says_of_them(found: dict[str, Any]) -> None:
    figures = {name: each["figures"] for name, each in found.items()}
    assert figures["rate"]["apart"]["r2"]["mean"] > 0.85 > 0.5 < figures["rate"]["r2"]["mean"]
    assert figures["rate"]["apart"]["depth"]["mean"] < 3 * figures["rate"]["apart"]["width"]["mean"] < 0
    assert figures["jacobian"]["cosine"]["mean"] >= 0.99 > 0.9 > figures["jacobian"]["elsewhere"]["mean"]
    heights = [each["mean"] for each in figures["barrier"]["nats"].values()]
    assert heights[0] > 0.1 and heights == sorted(heights, reverse=True) and heights[-1] < 0.1
    small, usual = (figures["rank"][init]["stable_rank"] for init in ("library|scale:0.01", "library"))
    assert all(each["mean"] < 1.5 for each in small) and usual[-1]["mean"] > usual[0]["mean"] > small[0]["mean"]
    assert figures["small_attention"]["rises"]["mean"] > figures["rank"]["library|scale:0.01"]["rises"]["mean"]
    assert figures["relative"]["mrr"]["mean"] > 0.3 > 0.05 > figures["relative"]["absolute"]["mean"]
    near, far = figures["bias"]["digits"].values()
    assert near["nats"]["mean"] < 1 < 10 < far["nats"]["mean"]
    assert all(each["mean"] < 0.05 for each in figures["bias"]["error"].values())
    turned = [each["after"]["mean"] for each in figures["alignment"].values()]
    assert turned == sorted(turned) and turned[0] < 0.2 and turned[-1] > 0.95
