"""Make the table that `--init auto` reads, of all results that there are: `python -m benchmarks.initialization.choose`.

For each family of networks, and for each size that was measured by a protocol of its own, it ranks the initializations
that are significantly better than the default one, by their mean final accuracy over the rows (a row is one network on
one data set). An initialization is left out if it was not measured on every row, if on any row it is significantly
worse than the default one, if it is not significantly better than each simpler one that is left (a rule is simpler than
a control of a hypernet, and that than the hypernet), or if it does not come with paramgen, as `hypernet:FOLDER` or a
hypernet whose sha256 is not that of the shipped one. Families are decided from the networks' graphs, as `auto` does it.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from math import exp, isfinite, sqrt
from pathlib import Path
from statistics import mean, variance
from typing import Annotated, Any, Final, final

import torch
import typer
from scipy.stats import t as student

from paramgen.errors import OptionError, ParamgenError
from paramgen.graphs.analysis.model_family import MODEL_FAMILIES, ModelFamily, family_of
from paramgen.initializers import SHIPPED, TEXT, initializer_of
from paramgen.initializers.auto import AUTO, LIBRARY, MEASURED_CONTROLS, TABLE, Metric, Table
from paramgen.initializers.hypernet import HYPERNET
from paramgen.initializers.unigram import UNIGRAM
from paramgen.prediction import describe
from paramgen.storage.folder import write_text

ROOT: Final = Path(__file__).parents[2]
TABLE_FILE: Final = ROOT / "paramgen" / "initializers" / TABLE
RESULTS: Final = tuple(
    ROOT / "cards" / "results" / f"{name}.json"
    for name in (
        "vision",
        "vision_mlp",
        "vision_real",
        "vision_corner",
        "vision_largest",
        "text_lr_on_test",
        "text",
        "text_more",
        "text_real",
    )
)
TEXT_FAMILY: Final = "text_transformer"
_SHAPE: Final = "it has rows of network, family, data and initializations, each with final: values; and steps and seeds"


@final
@dataclass(frozen=True, kw_only=True)
class Measured:
    """One network on one data set: the final values of each initialization, one for each seed; more is better.

    They are accuracies, or the logarithms of perplexities, negated.
    """

    network: str
    family: ModelFamily
    data: str
    parameters: int
    final: Mapping[str, tuple[float, ...]]
    steps: int
    seeds: int
    metric: Metric = "accuracy"


def main(
    results: Annotated[
        list[Path] | None,
        typer.Argument(help="What benchmarks.initialization.vision and benchmarks.initialization.text wrote."),
    ] = None,
    out: Annotated[Path, typer.Option(help="The table.")] = TABLE_FILE,
) -> None:
    """Choose, print the table and write it."""
    chosen = results or [file for file in RESULTS if file.is_file()]
    rows = merged([row for result in chosen for row in read(result)])
    families = {family: entries(rows, family) for family in MODEL_FAMILIES}
    learned = [
        TEXT if family == TEXT_FAMILY else SHIPPED
        for family, sizes in families.items()
        if any(each["init"].partition("?")[0] == HYPERNET for entry in sizes for each in entry["initializers"])
    ]
    hypernets = {name: shipped(name) for name in sorted(set(learned))}
    named = [result.name for result in chosen]
    text = json.dumps({"results": named, "hypernets": hypernets, "families": families}, indent=1) + "\n"
    table = Table.parse(text)  # what auto would refuse is not written
    write_text(out, text)
    for family, sizes in table.families.items():
        for measured in sizes:
            print(f"{family:<20} {measured.reason(next(iter(measured.scores)), family)}")


def read(result: Path) -> list[Measured]:
    """Return the rows of a result."""
    try:
        data = json.loads(result.read_text(encoding="utf-8"))
        metric: Metric = "perplexity" if data.get("metric") == "perplexity" else "accuracy"
        name = TEXT if metric == "perplexity" else SHIPPED
        ours = "hypernet" in data and data["hypernet"]["sha256"] == shipped(name)
        seeds = data["seeds"] if isinstance(data["seeds"], int) else len(data["seeds"])
        made = partial(
            _row,
            ours=ours,
            spec=data.get("hypernet", {}).get("spec", HYPERNET),
            steps=int(data["steps"]),
            seeds=seeds,
            metric=metric,
        )
        return [made(row) for row in data["rows"]]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise OptionError(
            f"{result} is no result of benchmarks.initialization.vision ({error!r}): {_SHAPE}."
        ) from error


def merged(rows: Sequence[Measured]) -> list[Measured]:
    """Return one row for each network, data set and protocol: results of a hypernet with other options add to it."""
    found: dict[tuple[object, ...], Measured] = {}
    for row in rows:
        key = row.network, row.data, row.metric, row.steps, row.seeds
        known = found.get(key)
        found[key] = row if known is None else replace(known, final={**row.final, **known.final})
    return list(found.values())


def shipped(name: str) -> str:
    """Return the sha256 of a hypernet that comes with paramgen."""
    return str(initializer_of(f"{HYPERNET}:{name}").describe()["sha256"])


def _row(row: Mapping[str, Any], *, ours: bool, spec: str, steps: int, seeds: int, metric: Metric) -> Measured:
    sign = 1 if metric == "accuracy" else -1
    final = {
        _spelled(str(init), spec): tuple(
            float("nan") if value is None else sign * float(value) for value in entry["final"]["values"]
        )
        for init, entry in row["initializations"].items()
        if entry.get("final") and (ours or init not in (HYPERNET, *MEASURED_CONTROLS))
    }
    if LIBRARY not in final:
        raise OptionError(
            f"The row of {row['network']} on {row['data']} lacks the initialization {LIBRARY}; measure it, too."
        )
    family = _family(row["network"], row["family"])
    return Measured(
        network=row["network"],
        family=family,
        data=row["data"],
        parameters=int(row["parameters"]),
        final=final,
        steps=steps,
        seeds=seeds,
        metric=metric,
    )


def _spelled(init: str, spec: str) -> str:
    """Return the initializer of a column: that of the hypernet, and the controls of it, have the hypernet's options."""
    options = spec.partition("?")[2]
    return f"{init}?{options}" if options and init.endswith(HYPERNET) else init


def entries(rows: Sequence[Measured], family: ModelFamily) -> list[dict[str, Any]]:
    """Return what the table says of a family: one entry for each protocol, that of the smallest networks first."""
    own = [row for row in rows if row.family == family]
    if not own or family == "other":
        nothing = {"networks": [], "data": [], "steps": 0, "seeds": 0, "smallest": 0, "largest": 0}
        return [{"initializers": [{"init": LIBRARY, "accuracy": None}], **nothing}]
    protocols = {(row.metric, row.steps, row.seeds): row.parameters for row in sorted(own, key=_size, reverse=True)}
    sizes = [
        [row for row in own if (row.metric, row.steps, row.seeds) == protocol]
        for protocol in sorted(protocols, key=lambda protocol: protocols[protocol])
    ]
    return [_entry(rows, smallest=index > 0) for index, rows in enumerate(sizes)]


def _entry(rows: Sequence[Measured], *, smallest: bool) -> dict[str, Any]:
    """Return what the table says of networks that were measured alike; `smallest` if it says where they begin."""
    winners = [init for init in sorted(rows[0].final) if _wins(rows, init)]
    better = {init: _accuracy(rows, init) for init in winners if _earns_its_place(rows, init, winners)}
    ranked = sorted(better.items(), key=lambda pair: -pair[1]) + [(LIBRARY, _accuracy(rows, LIBRARY))]
    metric = rows[0].metric

    def said(value: float) -> float:
        return round(value if metric == "accuracy" else exp(-value), 4)

    return {
        "metric": metric,
        "initializers": [{"init": init, metric: said(value)} for init, value in ranked],
        "networks": sorted({row.network for row in rows}),
        "data": sorted({row.data for row in rows}),
        "steps": rows[0].steps,
        "seeds": rows[0].seeds,
        "smallest": min(map(_size, rows)) if smallest else 0,
        "largest": max(map(_size, rows)),
    }


def _size(row: Measured) -> int:
    return row.parameters


def _wins(rows: Sequence[Measured], init: str) -> bool:
    """Whether an initialization may be chosen: it is significantly better than the default one, and nowhere worse.

    One that counts the text which is trained on may not: a prediction does not know that text.
    """
    name = init.partition("?")[0]
    if name in (LIBRARY, AUTO, UNIGRAM) or (":" in name and name not in MEASURED_CONTROLS):
        return False
    if not all(len(row.final.get(init, ())) > 1 and all(map(isfinite, row.final[init])) for row in rows):
        return False
    if any(_lead([row], init) < -_threshold([row], init) for row in rows):
        return False
    return _lead(rows, init) > _threshold(rows, init)


def _earns_its_place(rows: Sequence[Measured], init: str, winners: Sequence[str]) -> bool:
    """Whether an initialization is significantly better than all that are simpler: rules, controls, hypernets."""
    simpler = [other for other in winners if _complexity(other) < _complexity(init)]
    return all(_lead(rows, init, over=other) > _threshold(rows, init, over=other) for other in simpler)


def _complexity(init: str) -> int:
    """Return 2 for a hypernet, 1 for a control, which needs a hypernet's norms or values, and 0 for a rule."""
    return 2 if init.startswith(HYPERNET) else int(init.partition("?")[0] in MEASURED_CONTROLS)


def _accuracy(rows: Sequence[Measured], init: str) -> float:
    return mean(mean(row.final[init]) for row in rows)


def _lead(rows: Sequence[Measured], init: str, *, over: str = LIBRARY) -> float:
    return _accuracy(rows, init) - _accuracy(rows, over)


def _threshold(rows: Sequence[Measured], init: str, *, over: str = LIBRARY) -> float:
    """Return the significance threshold: the lead that chance between seeds makes of none, at 95 %.

    Welch's t-test of a sum of means; the degrees of freedom are those of Welch and Satterthwaite.
    """
    samples = [values for row in rows for values in (row.final[init], row.final[over])]
    errors = [variance(values) / len(values) for values in samples]
    if not any(errors):
        return 0.0
    freedom = sum(errors) ** 2 / sum(each**2 / (len(values) - 1) for each, values in zip(errors, samples, strict=True))
    return float(student.ppf(0.975, freedom)) * sqrt(sum(errors)) / len(rows)


@cache
def _family(network: str, said: str) -> ModelFamily:
    """Return the family of a network that `vision` measures; of another one, what its row says."""
    from benchmarks.initialization.real_networks import real_networks
    from benchmarks.initialization.vision_networks import SIZE, networks

    known = next((each for each in (*networks(), *real_networks()) if each.name == network), None)
    if known is not None:  # built for real: some constructors compute their sizes with tensors
        module = known.factory(10)()
        return family_of(describe(module, example_input=((torch.zeros(2, 3, SIZE, SIZE),), {}))[1])
    named = next((family for family in MODEL_FAMILIES if said == family), None)
    if named is None:
        raise OptionError(f"{network} is of the family {said!r}. Known: {', '.join(MODEL_FAMILIES)}.")
    return named


if __name__ == "__main__":
    try:
        typer.run(main)
    except ParamgenError as error:
        print(f"error: {error.message}", file=sys.stderr)
        sys.exit(2)
