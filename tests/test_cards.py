"""The card and the README quote first light's figures as cards/results has them."""

import json
from pathlib import Path
from typing import Any

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


def test_the_readme_quotes_the_means() -> None:
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    found = result()
    summary = found["summary"]
    assert f"On {len(found['networks'])} networks it has never seen" in readme
    assert f"{percent(summary['zero_shot_hypernet'])} % of CIFAR-10" in readme
    assert f"own start has {percent(summary['zero_shot_library'])} %" in readme


def test_the_readme_quotes_the_benchmark() -> None:
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    row = json.loads((ROOT / "benchmarks" / "results" / "predict.json").read_text(encoding="utf-8"))["rows"][
        "gpt2-large"
    ]
    assert f"{row['written_bytes'] / 1e6:,.0f} MB of weights" in readme
    assert f"takes {row['wall_seconds']:.1f} s and {row['peak_rss_bytes'] / 1e6:.0f} MB of memory" in readme


def test_the_folder_in_the_wheel_carries_the_card() -> None:
    shipped = ROOT / "paramgen" / "pretrained" / "first_light" / "README.md"
    assert shipped.read_bytes() == (ROOT / "cards" / "first-light.md").read_bytes()
