"""The table of starts of language models: who won, by how much, and after how many steps."""

from math import log
from typing import Any

from benchmarks.text_starts import NETWORKS, markdown, row_of, summary_of
from training.spaces.text import DEPTHS, WIDTHS


def start(init: str, perplexity: float, reached: float | None) -> dict[str, Any]:
    spread = {"mean": log(perplexity), "std": 0.0, "values": [log(perplexity)]}
    curve = {"mean": [log(256), log(perplexity)]}
    more = {"rates": {}, "zero_shot": spread, "steps": [0, 300], "curve": curve, "seconds": spread}
    return {"init": init, "rate": 1e-3, "final": spread, "steps_to_best_simple": {"mean_curve": reached}, **more}


def row(hypernet: float, reached: float | None) -> dict[str, Any]:
    starts = [start("library", 10.0, None), start("mimetic", 8.0, 300.0), start("hypernet", hypernet, reached)]
    architecture = {"name": NETWORKS["llama-80"], "parameters": 7, "best_simple": "mimetic", "starts": starts}
    return row_of("novel", architecture)


def test_a_row_compares_with_the_best_simple_start() -> None:
    found = row(6.0, 30.0)
    assert (found["network"], found["best_simple"], found["ratio"]) == ("llama-80", "mimetic", 0.75)
    assert found["perplexity"] == {"library": 10.0, "mimetic": 8.0, "hypernet": 6.0}


def test_a_summary_counts_wins_ties_and_steps() -> None:
    rows = [row(6.0, 30.0), row(8.02, None), row(9.0, None)]
    assert summary_of(rows) == {
        "rows": 3,
        "wins": 0.3333,
        "wins_or_ties": 0.6667,
        "median_ratio": 1.0025,
        "reached": 0.3333,
        "median_steps": None,
    }
    shown = markdown({"summary": summary_of(rows), "rows": rows})
    assert "| `llama-80` | 7 | 10.00 | 6.00 | 8.00 | -25.0% |" in shown


def test_some_networks_are_wider_and_deeper_than_any_in_training() -> None:
    widest, deepest = max(WIDTHS["wide"]), max(DEPTHS["wide"])
    assert f"n_embd={widest + 32}&n_layer={deepest + 1}" in NETWORKS["gpt2-192"]
    assert f"hidden_size={widest + 32}&num_hidden_layers={deepest + 1}" in NETWORKS["llama-192"]
