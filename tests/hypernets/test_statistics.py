"""A table of standard deviations is read with limits, and gives a value at any depth."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from paramgen.errors import HypernetError
from paramgen.graphs.analysis.weight_roles import WEIGHT_ROLES
from paramgen.hypernets.statistics import StatisticsTable, read_table
from paramgen.storage.pretrained import pretrained_folder

TABLE = StatisticsTable(std={"query": (1.0, 2.0, 4.0), "stem": (0.5,)}, sources={"supernet": "own"})


@pytest.mark.parametrize(("depth", "std"), [(0.0, 1.0), (0.25, 1.5), (0.5, 2.0), (0.75, 3.0), (1.0, 4.0)])
def test_between_two_steps_it_is_interpolated(depth: float, std: float) -> None:
    assert TABLE.at("query", depth) == pytest.approx(std)
    assert TABLE.at("stem", depth) == 0.5 and TABLE.at("head", depth) is None


def test_a_table_is_what_was_written(tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text(json.dumps(TABLE.to_json()))
    assert read_table(tmp_path / "table.json") == TABLE


def test_the_one_that_ships_says_where_it_comes_from() -> None:
    shipped = read_table(pretrained_folder("statistics") / "table.json")
    assert shipped.sources["supernet"] == "paramgen/vision" and shipped.sources["datasets"]
    assert set(shipped.std) == set(WEIGHT_ROLES)
    assert all(0.05 < knot < 2 for knots in shipped.std.values() for knot in knots)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"kind": "supernet"}, "is no table of statistics"),
        ({"format_version": 2}, "is no table of statistics"),
        ({"more": 1}, "it has ['format_version', 'kind', 'more', 'sources', 'std']"),
        ({"std": [1.0]}, "std must be an object"),
        ({"sources": {"from": {"deep": 1}}}, "sources one of short texts"),
        ({"sources": {"license": "x" * 201}}, "sources one of short texts"),
        ({"sources": {str(number): "x" for number in range(21)}}, "sources one of short texts"),
        ({"std": {"nose": [1.0]}}, "has the role 'nose'. Allowed: stem, query,"),
        ({"std": {"stem": []}}, "stem is []"),
        ({"std": {"stem": [1.0] * 101}}, "Allowed: 1 to 100 numbers from 0 to 100"),
        ({"std": {"stem": [-1.0]}}, "stem is [-1.0]"),
        ({"std": {"stem": [float("nan")]}}, "stem is [nan]"),
        ({"std": {"stem": [float("inf")]}}, "stem is [inf]"),
        ({"std": {"stem": [True]}}, "stem is [True]"),
        ({"std": {"stem": 1.0}}, "stem is 1.0"),
    ],
)
def test_a_hostile_table_is_refused_in_a_line(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    file = tmp_path / "table.json"
    file.write_text(json.dumps(TABLE.to_json() | changed))
    with pytest.raises(HypernetError, match=re.escape(said)) as refusal:
        read_table(file)
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 600


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "table.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(HypernetError, match="allowed are 1,000,000"):
        read_table(tmp_path / "table.json")
