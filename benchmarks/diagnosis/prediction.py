"""Which measure, taken before training, tells which initialization wins: `python -m benchmarks.diagnosis.prediction`.

The networks and initializations are those of the tables of initializations, `cards/results/vision.json` and the two of
texts, which say how each ended. Here they are looked at before training, on examples that need no download: the digits
of scikit-learn at 32 x 32, and the licence of this repository as bytes; or on noise. Within each row of a table, the
initializations are ranked by a figure and by how they ended. Spearman's correlation of both is averaged over the rows
of a network and then over networks, with a bootstrap interval over networks. What was measured is kept under `--out`:
the same command goes on.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from math import isfinite, log
from pathlib import Path
from statistics import mean
from typing import Any, Final

import numpy as np
import torch

from benchmarks.initialization import text
from benchmarks.initialization.rows import JUDGED, Row, with_figures
from benchmarks.initialization.vision_networks import SIZE, networks
from benchmarks.provenance import provenance
from paramgen.comparison.models import model_under_test
from paramgen.comparison.results import Metric
from paramgen.comparison.statistics import sign
from paramgen.diagnosis.diagnosing import Request, diagnosis_of
from paramgen.diagnosis.network import NetworkToDiagnose, filled
from paramgen.diagnosis.sample import Sample, tensor_sample
from paramgen.initializers import initializer_of
from paramgen.storage.folder import write_text

ROOT: Final = Path(__file__).parents[2]
RESULTS: Final = ROOT / "cards" / "results"
RESULT: Final = RESULTS / "diagnosis_prediction.json"
TABLES: Final[Mapping[str, tuple[tuple[str, ...], Metric]]] = {
    "vision": (("vision.json",), "accuracy"),
    "text": (("text.json", "text_more.json"), "perplexity"),
}
EXAMPLES: Final = 32
LENGTH: Final = 64  # bytes of an example, as in the tables
SEEDS: Final = 3
RESAMPLED: Final = 10_000
AROUND_ONE: Final = ("signal.forward", "signal.backward", "signal.chi")
"""Figures of which 1 is the aim: how far their logarithm is from zero is what could tell."""

FIGURES: Final = 21
"""How many figures are tried: at 95 % each, one of them is clear of zero by chance."""

LEFT_OUT: Final = ("ntk.rows", "guessing.chance")
Figures = dict[str, dict[str, float | None]]
"""Of each initialization, by measure and figure."""


def main() -> None:
    """Measure what is missing, and write the correlations."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "diagnosis-prediction", help="what was measured")
    parser.add_argument("--examples", nargs="+", choices=("data", "noise"), default=["data"])
    parser.add_argument("--result", type=Path, default=RESULT)
    given = parser.parse_args()
    found = {}
    for examples in given.examples:
        for domain in TABLES:
            rows = rows_of(domain)
            names = list(dict.fromkeys(row.network for row in rows))
            figures = {name: _measured(given.out, domain, name, examples) for name in names}
            found[f"{domain}, {examples}"] = {
                "networks": len(names),
                "rows": len(rows),
                "figures": correlations(rows, figures),
                "without_hypernet": correlations(rows, figures, without=JUDGED),
            }
    result = {"examples": EXAMPLES, "seeds": SEEDS, "correlations": found, **provenance()}
    write_text(given.result, json.dumps(result, indent=1) + "\n")


def rows_of(domain: str) -> list[Row]:
    """Return the rows of the tables of a domain."""
    files, metric = TABLES[domain]
    found = [json.loads((RESULTS / file).read_text(encoding="utf-8"))["rows"] for file in files]
    return [Row.from_json(each, metric) for rows in found for each in rows]


def _measured(out: Path, domain: str, network: str, examples: str) -> Figures:
    """Return the figures of every initialization of a network, from its file where they were measured before."""
    file = out / f"{domain}-{examples}" / f"{network}.json"
    if file.is_file():
        kept: Figures = json.loads(file.read_text(encoding="utf-8"))
        return kept
    inits = list(dict.fromkeys(init for row in rows_of(domain) if row.network == network for init in row.ended))
    request = Request.of(None, seed=0, seeds=SEEDS, examples=None)
    found = diagnosis_of(_network(domain, network, inits, examples), request)
    figures: Figures = {init: {} for init in inits}
    for each in found.results:
        figures[each.init.replace(text.SHIPPED, JUDGED)] |= {
            f"{each.measure}.{name}": value for name, value in each.figures.items()
        }
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps(figures, indent=1) + "\n")
    print(f"{domain}, {examples}, {network}: {sum(each.seconds for each in found.results):.0f} s", flush=True)
    return figures


def _network(domain: str, network: str, inits: Sequence[str], examples: str) -> NetworkToDiagnose:
    sample = SAMPLES[domain](noise=examples == "noise")
    shipped = text.SHIPPED if domain == "text" else JUDGED
    specs = [shipped.join(init.split(JUDGED)) if init.endswith(JUDGED) else init for init in inits]
    if domain == "text":
        model = model_under_test(text.NETWORKS[network], "text", 256)
    else:
        known = {each.name: each for each in networks()}
        model = model_under_test(
            (network, known[network].factory(10)), "images", 10, example=((torch.empty(2, 3, SIZE, SIZE),), {})
        )
    requested = {spec: initializer_of(spec) for spec in specs}
    return filled(model.architecture, model.graph, sample, requested=requested, folders={}, notes=())


def pictures(*, noise: bool) -> Sample:
    """Return the first digits of scikit-learn as images of mean 0 and std 1, with their labels; or noise."""
    if noise:
        images = torch.randn(EXAMPLES, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
        return tensor_sample(images, examples=None)
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    small = torch.tensor(pixels[:EXAMPLES], dtype=torch.float32).view(-1, 1, 8, 8).expand(-1, 3, -1, -1)
    images = torch.nn.functional.interpolate(small, (SIZE, SIZE), mode="bilinear")
    scaled = (images - images.mean()) / images.std()
    return tensor_sample((scaled, torch.tensor(labels[:EXAMPLES], dtype=torch.int64)), examples=None)


def bytes_of_text(*, noise: bool) -> Sample:
    """Return the first bytes of the licence of this repository; or random bytes."""
    count = EXAMPLES * LENGTH
    if noise:
        tokens = torch.randint(256, (count,), generator=torch.Generator().manual_seed(0))
    else:
        tokens = torch.tensor(list((ROOT / "LICENSE").read_bytes()[:count]))
    return tensor_sample(tokens.view(EXAMPLES, -1), examples=None)


SAMPLES: Final[Mapping[str, Callable[..., Sample]]] = {"vision": pictures, "text": bytes_of_text}


def correlations(
    rows: Sequence[Row], figures: Mapping[str, Figures], *, without: str | None = None
) -> dict[str, dict[str, Any]]:
    """Return of each figure the mean rank correlation with how initializations ended, and its interval.

    Args:
        rows: Of a table.
        figures: Of each network.
        without: An initialization that is left out, as one that always wins could carry all of a correlation.

    """
    names = dict.fromkeys(name for each in figures.values() for one in each.values() for name in one)
    found = {}
    for name in names:
        by_network: dict[str, list[float]] = {}
        for row in rows:
            if name not in LEFT_OUT and (one := _of_row(row, figures[row.network], name, without)) is not None:
                by_network.setdefault(row.network, []).append(one)
        if by_network:
            found[name] = interval([mean(each) for each in by_network.values()])
    return found


def _of_row(row: Row, figures: Figures, name: str, without: str | None) -> float | None:
    """Return Spearman's correlation over initializations; None where the figure tells none of them apart."""
    ended = {init: sign(row.metric) * each.mean for init, each in _ended(row).items() if init != without}
    values = {init: _judged(name, figures[init].get(name)) for init in ended}
    known = [init for init, value in values.items() if value is not None]
    return spearman([values[init] or 0.0 for init in known], [ended[init] for init in known])


def _ended(row: Row) -> Mapping[str, Any]:
    """Return where each initialization ended that was trained itself."""
    entries = with_figures(row.entries)
    return {init: entry.final for init, entry in entries.items() if entry.final is not None and not entry.same_as}


def _judged(name: str, value: float | None) -> float | None:
    """Return what is ranked: the figure, or how far it is from 1 where that is its aim."""
    if value is None or not isfinite(value) or name not in AROUND_ONE:
        return value if value is not None and isfinite(value) else None
    return abs(log(value)) if value > 0 else None


def spearman(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Return the correlation of the ranks, ties having their mean rank; None of fewer than four, or of one value."""
    first, second = (_ranks(np.asarray(each, dtype=float)) for each in (one, other))
    if len(first) < 4 or not first.std() or not second.std():
        return None
    return float(np.corrcoef(first, second)[0, 1])


def _ranks(values: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    return np.array([(values < each).sum() + ((values == each).sum() - 1) / 2 for each in values], dtype=float)


def interval(values: Sequence[float]) -> dict[str, Any]:
    """Return the mean over networks and its 95 % bootstrap interval; `all` holds for all figures at once."""
    drawn = np.random.default_rng(0).choice(np.asarray(values), (RESAMPLED, len(values))).mean(1)
    low, high, lowest, highest = (
        round(float(each), 3) for each in np.quantile(drawn, (0.025, 0.975, 0.025 / FIGURES, 1 - 0.025 / FIGURES))
    )
    return {
        "mean": round(mean(values), 3),
        "low": low,
        "high": high,
        "all": [lowest, highest],
        "networks": len(values),
    }


if __name__ == "__main__":
    main()
