"""What the README, the site and the card say of networks that people name is what was measured."""

import json
import re
from typing import Any

from benchmarks.initialization.table import TIE, markdown
from tests.support.documents import ROOT, WHEN, flowing, percent, result_of

TABLE = json.loads((ROOT / "paramgen" / "initializers" / "measured.json").read_text(encoding="utf-8"))


def real() -> dict[str, Any]:
    return result_of("vision_real")


def test_the_site_and_the_card_quote_what_was_measured_at_the_sizes_that_people_name() -> None:
    page, card = flowing(WHEN), flowing("cards/vision.md")
    (row,) = (each for each in real()["rows"] if each["network"] == "vit_tiny_patch16_224")
    ends = {init: entry["final"] for init, entry in row["initializations"].items()}
    said = {init: percent(end["mean"]) for init, end in ends.items()}
    assert f"{real()['steps']} steps of {real()['batch']} images" in page
    assert (
        f"lead to {said['library']} % from timm's own initialization, to {said['orthogonal']} % from orthogonal" in page
    )
    assert f"to {said['matched:hypernet']} % from timm's own draw at" in page
    assert f"to {said['statistics']} % from `--init statistics`" in page
    assert f"to {said['hypernet']} ± {percent(ends['hypernet']['std'])} % from `hypernet?rest=statistics`" in page
    assert f"{said['hypernet']} % after {real()['steps']} steps" in card and f"at {said['library']} %" in card
    assert f"{said['statistics']} % from `--init statistics`" in card and markdown(real()) in ROOT.joinpath(
        "cards/vision.md"
    ).read_text(encoding="utf-8")
    assert real()["hypernet"]["spec"] == "hypernet?rest=statistics"
    (level,) = (each["initializations"] for each in real()["rows"] if each["network"] == "resnet18")
    own, learned = (level[init]["final"]["mean"] for init in ("library", "hypernet"))
    assert abs(learned - own) < TIE and f"{percent(own)} % from its own initialization, {percent(learned)} %" in page


def test_what_is_said_of_other_networks_that_people_name_was_measured() -> None:
    page, card = flowing(WHEN), flowing("cards/vision.md")
    ends = {row["network"]: {i: e["final"] for i, e in row["initializations"].items()} for row in real()["rows"]}
    said = {network: {init: percent(end["mean"]) for init, end in each.items()} for network, each in ends.items()}
    small, mobile = said["efficientnet_b0"], said["mobilenet_v3_large"]
    for init, words in {
        "library": "from their own initialization to",
        "matched:hypernet": "from their own draw at the hypernet's norms to",
        "statistics": "from `statistics` to",
        "shuffled:hypernet": "from the hypernet's values in random places to",
    }.items():
        assert f"{words} {small[init]} % and {mobile[init]} %" in page
    spreads = [percent(ends[name]["hypernet"]["std"]) for name in ("efficientnet_b0", "mobilenet_v3_large")]
    assert f"to {small['hypernet']} ± {spreads[0]} % and {mobile['hypernet']} ± {spreads[1]} %" in page
    assert (
        f"at {small['hypernet']} % after 120 steps, from its library's own initialization at {small['library']} %"
        in card
    )
    assert f"at {mobile['hypernet']} %, from its library's at {mobile['library']} %" in card
    corner = {row["network"]: row["initializations"]["hypernet"]["final"] for row in result_of("vision_corner")["rows"]}
    plain = {name: f"{percent(end['mean'])} ± {percent(end['std'])} %" for name, end in corner.items()}
    assert f"`hypernet` ends at {plain['efficientnet_b0']} and {plain['mobilenet_v3_large']}" in page
    fourth = {
        init: f"{percent(end['mean'])} ± {percent(end['std'])} %"
        for init, end in ends["mobilenetv4_conv_small"].items()
    }
    own, with_rest = fourth["library"], fourth["hypernet"]
    assert f"{own} from its own initialization, {with_rest} and {plain['mobilenetv4_conv_small']} from the two" in page
    level = said["convnext_tiny"]
    assert f"{level['library']} % and {level['hypernet']} %" in page
    narrow, stages = said["convnext_atto"], said["regnet_y_800mf"]
    assert (
        f"{narrow['library']} % from its own initialization, {narrow['orthogonal']} % from orthogonal weights, "
        f"{narrow['matched:hypernet']} % from its own draw at the hypernet's norms, "
        f"{narrow['shuffled:hypernet']} % from the hypernet's values in random places"
    ) in page
    assert f"{narrow['hypernet']} ± {percent(ends['convnext_atto']['hypernet']['std'])} % from" in page
    assert f"at {narrow['hypernet']} %, from its library's at {narrow['library']} %" in card
    own, worse = (percent(ends["regnet_y_800mf"][init]["std"]) for init in ("library", "hypernet"))
    assert (
        f"{stages['library']} ± {own} % from its own initialization, {stages['orthogonal']} % from orthogonal weights, "
        f"{stages['statistics']} % from `statistics` and {stages['hypernet']} ± {worse} % from"
    ) in page
    assert f"at {stages['hypernet']} %, below its library's {stages['library']} %" in card
    deep = [
        f"{said['resnet50'][i]} ± {percent(ends['resnet50'][i]['std'])} %"
        for i in ("library", "statistics", "hypernet")
    ]
    assert f"ends at {deep[0]} from its own initialization, at {deep[1]} from `statistics` and at {deep[2]}" in page


def test_the_readme_has_the_networks_that_people_name() -> None:
    largest = result_of("vision_largest")
    rows = {}
    for row in (*real()["rows"], *largest["rows"]):
        ends = {init: percent(entry["final"]["mean"]) for init, entry in row["initializations"].items()}
        own, learned = row["best_simple"], ends["hypernet"]
        lead = row["initializations"]["hypernet"]["final"]["mean"] - row["initializations"][own]["final"]["mean"]
        kept = auto_keeps(row["network"])
        assert kept or lead > -2 * TIE  # what auto takes is not behind by a point
        rows[row["network"]] = (
            f"| {row['parameters'] / 1e6:.1f} M | {ends['library']} | {ends[own]} | "
            + (f"**{learned}**" if lead > 2 * TIE and not kept else learned)
            + " |"
        )
    table = (ROOT / "README.md").read_text(encoding="utf-8")
    for network, line in rows.items():
        assert f"`{network}` {line}" in table, network
    listed = re.findall(r"^\| \w+ `(\w+)`", table, re.MULTILINE)
    assert [network for network in listed if auto_keeps(network)] == listed[
        -3:
    ] and "leaves the last three networks above as they are" in flowing("README.md")
    assert f"after {real()['steps']} steps of {real()['batch']} images ({largest['steps']} for `vit_b_16`)" in flowing(
        "README.md"
    )


def auto_keeps(network: str) -> bool:
    """Whether `auto` leaves a network its default initialization, as the table says that was measured on it."""
    sizes = [size for family in TABLE["families"].values() for size in family if network in size["networks"]]
    return [size["initializers"][0]["init"] for size in sizes] == ["library"]


def test_the_site_and_the_card_quote_the_largest_network() -> None:
    page, card = flowing(WHEN), flowing("cards/vision.md")
    largest = result_of("vision_largest")
    (row,) = largest["rows"]
    assert row["network"] == "vit_b_16" and largest["hypernet"]["spec"] == "hypernet?rest=statistics"
    ends = {init: entry["final"] for init, entry in row["initializations"].items()}
    said = {init: percent(end["mean"]) for init, end in ends.items()}
    assert f"{largest['steps']} steps of {largest['batch']} images lead to {said['library']} % from its own" in page
    assert f"to {said['matched:hypernet']} % from its own draw at the hypernet's norms" in page
    assert f"to {said['statistics']} % from `statistics`" in page and f"({largest['seeds']} seeds)" in page
    assert f"to {said['hypernet']} ± {percent(ends['hypernet']['std'])} % from `hypernet?rest=statistics`" in page
    assert f"at {said['hypernet']} % after {largest['steps']} steps, from its library's at {said['library']} %" in card


def test_the_site_quotes_the_trials_of_what_auto_takes() -> None:
    page, result = flowing(WHEN), result_of("auto_trials")
    assert {row["auto"] for row in result["rows"]} == {"hypernet"} and result["protocol"]["seeds"] == 2
    for row in result["rows"]:
        own, learned = (percent(row["initializations"][init]["final"]["mean"]) for init in ("library", "auto"))
        assert f"`{row['network'].partition(':')[2]}` {own} and {learned} %" in page
    names = ("residual_cnn", "depthwise_cnn")
    chosen = {name: TABLE["families"][name][1]["initializers"][0]["init"] for name in names}
    assert chosen == {"residual_cnn": "library", "depthwise_cnn": "hypernet"}
