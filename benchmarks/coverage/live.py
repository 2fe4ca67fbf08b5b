"""Whether live modules are filled as they should be: `python -m benchmarks.coverage.live [SOURCE ...] [--most N]`.

Every classifier of torchvision, and networks of timm, transformers (with fewer layers) and diffusers that a seed draws,
are built in memory and given to `initialize_`, each in a process of its own: under `library` no tensor may change;
under `he` all is finite, what is kept does not change, and ties stay; the rules are compared with those that the
network's name gets. What was measured is kept in `--rows`, so a second call goes on where the first ended. A line for
each fault goes to stdout; everything, with commit, hardware and versions, to `--out`, anew after every few networks.
What is too large is skipped by name.
"""

import argparse
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.coverage.live_network import SEED, measure
from benchmarks.coverage.reach import measured, run
from benchmarks.coverage.reach_network import Limits, Row
from benchmarks.coverage.reach_sources import SOURCES
from benchmarks.provenance import provenance
from paramgen.graphs.schema import UNORDERED
from paramgen.storage.folder import write_text

ROWS: Final = Path("runs") / "live.jsonl"
RESULTS: Final = Path("cards") / "results" / "live.json"
TAKEN: Final[Mapping[str, int]] = {"torchvision": 1_000, "timm": 60, "transformers": 40, "diffusers": 15}
_FEW: Final = 4  # networks after which the figures are written


def main() -> None:
    """Try every network asked for, print what is wrong and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", nargs="*", help=f"{', '.join(TAKEN)}; all, if none is named")
    parser.add_argument("--most", type=int, default=1_000, metavar="N", help="try N networks of a source at most")
    parser.add_argument("--seconds", type=float, default=900.0, help="limit for one network")
    parser.add_argument("--gigabytes", type=float, default=8.0, help="limit for one network")
    parser.add_argument("--elements", type=int, default=700_000_000, help="of the largest network that is built")
    parser.add_argument("--rows", type=Path, default=ROWS, help="what was measured so far")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    if unknown := set(given.source) - set(TAKEN):
        parser.error(f"Unknown source {min(unknown)!r}. Known: {', '.join(TAKEN)}.")
    limits = Limits(seconds=given.seconds, bytes=int(given.gigabytes * 1e9))
    one = partial(_one, limits, given.elements)
    asked = {"seconds": given.seconds, "gigabytes": given.gigabytes, "elements": given.elements, "seed": SEED}
    tables: dict[str, Any] = {}
    for source in given.source or TAKEN:
        wanted = min(given.most, TAKEN[source])
        for rows in tried(source, wanted, lambda specs: measured(specs, given.rows, one)):
            tables[source] = {"wanted": wanted, **summary(rows)}
            write_text(given.out, json.dumps({**provenance(), "limits": asked, "sources": tables}, indent=1) + "\n")
        print(f"{source}: {tables[source]['tried']} tried, {tables[source]['good']} as they should be", flush=True)
        for spec, text in (*tables[source]["faults"].items(), *tables[source]["skipped"].items()):
            print(f"- {spec}: {text if isinstance(text, str) else '; '.join(text)}", flush=True)


def tried(source: str, count: int, measure_all: Callable[[Sequence[str]], list[Row]]) -> Iterator[list[Row]]:
    """Yield, after every few, the rows so far: of so many networks of a source, and of what was skipped meanwhile."""
    names = shuffled(source)
    rows: list[Row] = []
    while names and (missing := count - sum("skipped" not in row for row in rows)) > 0:
        taken, names = names[: min(missing, _FEW)], names[min(missing, _FEW) :]
        rows += measure_all([f"{source}:{name}" for name in taken])
        yield rows


def shuffled(source: str) -> list[str]:
    """Return the names of a source in an order that the seed decides; of torchvision, those of classifiers."""
    if source == "torchvision":
        import torchvision

        return list(torchvision.models.list_models(module=torchvision.models))
    names = SOURCES[source]()
    random.Random(SEED).shuffle(names)
    return names


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the figures of one source, every fault and what was skipped by name, and where rules differ."""
    done = [row for row in rows if "skipped" not in row]
    return {
        "tried": len(done),
        "good": sum(not row["faults"] for row in done),
        "elements": sum(row.get("elements", 0) for row in done),
        "tensors": sum(row.get("tensors", 0) for row in done),
        "slots_compared_with_the_name": sum(row.get("slots_compared", 0) for row in done),
        "slots_differing_from_the_name": sum(row.get("slots_differing", 0) for row in done),
        "names": [row["spec"] for row in done],
        "without_an_order": [row["spec"] for row in done if row.get("traced_by") in UNORDERED],
        "faults": {row["spec"]: row["faults"] for row in done if row["faults"]},
        "differences": {row["spec"]: row["differences"] for row in done if row.get("differences")},
        "skipped": {row["spec"]: row["skipped"] for row in rows if "skipped" in row},
    }


def _one(limits: Limits, most: int, spec: str) -> Row:
    row = run(spec, limits, partial(measure, most=most))
    return {"spec": spec, "faults": [row["failure"]]} if "failure" in row else row


if __name__ == "__main__":
    main()
