"""The table of initializations of language models: who won, by how much, and after how many steps."""

from math import log

from benchmarks.initialization.rows import Entry, Row
from benchmarks.initialization.text import NETWORKS, json_of, markdown, row_of, summary_of
from paramgen.comparison.results import Curve
from training.spaces.text import DEPTHS, WIDTHS


def entry(*perplexities: float) -> Entry:
    curve = Curve.of([[log(each) for each in perplexities]])
    return Entry(parameters=7, lr=1e-3, steps=(0, 30, 300), curve=curve)


def row(hypernet: float, reached: bool) -> Row:
    entries = {
        "library": entry(256.0, 20.0, 10.0),
        "mimetic": entry(256.0, 20.0, 8.0),
        "hypernet": entry(20.0, 8.0 if reached else 10.0, hypernet),
    }
    return row_of("novel", "llama-80", entries)


def test_a_row_compares_with_the_best_simple_initialization() -> None:
    found = json_of(row(6.0, True))
    assert (found["network"], found["best_simple"], found["ratio"]) == ("llama-80", "mimetic", 0.75)
    assert found["perplexity"] == {"library": 10.0, "mimetic": 8.0, "hypernet": 6.0}


def test_a_summary_counts_wins_ties_and_steps() -> None:
    rows = [row(6.0, True), row(8.02, False), row(9.0, False)]
    assert summary_of(rows) == {
        "rows": 3,
        "wins": 0.3333,
        "wins_or_ties": 0.6667,
        "median_ratio": 1.0025,
        "reached": 0.3333,
        "median_steps": None,
        "median_ratio_by_domain": {"trained on": 1.0025},
    }
    shown = markdown({"summary": summary_of(rows), "rows": [json_of(each) for each in rows]})
    assert "| `llama-80` | 7 | 10.00 | 6.00 | 8.00 | -25.0% |" in shown


def test_some_networks_are_wider_and_deeper_than_any_in_training() -> None:
    widest, deepest = max(WIDTHS["wide"]), max(DEPTHS["wide"])
    assert f"n_embd={widest + 32}&n_layer={deepest + 1}" in NETWORKS["gpt2-192"]
    assert f"hidden_size={widest + 32}&num_hidden_layers={deepest + 1}" in NETWORKS["llama-192"]
