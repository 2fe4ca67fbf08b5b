"""The site's figures on published hypernets, reach and cost are those in cards/results."""

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def result(name: str) -> Any:
    return json.loads((ROOT / "cards" / "results" / f"{name}.json").read_text(encoding="utf-8"))


def published() -> list[str]:
    totals = result("published_parity")["totals"]
    speed = result("parity_speed")
    graph, predict = (sum(row[f"{what}_cpu_s"] for row in speed["networks"]) for what in ("graph", "predict"))
    largest = max(speed["networks"], key=lambda row: row["peak_mib"])
    return [
        f"of {totals['networks']} networks, {totals['equal_graphs']} have the same",
        f"of the {totals['tensors']:,} tensors",
        f"the worst differs by {totals['worst']:.1e}",
        f"the graphs takes {graph:.1f} s and predicting them {predict:.1f} s",
        f"at most {largest['peak_mib']:,} MiB are in use, for {largest['network']}",
        f"to the power {speed['exponents']['graph_cpu_s']}, that",
        f"to the power {speed['exponents']['predict_cpu_s']}.",
    ]


STARTUP = ("--help", "list initializers", "predict --arch vit_b17", "predict --arch vit_b16")
"""Commands whose CPU seconds the site names."""


def cost() -> list[str]:
    ratios = result("startup")["ratios"]
    return [f"{ratios[f'paramgen {what}']:.2f} for `paramgen {what}`" for what in STARTUP]


def reach() -> list[str]:
    sources = result("reach")["sources"]
    classes, traced = sources["transformers"]["networks"], sources["transformers"]["traced_by"]["fake tensors"]
    timm, torchvision = (sources[name]["networks"] for name in ("timm", "torchvision"))
    return [
        f"All {timm:,} networks of timm and all {torchvision} of torchvision",
        f"{traced:,} of {classes:,} model classes",
        f"{sources['diffusers']['traced_by']['fake tensors']} of {sources['diffusers']['networks']} of diffusers",
    ]


def mixed() -> list[str]:
    found = result("serve_mixed")
    small, alone = found["small"], found["alone"]
    return [
        f"on one shared core for {found['minutes']:.0f} minutes",
        f"of {small['requests']:,} small predictions none failed",
        f"at most {small['p99_ms'] / 1000:.1f} s where a lone client waited up to "
        f"{max(each['p99_ms'] for each in alone.values()) / 1000:.1f} s",
    ]


def prepared() -> list[str]:
    found = {name: each["figures"] for name, each in result("preparation").items()}
    masked, guided, rich = found["supermask"], found["guide_digits"]["test accuracy"], found["bonsai"]["test accuracy"]

    def said(figure: dict[str, Any]) -> str:
        return f"{figure['mean']} ± {figure['std']} %"

    return [
        f"{said(masked['supermask'])} after {masked['steps']} steps",
        f"reaches {said(masked['dense'])}",
        f"{said(guided['guided'])} after 300 guided steps",
        f"{said(guided['plain'])} without",
        f"V-REx reaches {said(rich['V-REx from bonsai'])} from it and {said(rich['V-REx from library'])}",
        f"ends at {said(rich['ERM from bonsai'])}",
        *_tickets(),
    ]


def _tickets() -> list[str]:
    found = result("preparation")["tickets"]["figures"]
    ways = {way: f"{each['mean']} ± {each['std']} %" for way, each in found["test accuracy"].items()}
    assert found["kept"]["tickets"] == found["kept"]["magnitude"] and found["keep"] == 0.2
    return [
        f"in {found['rounds']} rounds of {found['round_steps']} steps; trained from there for {found['steps']} steps",
        f"{ways['tickets']}, where the largest initial weights are at {ways['magnitude']}",
        f"and all of them at {ways['dense']}",
        f"with other initial values are at {ways['tickets, drawn anew']}",
    ]


def fields() -> list[str]:
    found = result("fields")["bytes"]["figures"]["psnr"]["astronaut"]
    return [
        f"| {int(size):,} | {each['field']['mean']} dB | {each['smaller network']['mean']} dB |"
        for size, each in found.items()
    ]


QUOTED = {
    "docs/how-to/fields.md": fields(),
    "docs/how-to/prepare.md": prepared(),
    "docs/how-to/serve.md": mixed(),
    "docs/how-to/published.md": published(),
    "docs/how-to/predict.md": cost(),
    "docs/reference/architectures.md": reach(),
}


@pytest.mark.parametrize(("page", "phrase"), [(page, phrase) for page, each in QUOTED.items() for phrase in each])
def test_the_site_quotes_the_results(page: str, phrase: str) -> None:
    assert phrase in " ".join((ROOT / page).read_text(encoding="utf-8").split())


def test_parity_was_found_for_every_network() -> None:
    for row in result("published_parity")["networks"]:
        assert all(row[key] for key in ("kinds", "names", "edges", "virtual_edges", "same_tensors", "same_shapes")), row
        assert max(row["norm"], row["values"], row["full"] or 0.0) <= 1e-5, row


def test_nobody_honest_suffered_beside_hostile_callers_and_nothing_grew() -> None:
    found = result("serve_mixed")
    assert not found["failed"] and found["compared"] and sum(found["statuses"]["hostile"].values()) >= 100
    assert found["small"]["p99_ms"] <= found["small"]["allowed_p99_ms"]
    assert found["rss_growth_mib"] < 1 and found["descriptors_growth"] < 1
