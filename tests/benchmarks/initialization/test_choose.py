"""From measured initializations to the table that `--init auto` reads."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.initialization.choose import main
from paramgen.errors import ParamgenError
from paramgen.initializers.auto import Table

LIBRARY = [0.40, 0.41, 0.42]


def row(finals: Mapping[str, Sequence[float | None]], *, data: str = "CIFAR-10", **more: str) -> dict[str, Any]:
    measured = {init: {"final": {"values": values}} for init, values in finals.items()}
    return {"network": "mine", "family": "convnext", "parameters": 7, "data": data, "initializations": measured, **more}


def choose(tmp_path: Path, *rows: dict[str, Any], **more: Any) -> dict[str, float | None]:
    """Return what was chosen for ConvNeXts."""
    result = tmp_path / "result.json"
    result.write_text(json.dumps({"rows": rows, "steps": 500, "seeds": 3, **more}))
    main([result], tmp_path / "measured.json")
    table = Table.parse((tmp_path / "measured.json").read_text())
    assert table.results == ("result.json",) and table.families["mlp"][0].scores == {"library": None}
    return dict(table.families["convnext"][0].scores)


def test_the_best_mean_over_the_familys_rows_comes_first(tmp_path: Path) -> None:
    found = choose(
        tmp_path,
        row({"library": LIBRARY, "he": [0.50, 0.51, 0.52], "mimetic": [0.60, 0.61, 0.62]}),
        row({"library": LIBRARY, "he": [0.60, 0.61, 0.62], "mimetic": [0.42, 0.43, 0.44]}, data="Tiny ImageNet"),
    )
    assert found == {"he": 0.56, "mimetic": 0.52, "library": 0.41} and list(found)[0] == "he"


@pytest.mark.parametrize(
    "values",
    [
        [0.41, 0.42, 0.43],  # below the significance threshold
        [0.30, 0.31, 0.32],
        [0.9, 0.9, None],  # a run that broke
        [0.9, 0.9, float("nan")],
        [0.9],  # one seed
    ],
)
def test_what_is_not_clearly_better_is_no_default(tmp_path: Path, values: list[float | None]) -> None:
    assert choose(tmp_path, row({"library": LIBRARY, "he": values})) == {"library": 0.41}


def test_what_is_clearly_worse_on_one_row_is_no_default(tmp_path: Path) -> None:
    good, bad = {"library": LIBRARY, "he": [0.8, 0.81, 0.82]}, {"library": LIBRARY, "he": [0.30, 0.31, 0.32]}
    assert choose(tmp_path, row(good), row(bad, data="Tiny ImageNet")) == {"library": 0.41}


def test_what_was_not_measured_everywhere_or_does_not_come_with_paramgen_is_no_default(tmp_path: Path) -> None:
    high = [0.8, 0.81, 0.82]
    found = choose(
        tmp_path, row({"library": LIBRARY, "he": high, "hypernet:runs/x": high}), row({"library": LIBRARY}, data="y")
    )
    assert found == {"library": 0.41}


def test_only_the_hypernet_that_ships_can_be_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.initialization.choose.shipped", lambda name: "ours")
    one = row({"library": LIBRARY, "hypernet": [0.8, 0.81, 0.82]})
    assert choose(tmp_path, one, hypernet={"sha256": "another"}) == {"library": 0.41}
    assert choose(tmp_path, one, hypernet={"sha256": "ours"}) == {"hypernet": 0.81, "library": 0.41}
    assert Table.parse((tmp_path / "measured.json").read_text()).hypernets == {"vision": "ours"}


def test_results_of_one_network_with_other_options_of_the_hypernet_are_one_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.initialization.choose.shipped", lambda name: "ours")
    monkeypatch.setattr("benchmarks.initialization.choose._family", lambda network, said: said)
    files: list[Path] = []
    for spec, values in (("hypernet?rest=statistics", [0.2, 0.21, 0.22]), ("hypernet", [0.8, 0.81, 0.82])):
        known = row({"library": LIBRARY, "hypernet": values})
        files.append(tmp_path / f"{len(files)}.json")
        hypernet = {"spec": spec, "sha256": "ours"}
        files[-1].write_text(json.dumps({"rows": [known], "steps": 500, "seeds": 3, "hypernet": hypernet}))
    main(files, tmp_path / "measured.json")
    table = Table.parse((tmp_path / "measured.json").read_text())
    assert dict(table.families["convnext"][0].scores) == {"hypernet": 0.81, "library": 0.41}
    assert table.families["convnext"][0].networks == ("mine",)


def test_a_learned_one_must_be_clearly_better_than_every_simple_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.initialization.choose.shipped", lambda name: "ours")
    learned, simple = [0.80, 0.81, 0.82], [0.79, 0.81, 0.82]
    close = row({"library": LIBRARY, "hypernet": learned, "matched:hypernet": simple})
    assert list(choose(tmp_path, close, hypernet={"sha256": "ours"})) == ["matched:hypernet", "library"]
    rule = row({"library": LIBRARY, "he": simple, "matched:hypernet": learned})
    assert list(choose(tmp_path, rule, hypernet={"sha256": "ours"})) == ["he", "library"]
    clear = row({"library": LIBRARY, "hypernet": learned, "matched:hypernet": [0.60, 0.61, 0.62]})
    assert list(choose(tmp_path, clear, hypernet={"sha256": "ours"})) == ["hypernet", "matched:hypernet", "library"]


def test_networks_of_another_size_and_protocol_are_an_entry_of_their_own(tmp_path: Path) -> None:
    small, large = tmp_path / "small.json", tmp_path / "large.json"
    he, orthogonal = (
        {"library": LIBRARY, "he": [0.5, 0.51, 0.52]},
        {"library": LIBRARY, "orthogonal": [0.5, 0.51, 0.52]},
    )
    large.write_text(json.dumps({"rows": [row(orthogonal) | {"parameters": 900}], "steps": 80, "seeds": 3}))
    small.write_text(json.dumps({"rows": [row(he)], "steps": 300, "seeds": 3}))
    main([large, small], tmp_path / "measured.json")
    found = Table.parse((tmp_path / "measured.json").read_text()).families["convnext"]
    assert [list(each.scores)[0] for each in found] == ["he", "orthogonal"]
    assert [(each.smallest, each.largest, each.steps) for each in found] == [(0, 7, 300), (900, 900, 80)]


def test_the_options_that_a_hypernet_was_measured_with_are_chosen_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.initialization.choose.shipped", lambda name: "ours")
    one = row({"library": LIBRARY, "hypernet": [0.8, 0.81, 0.82], "he": [0.3, 0.31, 0.32]})
    spec = {"spec": "hypernet?rest=statistics", "sha256": "ours"}
    assert list(choose(tmp_path, one, hypernet=spec)) == ["hypernet?rest=statistics", "library"]
    assert Table.parse((tmp_path / "measured.json").read_text()).hypernets == {"vision": "ours"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"rows": [row({"he": [0.5, 0.5]})], "steps": 1, "seeds": 2}, "lacks the initialization library"),
        ({"rows": [row({"library": LIBRARY}, family="bees")], "steps": 1, "seeds": 2}, "of the family 'bees'. Known:"),
        ({"rows": [row({"library": LIBRARY, "bee": [0.8, 0.8, 0.81]})], "steps": 1, "seeds": 2}, "'bee'"),
        ({"rows": [{}]}, "no result of benchmarks.initialization.vision"),
        ([], "no result of benchmarks.initialization.vision"),
    ],
)
def test_what_cannot_be_used_is_refused_and_nothing_is_written(tmp_path: Path, content: Any, said: str) -> None:
    result = tmp_path / "result.json"
    result.write_text(json.dumps(content))
    with pytest.raises(ParamgenError) as refusal:
        main([result], tmp_path / "measured.json")
    assert said in str(refusal.value) and not (tmp_path / "measured.json").exists()
