"""The page on sparse networks has the measured figures, and they say what it says of them."""

import json
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_has_the_measured_figures_and_they_say_so() -> None:
    from benchmarks.sparse import KEPT, MORE, RATES, SHARE, SOFT, WAYS, markdown

    found = json.loads((ROOT / "cards" / "results" / "sparse.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "how-to" / "sparse.md").read_text(encoding="utf-8")
    assert markdown(found) in page
    rows = {**found["table"]["accuracy"], **found["share"]["accuracy"], **found["soft"]["accuracy"]}
    ends = {way: [rows[way][str(keep)] for keep in KEPT] for way in (*WAYS, *MORE)}
    few = {way: each[1]["mean"] for way, each in ends.items()}
    assert few["freeze"] >= 0.85 and few["synflow"] >= 0.75
    assert max(few["random"], few["magnitude"], few["snip"]) < 0.6
    assert few[SHARE] >= 0.88 and few[SHARE] > max(few[way] for way in ends if way != SHARE)
    assert ends[SOFT][0]["mean"] >= max(ends[way][0]["mean"] for way in WAYS)  # if only as an average
    assert ends["magnitude"][0]["mean"] < 0.5 < ends["random"][0]["mean"]
    for each in (
        entry for way in ends.values() for entry in way
    ):  # at the edge of the grid only where nothing is learnt
        assert each["lr"] not in (RATES[0], RATES[-1]) or each["mean"] < 0.35
    deep = {way: entry["mean"] for way, entry in found["depth"]["accuracy"].items()}
    assert deep["dense"] > deep["measured"] > max(deep["as it is"], deep["mean field"])
    assert all(len(found[name]["commit"]) == 40 for name in ("table", "share", "soft", "depth"))
