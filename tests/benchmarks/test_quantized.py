"""The page on recipes has the measured figures of few bits, and they say what it says of them."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_page_has_the_measured_figures_and_they_say_so() -> None:
    from benchmarks.quantized import SIZES, at_equal_bits, tables

    found = json.loads((ROOT / "cards" / "results" / "quantized.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "how-to" / "recipes.md").read_text(encoding="utf-8")
    assert all(table in page for table in tables(found).strip().split("\n\n"))
    by_way = {(row["kind"], row["block"], row["size"]): row["perplexity"] for row in found["rows"]}
    whole = {size: by_way["float32", "tensor", size] for size in SIZES}

    def costs(kind: str) -> list[float]:
        return [by_way[kind, 64, size] / whole[size] - 1 for size in SIZES]

    assert max(costs("nf4")) == pytest.approx(0.009, abs=5e-4) and min(costs("nf4")) == pytest.approx(-0.057, abs=5e-4)
    three = [*costs("nf3"), *costs("int3")]
    assert min(three) == pytest.approx(0.18, abs=5e-3) and max(three) == pytest.approx(0.50, abs=5e-3)
    assert all(by_way["nf4", 64, size] < by_way["nf4", "tensor", size] for size in SIZES)
    assert [row["best"] for row in found["at_equal_bits"]] == [4, 4, 8, 4]
    assert at_equal_bits(found["rows"]) == found["at_equal_bits"]
    assert whole["80 x 4"] < whole["112 x 5"]
    assert len(found["provenance"]["commit"]) == 40
