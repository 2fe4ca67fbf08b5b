"""What the page on where it helps says of costs is what was measured."""

import json

import pytest

from tests.support.documents import ROOT, WHEN, flowing, percent, result_of

TABLE = json.loads((ROOT / "paramgen" / "initializers" / "measured.json").read_text(encoding="utf-8"))


def steps_of_making(results: tuple[str, ...]) -> float:
    """The most that the hypernet's weights take longer than the library's draw, in steps of training."""
    found = []
    for result in map(result_of, results):
        for row in result["rows"]:
            library, hypernet = (row["initializations"][init] for init in ("library", "hypernet"))
            more = hypernet["init_seconds"]["mean"] - library["init_seconds"]["mean"]
            found.append(more * result["steps"] / library["seconds"]["mean"])
    return max(found)


@pytest.mark.parametrize(
    ("results", "said"),
    [
        (("vision",), "at most {:.1f} of a step more than the library's own draw in the tables of small image"),
        (("vision_real", "vision_largest", "text_real"), "at most {:.1f} in those of networks that people name"),
    ],
)
def test_weights_take_less_than_a_step(results: tuple[str, ...], said: str) -> None:
    steps = steps_of_making(results)
    assert steps < 1 and said.format(steps) in flowing(WHEN)


def test_the_page_quotes_the_plain_mlps() -> None:
    page, result = flowing(WHEN), result_of("vision_mlp")
    ends = {
        (row["network"], row["data"]): [
            percent(row["initializations"][init]["final"]["mean"]) for init in ("library", "orthogonal", "statistics")
        ]
        for row in result["rows"]
    }
    hands, cifar, letters = (ends["own-mlp-8", data] for data in ("hand_digits", "cifar10", "omniglot"))
    assert (
        f"at {hands[0]} % on the hands from torch's initialization, at {hands[1]} % from orthogonal weights and at "
        f"{hands[2]} % from `statistics`; on CIFAR-10 at {cifar[0]}, {cifar[1]} and {cifar[2]} %; on drawn letters "
        f"(Omniglot) at {letters[0]}, {letters[1]} and {letters[2]} %"
    ) in page
    assert TABLE["families"]["mlp"][0]["initializers"][0]["init"] == "statistics"


def test_the_page_quotes_the_drawn_letters() -> None:
    rows = [row for row in result_of("vision_letters")["rows"] if row["family"] != "mlp"]
    ends = [{init: entry["final"]["mean"] for init, entry in row["initializations"].items()} for row in rows]
    own, library = (sum(end[init] for end in ends) / len(ends) for init in ("hypernet", "library"))
    best = sum(end[row["best_simple"]] for end, row in zip(ends, rows, strict=True)) / len(ends)
    page = flowing(WHEN)
    assert f"one network of each of {len(rows)} families was trained" in page
    assert f"reach {percent(own)} % from the hypernet, from the default initialization {percent(library)} %" in page
    assert f"{percent(own - best)} points above the best simple initialization of each" in page
    assert all(end["hypernet"] == max(end.values()) for end in ends) and "it is ahead on all of them" in page
