"""The benchmark of reach: what it takes, what it keeps, what it says, and that it survives the networks."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.coverage.reach import exceptions, measured, run, sampled, summary, table, whole
from benchmarks.coverage.reach_network import Limits

GOOD: dict[str, Any] = {
    "spec": "timm:good",
    "built": True,
    "traced_by": "fake tensors",
    "trace_failures": [],
    "named": 1.0,
    "unreachable": [],
    "unreachable_elements": 0,
    "build_seconds": 1.0,
    "trace_seconds": 0.5,
    "peak_rss_bytes": 10**9,
}
OTHERS: list[dict[str, Any]] = [
    {**GOOD, "spec": "timm:real", "traced_by": "real tensors", "trace_failures": ["fake tensors: it branches"]},
    {**GOOD, "spec": "timm:plain", "named": 0.99, "unreachable": ["a.weight"], "unreachable_elements": 7},
    {"spec": "timm:bad", "built": False, "failure": "RuntimeError: no"},
]


def test_samples_at_even_distances() -> None:
    names = [str(number) for number in range(100)]
    assert sampled(names, 1, 0) == names
    assert sampled(names, 40, 0) == ["0", "40", "80"]
    assert sampled(names, 1, 4) == ["0", "25", "50", "75"]
    assert len(sampled(names, 1, 12)) <= 12


def test_goes_on_where_it_ended(tmp_path: Path) -> None:
    kept, asked = tmp_path / "deep" / "rows.jsonl", list[str]()

    def one(spec: str) -> dict[str, Any]:
        asked.append(spec)
        if spec == "timm:c" and asked.count(spec) == 1:
            raise KeyboardInterrupt
        return {"spec": spec, "built": False, "failure": "-"}

    with pytest.raises(KeyboardInterrupt):
        measured(["timm:a", "timm:c"], kept, one)
    rows = measured(["timm:c", "timm:b", "timm:a"], kept, one)
    assert [row["spec"] for row in rows] == ["timm:c", "timm:b", "timm:a"]
    assert asked == ["timm:a", "timm:c", "timm:c", "timm:b"]


def test_names_every_exception_with_its_reason() -> None:
    text = table("timm", summary(1_234, [GOOD, *OTHERS]))
    for line in ("| tried, of 1,234 | 4 |", "| built | 3 |", "| traced by fake tensors | 2 |", "by a named rule | 2 |"):
        assert line in text
    assert exceptions(GOOD) == [] and "good" not in text
    assert "- `timm:real`: traced by real tensors: fake tensors: it branches" in text
    assert "- `timm:plain`: 99.00% of the elements by a named rule" in text
    assert "- `timm:plain`: 7 elements unreachable, first a.weight" in text
    assert "- `timm:bad`: RuntimeError: no" in text
    assert [whole(row) for row in (GOOD, *OTHERS)] == [True, True, False, False]


def test_the_kept_result_is_of_all_networks_and_names_what_is_not_as_it_should_be() -> None:
    results = Path(__file__).parents[3] / "cards" / "results"
    kept = json.loads((results / "reach.json").read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in (results / "reach.jsonl").read_text(encoding="utf-8").splitlines()]
    for source, found in kept["sources"].items():
        own = [row for row in rows if row["spec"].startswith(f"{source}:")]
        assert len(own) == found["tried"] == found["networks"]
        exceptional = {row["spec"] for row in own if row.get("traced_by") != "fake tensors"}
        assert exceptional <= found["exceptions"].keys()
        assert all(sum(row["by_rule"].values()) == row["elements"] for row in own if row["built"])
    for source in ("timm", "torchvision"):
        found = kept["sources"][source]
        assert found["tried"] == found["built"] == found["traced_by"]["fake tensors"] == found["whole"]
    assert kept["sources"]["transformers"]["traced_by"]["fake tensors"] >= 200
    assert kept["sources"]["diffusers"]["traced_by"]["fake tensors"] >= 25


@pytest.mark.slow
def test_measures_a_network_and_survives_one_that_ends_its_process(tmp_path: Path) -> None:
    ending = tmp_path / "ending.py"
    ending.write_text("import os\n\ndef build():\n    os._exit(7)\n")
    limits = Limits(seconds=300.0, bytes=8 * 10**9)
    assert run(f"{ending}:build", limits)["failure"] == "its process ended with 7"
    row = run("timm:test_vit", limits)
    assert whole(row) and row["traced_by"] == "fake tensors" and not exceptions(row)
    assert sum(row["by_rule"].values()) == sum(row["by_role"].values()) == row["elements"]
