"""The cards and the README quote the figures of what ships as cards/results has them."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from benchmarks.starts_table import markdown

ROOT = Path(__file__).parents[1]


def result() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "cards" / "results" / "first_light.json").read_text(encoding="utf-8"))
    return found


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def test_the_card_has_a_row_for_every_network() -> None:
    card = (ROOT / "cards" / "first-light.md").read_text(encoding="utf-8")
    for row in result()["networks"]:
        hypernet = row["zero_shot"]["hypernet"]
        expected = (
            f"| {row['network']} | {row['parameters']:,} | {percent(row['zero_shot']['library']['mean'])} | "
            f"{percent(hypernet['mean'])} ± {percent(hypernet['std'])} |"
        )
        assert expected in card


def starts(name: str = "vision_starts") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "cards" / "results" / f"{name}.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("name", ["vision_starts", "vision_transfer"])
def test_the_vision_card_has_the_whole_table_of_what_ships(name: str) -> None:
    assert markdown(starts(name)) in (ROOT / "cards" / "vision.md").read_text(encoding="utf-8")
    weights = ROOT / "paramgen" / "pretrained" / "vision" / "model.safetensors"
    assert starts(name)["hypernet"]["sha256"] == sha256(weights.read_bytes()).hexdigest()


def test_the_readme_quotes_the_table() -> None:
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    found = starts()
    summary = found["summary"]
    assert f"On {summary['rows']} networks that no training has seen" in readme
    assert f"{percent(summary['final']['hypernet'])} % of CIFAR-10" in readme
    assert f"the library's own start {percent(summary['final']['library'])} %" in readme
    assert f"{100 * summary['mean_lead']:.1f} points above the best simple start of each network" in readme
    assert f"wins or ties on {100 * summary['wins_or_ties']:.0f} % of them" in readme
    assert f"{summary['median_steps_ratio']:.1f} times fewer steps (median)" in readme


def test_the_readme_quotes_the_benchmark() -> None:
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    row = json.loads((ROOT / "benchmarks" / "results" / "predict.json").read_text(encoding="utf-8"))["rows"][
        "gpt2-large"
    ]
    assert f"{row['written_bytes'] / 1e6:,.0f} MB of weights" in readme
    assert f"takes {row['wall_seconds']:.1f} s and {row['peak_rss_bytes'] / 1e6:.0f} MB of memory" in readme


@pytest.mark.parametrize(("folder", "card"), [("first_light", "first-light"), ("vision", "vision")])
def test_the_folder_in_the_wheel_carries_the_card(folder: str, card: str) -> None:
    shipped = ROOT / "paramgen" / "pretrained" / folder / "README.md"
    assert shipped.read_bytes() == (ROOT / "cards" / f"{card}.md").read_bytes()
