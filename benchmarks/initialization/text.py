"""Which initialization trains language models best, on text and shapes that no training has seen.

`python -m benchmarks.initialization.text --data NAME=PATH` trains GPT-2s and Llamas of several shapes, some wider and
deeper than any in training, on the bytes of each text, from every initialization at its own best learning rate of a
grid. Each text is a file, whose last tenth is tested on. Perplexities are per byte. Runs are kept under `--out`: the
same command goes on where the last one ended, and all that has ended of the texts is in the result. What an earlier
result has by the same protocol on the same text, and of the hypernet from the same weights, `--known` takes over.

    python -m benchmarks.initialization.text --data wikitext2=wikitext2-test.txt --data novel=novel.txt
    python -m benchmarks.initialization.text --data code=code.txt --real-size --steps 60 --lr 3e-4 1e-3 3e-3 1e-2
    python -m benchmarks.initialization.text --render cards/results/text.json
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from math import exp, inf, isfinite
from pathlib import Path
from statistics import median
from typing import Any, Final, final

from benchmarks.initialization.known import Known, known_entry
from benchmarks.initialization.rows import JUDGED, Entry, Row
from benchmarks.provenance import provenance
from paramgen.comparison import Event, Protocol, compare
from paramgen.comparison.data.text import folder_text
from paramgen.errors import OptionError, ParamgenError
from paramgen.initializers import initializer_of
from paramgen.initializers.auto import MEASURED_CONTROLS
from paramgen.initializers.library import LIBRARY
from paramgen.initializers.unigram import UNIGRAM
from paramgen.storage.folder import write_text

RESULT: Final = Path(__file__).parents[2] / "cards" / "results" / "text.json"
SHIPPED: Final = "hypernet:text"
REQUIRED: Final = (LIBRARY, JUDGED, "orthogonal", "mimetic", *MEASURED_CONTROLS)
"""What a row is complete with: the simple ones that did best, and what has the hypernet's norms or values alone."""

REQUIRED_AT_REAL_SIZE: Final = (LIBRARY, JUDGED, "shuffled:hypernet")
"""What a row of a large network is complete with: the simple one that did best most often is among them."""

INITS: Final = (*REQUIRED, UNIGRAM, "scaled", "lir", "mup")
"""`unigram` counts the text to learn from, without the part that is tested on."""
DOMAINS: Final = {"wikitext2": "trained on", "novel": "trained on"}
"""What the shipped hypernet knows of a text's kind; any other is `UNSEEN`."""

UNSEEN: Final = "unseen domain"
PROTOCOL: Final = {
    "steps": 300,
    "seeds": 3,
    "lr": (1e-3, 2.4e-3, 5.6e-3, 1.3e-2, 3e-2),
    "batch": 8,
    "evaluations": 6,
    "test_examples": 200,
    "length": 64,
}
TIE: Final = 0.005  # perplexities within so much of each other, relatively, are tied
_ENTRY: Final = "entry.json"
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
REAL_NETWORKS: Final[Mapping[str, str]] = {
    "llama-384": _LLAMA + "hidden_size=384&num_hidden_layers=8&num_attention_heads=6&num_key_value_heads=3"
    "&intermediate_size=1024",
    "gpt2-512": _GPT2 + "n_embd=512&n_layer=12&n_head=8",
    "gpt2": _GPT2 + "n_embd=768&n_layer=12&n_head=12",
}
"""Sizes that people train; `gpt2` has the blocks of the smallest published GPT-2, and 256 tokens."""

BEYOND: Final = ("gpt2-192", "llama-192", *REAL_NETWORKS)
"""Wider and deeper than any design of the recipe."""

_NAMED: Final = {**NETWORKS, **REAL_NETWORKS}


def row_of(data: str, network: str, entries: Mapping[str, Entry]) -> Row:
    """Return the row of a network on a text, of the entries that have a result."""
    return Row(
        data=data,
        network=network,
        family="text_transformer",
        domain=DOMAINS.get(data, UNSEEN),
        made_by=_NAMED[network],
        beyond=network in BEYOND,
        metric="perplexity",
        entries={init: entries[init] for init in INITS if init in entries and entries[init].curve is not None},
    )


def ratio_of(row: Row) -> float:
    """Return the perplexity from the hypernet, divided by that from the best simple initialization."""
    ended, simple = row.ended, row.best_simple
    assert simple is not None  # a row has the default initialization
    return round(exp(ended[JUDGED].mean - ended[simple].mean), 4)


def perplexities(row: Row) -> dict[str, float]:
    """Return the perplexity after training, by initialization."""
    return {init: round(exp(end.mean), 4) for init, end in row.ended.items()}


def json_of(row: Row) -> dict[str, Any]:
    """Return the row with its perplexities, and how the hypernet compares with the best simple initialization."""
    steps = row.steps_to_best_simple(JUDGED)
    return {
        **row.to_json(),
        "perplexity": perplexities(row),
        "ratio": ratio_of(row),
        "steps_to_best_simple": steps,
    }


def summary_of(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the shares over all rows: wins, ties, the median ratio of perplexities, and steps."""
    if not rows:
        return {}
    ratios = [ratio_of(row) for row in rows]
    steps = [row.steps_to_best_simple(JUDGED) for row in rows]
    middle = median(inf if step is None else step for step in steps)
    return {
        "rows": len(rows),
        "wins": round(sum(ratio < 1 - TIE for ratio in ratios) / len(rows), 4),
        "wins_or_ties": round(sum(ratio <= 1 + TIE for ratio in ratios) / len(rows), 4),
        "median_ratio": round(median(ratios), 4),
        "reached": round(sum(step is not None for step in steps) / len(rows), 4),
        "median_steps": round(middle, 1) if isfinite(middle) else None,
        "median_ratio_by_domain": {
            domain: round(median(ratio_of(row) for row in rows if row.domain == domain), 4)
            for domain in dict.fromkeys(row.domain for row in rows)
        },
    }


def markdown(result: Mapping[str, Any]) -> str:
    """Return the table of each text, and the summary."""
    found = result["summary"]
    lines = [
        f"{found['rows']} rows: lower perplexity than the best simple initialization on {found['wins']:.0%}; in the "
        f"median {1 - found['median_ratio']:.0%} lower, and as low as that one ends after "
        f"{found['median_steps']} steps."
    ]
    rows = [Row.from_json(row, "perplexity") for row in result["rows"]]
    inits = [init for init in INITS if any(init in row.entries for row in rows)]
    for data in dict.fromkeys(row.data for row in rows):
        lines += [
            "",
            f"## {data} ({DOMAINS.get(data, UNSEEN)})",
            "",
            f"| network | parameters | {' | '.join(inits)} | against the best simple |",
            "|---|--:|" + "--:|" * (len(inits) + 1),
            *(_line(row, inits) for row in rows if row.data == data),
        ]
    return "\n".join(lines)


def _line(row: Row, inits: Sequence[str]) -> str:
    known = perplexities(row)
    values = " | ".join(f"{known[init]:.2f}" if init in known else "" for init in inits)
    size = f"`{row.network}`{' (beyond training)' if row.beyond else ''} | {row.parameters:,}"
    return f"| {size} | {values} | {ratio_of(row) - 1:+.1%} |"


def main() -> None:
    """Render a result, or run and write it after every initialization."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", action="append", default=[], metavar="NAME=PATH", help="a text file")
    parser.add_argument("--out", type=Path, default=Path("runs/text"), help="where runs are kept")
    parser.add_argument("--result", type=Path, default=RESULT, help="the result file")
    parser.add_argument("--known", type=Path, nargs="+", default=[], help="results of which what is the same is kept")
    parser.add_argument("--networks", nargs="+", choices=list(_NAMED), help="all of the size, if none is named")
    parser.add_argument("--real-size", action="store_true", help="networks of 38 and 85 M parameters")
    parser.add_argument("--steps", type=int, default=PROTOCOL["steps"], help="of training")
    parser.add_argument("--lr", type=float, nargs="+", default=PROTOCOL["lr"], help="learning rates, alike for all")
    parser.add_argument("--evaluations", type=int, default=PROTOCOL["evaluations"], help="besides the one at step 0")
    parser.add_argument("--test-examples", type=int, default=PROTOCOL["test_examples"])
    parser.add_argument("--inits", nargs="*", choices=INITS, help="what is trained now; what a row needs, if not said")
    parser.add_argument("--render", type=Path, metavar="FILE", help="print a result as Markdown")
    given = parser.parse_args()
    if given.render:
        print(markdown(json.loads(given.render.read_text(encoding="utf-8"))))
        return
    try:
        said = {name: getattr(given, name) for name in ("steps", "evaluations", "test_examples")}
        _run(given, Protocol(**{**PROTOCOL, **said, "lr": tuple(given.lr)}))
    except ParamgenError as error:
        sys.stderr.write(f"{error.message}\n")
        raise SystemExit(2) from error


def _run(given: argparse.Namespace, protocol: Protocol) -> None:
    texts = {name: path for name, _, path in (each.partition("=") for each in given.data)}
    if not texts or not all(name and path for name, path in texts.items()):
        raise OptionError("No text is named. Type: --data wikitext2=wikitext2-test.txt")
    known = [json.loads(file.read_text(encoding="utf-8")) for file in given.known]
    networks, required = (REAL_NETWORKS, REQUIRED_AT_REAL_SIZE) if given.real_size else (NETWORKS, REQUIRED)
    if given.networks and not set(given.networks) <= networks.keys():
        raise OptionError(f"With{'' if given.real_size else 'out'} --real-size there are {', '.join(networks)}.")
    benchmark = TextBenchmark(given.out, protocol, texts, known=known, networks=networks, required=required)
    for data in texts:
        for network in given.networks or networks:
            for init in required if given.inits is None else given.inits:
                benchmark.make(data, network, init)
                write_text(given.result, json.dumps(benchmark.result(), indent=1) + "\n")
    write_text(given.result, json.dumps(benchmark.result(), indent=1) + "\n")


@final
class TextBenchmark:
    """The runs under a folder, each initialization of each network in one of its own, and what they amount to.

    Args:
        out: The folder.
        protocol: How each initialization is trained.
        texts: Files by name.
        known: Earlier results.
        networks: Specs by name; these are the rows.
        required: The initializations without which a row is not complete.

    """

    def __init__(
        self,
        out: Path,
        protocol: Protocol,
        texts: Mapping[str, str],
        *,
        known: Sequence[Mapping[str, Any]] = (),
        networks: Mapping[str, str] = NETWORKS,
        required: Sequence[str] = REQUIRED,
    ) -> None:
        self._out, self._protocol, self._texts = out, protocol, texts
        self._networks, self._required = networks, required
        self._hypernet = dict(initializer_of(SHIPPED).describe())
        self._identities = {name: folder_text(Path(path)).identity for name, path in texts.items()}
        sha256 = str(self._hypernet["sha256"])
        self._known = [Known(result, protocol, self._identities, hypernet={"sha256": sha256}) for result in known]

    def make(self, data: str, network: str, init: str) -> None:
        """Train from an initialization, unless that has been done."""
        if self._entry(data, network, init) is not None:
            return
        folder = self._folder(data, network, init)
        spec = SHIPPED.join(init.split(JUDGED)) if init.endswith(JUDGED) else init
        if init == UNIGRAM:
            spec = f"{UNIGRAM}:{self._learnt(data)}"
        found = compare(self._networks[network], self._texts[data], [spec], self._protocol, progress=_said)
        entry = Entry.of(found.architectures[0], commit=provenance()["commit"])
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / _ENTRY, json.dumps(entry.to_json(), indent=1) + "\n")

    def result(self) -> dict[str, Any]:
        """Return everything that has ended, text by text, with where it comes from."""
        given, rows = self._protocol.to_json(), []
        for data in self._texts:
            for network in self._networks:
                found = {init: self._entry(data, network, init) for init in INITS}
                entries = {init: entry for init, entry in found.items() if entry is not None}
                if set(self._required) <= entries.keys():
                    rows.append(row_of(data, network, entries))
        return {
            "metric": "perplexity",
            "summary": summary_of(rows),
            **{key: given[key] for key in ("steps", "seeds", "lr", "batch", "length")},
            "hypernet": self._hypernet,
            "protocol": given,
            "data": {name: {"sha256": identity} for name, identity in self._identities.items()},
            "rows": [json_of(row) for row in rows],
            **({"known": [each.to_json() for each in self._known]} if self._known else {}),
            **provenance(),
        }

    def _learnt(self, data: str) -> Path:
        """Return a file with the text that is learnt from."""
        file = self._out / data / "learnt.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, folder_text(Path(self._texts[data])).train)
        return file

    def _folder(self, data: str, network: str, init: str) -> Path:
        """Return where the runs of an initialization lie: under a name of all that they depend on."""
        depends = {
            "protocol": self._protocol.to_json(),
            "data": self._identities[data],
            "network": self._networks[network],
            "init": init,
            "hypernet": self._hypernet["sha256"] if init.endswith(JUDGED) else None,
            "version": version("paramgen"),
        }
        key = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:10]
        return self._out / data / network / f"{init.replace(':', '-')}-{key}"

    def _entry(self, data: str, network: str, init: str) -> Entry | None:
        """Return what is known of an initialization: its own runs, or an earlier result."""
        file = self._folder(data, network, init) / _ENTRY
        if file.is_file():
            return Entry.from_json(json.loads(file.read_text(encoding="utf-8")))
        return known_entry(self._known, data, self._networks[network], init)


def _said(event: Event) -> None:
    if event.ended is not None:
        came = event.ended.loss[-1] if event.ended.status == "finished" else event.ended.status
        sys.stderr.write(f"{event.run.architecture} {event.run.init} {event.run.lr:g} {event.run.seed}: {came}\n")


if __name__ == "__main__":
    main()
