"""The page of closed forms: its figures are the measured ones, and say what the page says of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.closed_forms.__main__ import EXPERIMENTS
from benchmarks.closed_forms.table import rows

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((ROOT / "cards" / "results" / "closed_forms.json").read_text("utf-8"))
    return loaded


def test_the_page_has_the_measured_figures(found: dict[str, Any]) -> None:
    page = (ROOT / "docs" / "closed-forms.md").read_text("utf-8")
    assert [line for line in page.splitlines() if line.startswith("| `")] == rows(found)
    assert set(found) <= set(EXPERIMENTS) and len(rows(found)) == len(found)


def test_every_experiment_says_where_it_was_made(found: dict[str, Any]) -> None:
    for each in found.values():
        assert (
            len(each["commit"].partition("+")[0]) == 40 and each["versions"]["torch"] and each["hardware"]["processor"]
        )


def test_the_figures_say_what_the_page_says_of_them(found: dict[str, Any]) -> None:
    figures = {name: each["figures"] for name, each in found.items()}
    assert figures["lowrank"]["rank"] == [51] and figures["blocks"]["density"] == [0.25]
    assert [figures["shift"][f"{bits} bits"]["values"] for bits in (2, 3, 4)] == [[4], [8], [16]]
    assert figures["cai"]["cai?noise=0"]["spatial_rank"] == [5] and figures["cai"]["cai"]["spatial_rank"] == [9]
    assert figures["cai"]["cai"]["variance_times_fan_in"]["mean"] == pytest.approx(2.0, abs=1e-3)
    assert 0.1 < figures["maxout"]["maxout"]["mean"] < 10 and figures["maxout"]["he"]["mean"] > 1e5
    assert figures["ibp"]["ibp"]["growth_per_layer"]["mean"] == pytest.approx(1.0, abs=0.05)
    assert figures["ibp"]["he"]["growth_per_layer"]["mean"] > 5
    ratio = {
        init: each["largest_over_smallest"]["mean"]
        for init, each in figures["topology"].items()
        if init in ("topology", "he")
    }
    assert ratio["topology"] < 1.5 < ratio["he"]
    for size in ("N=16", "N=32", "N=64"):
        ptd, legs = (figures["s4d"][size][kind] for kind in ("ptd", "legs"))
        assert ptd["sup_error"]["mean"] < 0.1 < 1 < legs["sup_error"]["mean"] and ptd["largest_real_part"] < 0
    for graph in ("karate club", "Barabasi-Albert, 1,000 nodes"):
        virgo, xavier = (
            figures["virgo"][graph][init]["spread_of_log_variance"]["mean"] for init in ("virgo", "xavier")
        )
        assert virgo < 0.5 * xavier


def test_what_was_trained_learned_what_the_page_says(found: dict[str, Any]) -> None:
    accuracy = {init: found["rezero"]["figures"][init]["test_accuracy"]["mean"] for init in ("rezero:he", "he")}
    assert accuracy["rezero:he"] > 0.95 and accuracy["he"] < 0.15
    tanh = found["orthogonal"]["figures"]
    assert tanh["orthogonal"]["test_accuracy"]["mean"] > 0.85 > tanh["orthogonal|scale:1.6667"]["test_accuracy"]["mean"]
    deep = {
        (depth, init): found["eoc trained"]["figures"][f"depth {depth}"][init]["test_accuracy"]["mean"]
        for depth in (50, 100)
        for init in ("eoc", "xavier?distribution=normal", "he|scale:2.5")
    }
    assert abs(deep[50, "eoc"] - deep[50, "xavier?distribution=normal"]) < 0.02 and deep[50, "he|scale:2.5"] < 0.15
    assert deep[100, "eoc"] < 0.3
