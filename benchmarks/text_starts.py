"""Which start trains language models best, on text and shapes that no training has seen.

`python -m benchmarks.text_starts --data NAME=PATH` trains GPT-2s and Llamas of several shapes, some wider and deeper
than any in training, on the bytes of each text, from every start at its own best rate of a grid.
Each text is a file, whose last tenth is tested on. Perplexities are per byte. Runs are kept under `--out`: the same
command goes on where the last one ended, and what one call has ended of a text is in the result.

    OMP_NUM_THREADS=1 python -m benchmarks.text_starts --data wikitext2=wikitext2-test.txt --data novel=novel.txt
    python -m benchmarks.text_starts --render cards/results/text_starts.json
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from math import exp, inf, isfinite
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.provenance import provenance
from benchmarks.starts_table import JUDGED
from paramgen.comparison import Event, Protocol, compare
from paramgen.errors import OptionError, ParamgenError
from paramgen.export.folder import write_text
from paramgen.initializers import initializer_of

RESULT: Final = Path(__file__).parents[1] / "cards" / "results" / "text_starts.json"
SHIPPED: Final = "hypernet:text"
STARTS: Final = ("library", JUDGED, "orthogonal", "mimetic", "scaled")
PROTOCOL: Final = {
    "steps": 300,
    "seeds": 3,
    "rates": (1e-3, 3e-3, 1e-2),
    "batch": 8,
    "evaluations": 6,
    "test_examples": 200,
    "length": 64,
}
TIE: Final = 0.005  # perplexities within so much of each other, relatively, are level
_LLAMA: Final = "transformers:LlamaForCausalLM?max_position_embeddings=64&"
_GPT2: Final = "transformers:GPT2LMHeadModel?n_positions=64&"
NETWORKS: Final[Mapping[str, str]] = {
    "gpt2-48": _GPT2 + "n_embd=48&n_layer=5&n_head=3",
    "gpt2-112": _GPT2 + "n_embd=112&n_layer=3&n_head=4",
    "llama-80": _LLAMA + "hidden_size=80&num_hidden_layers=4&num_attention_heads=5&num_key_value_heads=5"
    "&intermediate_size=216",
    "llama-144": _LLAMA + "hidden_size=144&num_hidden_layers=3&num_attention_heads=4&num_key_value_heads=2"
    "&intermediate_size=384&tie_word_embeddings=true",
    "gpt2-192": _GPT2 + "n_embd=192&n_layer=7&n_head=6",
    "llama-192": _LLAMA + "hidden_size=192&num_hidden_layers=7&num_attention_heads=6&num_key_value_heads=3"
    "&intermediate_size=512",
}
BEYOND: Final = ("gpt2-192", "llama-192")
"""Wider and deeper than any design of the recipe."""


def row_of(data: str, architecture: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the table keeps of one network on one text: the losses of every start, and who won.

    Args:
        data: The text's name.
        architecture: One of `Results.values["architectures"]`.

    """
    name = next(name for name, spec in NETWORKS.items() if spec == architecture["name"])
    kept = ("rate", "rates", "final", "zero_shot", "steps", "curve", "seconds")
    starts = {each["init"]: {key: each[key] for key in kept} for each in architecture["starts"] if each["rate"]}
    simple = architecture["best_simple"]
    reached = next(each["steps_to_best_simple"] for each in architecture["starts"] if each["init"] == JUDGED)
    return {
        "data": data,
        "network": name,
        "family": "text_transformer",
        "made_by": architecture["name"],
        "beyond": name in BEYOND,
        "parameters": architecture["parameters"],
        "best_simple": simple,
        "perplexity": {init: round(exp(_loss(start)), 4) for init, start in starts.items()},
        "ratio": round(exp(_loss(starts[JUDGED]) - _loss(starts[simple])), 4),
        "steps_to_best_simple": reached["mean_curve"],
        "starts": starts,
    }


def summary_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the shares over all rows: wins, ties, the median ratio of perplexities, and steps."""
    if not rows:
        return {}
    ratios = [row["ratio"] for row in rows]
    steps = [row["steps_to_best_simple"] for row in rows]
    middle = median(inf if step is None else step for step in steps)
    return {
        "rows": len(rows),
        "wins": round(sum(ratio < 1 - TIE for ratio in ratios) / len(rows), 4),
        "wins_or_ties": round(sum(ratio <= 1 + TIE for ratio in ratios) / len(rows), 4),
        "median_ratio": round(median(ratios), 4),
        "reached": round(sum(step is not None for step in steps) / len(rows), 4),
        "median_steps": round(middle, 1) if isfinite(middle) else None,
    }


def markdown(result: Mapping[str, Any]) -> str:
    """Return the table of each text, and the summary."""
    found = result["summary"]
    lines = [
        f"{found['rows']} rows: lower perplexity than the best simple start on {found['wins']:.0%}; in the median "
        f"{1 - found['median_ratio']:.0%} lower, and as low as that start ends after {found['median_steps']} steps."
    ]
    inits = [init for init in STARTS if init in result["rows"][0]["perplexity"]]
    for data in dict.fromkeys(row["data"] for row in result["rows"]):
        lines += ["", f"## {data}", "", f"| network | parameters | {' | '.join(inits)} | against the best simple |"]
        lines.append("|---|--:|" + "--:|" * (len(inits) + 1))
        for row in result["rows"]:
            if row["data"] == data:
                values = " | ".join(f"{row['perplexity'][init]:.2f}" for init in inits)
                size = f"`{row['network']}`{' (beyond training)' if row['beyond'] else ''} | {row['parameters']:,}"
                lines.append(f"| {size} | {values} | {row['ratio'] - 1:+.1%} |")
    return "\n".join(lines)


def main() -> None:
    """Render a result, or run and write it after every network."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", action="append", default=[], metavar="NAME=PATH", help="a text file")
    parser.add_argument("--out", type=Path, default=Path("runs/text_starts"), help="where runs are kept")
    parser.add_argument("--result", type=Path, default=RESULT, help="the result file")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--starts", nargs="+", default=list(STARTS), help="starts as `--init` takes them")
    parser.add_argument("--render", type=Path, metavar="FILE", help="print a result as Markdown")
    given = parser.parse_args()
    if given.render:
        print(markdown(json.loads(given.render.read_text(encoding="utf-8"))))
        return
    try:
        _run(given, Protocol(**PROTOCOL))  # type: ignore[arg-type]
    except ParamgenError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from error


def _run(given: argparse.Namespace, protocol: Protocol) -> None:
    texts = [each.partition("=")[::2] for each in given.data]
    if not texts or not all(name and path for name, path in texts):
        raise OptionError("No text is named. Type: --data wikitext2=wikitext2-test.txt")
    rows: list[dict[str, Any]] = []
    for name in given.networks:
        for data, path in texts:
            out = given.out / data / name
            found = compare(NETWORKS[name], path, given.starts, protocol, out, progress=_said)
            rows.append(row_of(data, found.values["architectures"][0]))
            write_text(given.result, json.dumps(result_of(rows, protocol), indent=1) + "\n")


def result_of(rows: Sequence[Mapping[str, Any]], protocol: Protocol) -> dict[str, Any]:
    """Return everything that has ended, text by text, with where it comes from."""
    given = protocol.to_json()
    order = list(dict.fromkeys(row["data"] for row in rows))
    return {
        "metric": "perplexity",
        "summary": summary_of(rows),
        **{key: given[key] for key in ("steps", "seeds", "rates", "batch", "length")},
        "hypernet": dict(initializer_of(SHIPPED).describe()),
        "protocol": given,
        "rows": sorted(rows, key=lambda row: order.index(row["data"])),
        **provenance(),
    }


def _said(event: Event) -> None:
    if event.ended is not None:
        came = event.ended["loss"][-1] if event.ended["status"] == "finished" else event.ended["status"]
        sys.stderr.write(f"{event.run.architecture} {event.run.init} {event.run.rate:g} {event.run.seed}: {came}\n")


def _loss(start: Mapping[str, Any]) -> float:
    return float(start["final"]["mean"])


if __name__ == "__main__":
    main()
