"""Which networks of the libraries can be filled: `python -m benchmarks.coverage.reach [SOURCE ...] [--sample N]`.

Every network is built, traced and given its rules in a process of its own, with limits on time and memory; no tensor
is made. What was measured is kept in `--rows`, so a second call goes on where the first ended. The table goes to
stdout, what it is made of, with commit, hardware and versions, to `--out`, and a line for each network beside that.
"""

import argparse
import json
import multiprocessing
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from rich.console import Console
from rich.progress import Progress

from benchmarks.coverage.reach_network import Limits, Row, measure
from benchmarks.coverage.reach_sources import SOURCES
from benchmarks.provenance import provenance
from paramgen.storage.folder import write_text

ROWS: Final = Path("runs") / "reach.jsonl"
RESULTS: Final = Path("cards") / "results" / "reach.json"
NAMED: Final = 0.999  # share of the elements that a named rule must fill
_GRACE: Final = 5.0  # seconds that a process gets to end by itself

KEPT: Final = (
    *("spec", "built", "failure", "traced_by", "nodes", "elements", "by_rule", "by_role", "unreachable_elements"),
    *("build_seconds", "trace_seconds", "rules_seconds", "peak_rss_bytes"),
)
"""What the line of a network says; why it is an exception stands in the table."""


def main() -> None:
    """Measure every network asked for, print the tables and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", nargs="*", help=f"{', '.join(SOURCES)}; all, if none is named")
    parser.add_argument("--sample", type=int, default=1, metavar="N", help="take every N-th network of a source")
    parser.add_argument("--most", type=int, default=0, metavar="N", help="take N of each source, at even distances")
    parser.add_argument("--seconds", type=float, default=300.0, help="limit for one network")
    parser.add_argument("--gigabytes", type=float, default=8.0, help="limit for one network")
    parser.add_argument("--rows", type=Path, default=ROWS, help="what was measured so far")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    if unknown := set(given.source) - set(SOURCES):
        parser.error(f"Unknown source {min(unknown)!r}. Known: {', '.join(SOURCES)}.")
    if given.sample < 1 or given.most < 0:
        parser.error("--sample takes 1 or more, --most 0 (all) or more.")
    limits = Limits(seconds=given.seconds, bytes=int(given.gigabytes * 1e9))
    tables = {}
    every: list[Row] = []
    for source in given.source or SOURCES:
        names = SOURCES[source]()
        chosen = sampled(names, given.sample, given.most)
        rows = measured([f"{source}:{name}" for name in chosen], given.rows, lambda spec: run(spec, limits))
        every += rows
        tables[source] = summary(len(names), rows)
        Console(highlight=False, soft_wrap=True).print(table(source, tables[source]), markup=False)
    limited = {"seconds": given.seconds, "gigabytes": given.gigabytes}
    result = {**provenance(), "limits": limited, "sources": tables}
    write_text(given.out, json.dumps(result, indent=1) + "\n")
    lines = (json.dumps({key: row[key] for key in KEPT if key in row}, separators=(",", ":")) for row in every)
    write_text(given.out.with_suffix(".jsonl"), "".join(f"{line}\n" for line in lines))


def sampled(names: Sequence[str], every: int, most: int) -> list[str]:
    """Return every `every`-th name, the first among them, or at most `most` (0: all) at even distances."""
    step = max(every, -(-len(names) // most) if most else 1)
    return list(names[::step])


def measured(specs: Sequence[str], kept: Path, one: Callable[[str], Row]) -> list[Row]:
    """Return the row of each network: those that are kept, and the others as they are measured."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    lines = kept.read_text(encoding="utf-8").splitlines() if kept.exists() else []
    known = {row["spec"]: row for row in map(json.loads, lines)}
    with Progress(console=Console(stderr=True)) as bar, kept.open("a", encoding="utf-8") as file:
        task = bar.add_task("Reach", total=len(specs))
        for spec in specs:
            bar.update(task, description=spec)
            if spec not in known:
                known[spec] = one(spec)
                file.write(json.dumps(known[spec]) + "\n")
                file.flush()
            bar.advance(task)
    return [known[spec] for spec in specs]


def run(spec: str, limits: Limits, target: Callable[..., None] = measure) -> Row:
    """Measure one network in a process that is ended at its limits; `target` takes both, and `answers`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.coverage.reach_libraries", "benchmarks.coverage.reach_network"])
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=target, args=(spec, limits), kwargs={"answers": there}, daemon=True)
    process.start()
    there.close()
    failed = {"spec": spec, "built": False}
    try:
        if not here.poll(limits.seconds + _GRACE):
            return {**failed, "failure": f"not done within {limits.seconds:g} s"}
        found: Row = here.recv()
    except EOFError:
        process.join(_GRACE)
        return {**failed, "failure": f"its process ended with {process.exitcode}"}
    finally:
        process.kill()
        process.join()
        here.close()
    return found


def whole(row: Row) -> bool:
    """Whether named rules fill enough of a network, whose parameters are all reached or named as unreachable."""
    return bool(row["built"]) and float(row["named"]) >= NAMED


def summary(networks: int, rows: Sequence[Row]) -> dict[str, Any]:
    """Return the figures of one source, of whose `networks` these were tried, and every exception by its name."""
    built = [row for row in rows if row["built"]]
    seconds = sorted(row["build_seconds"] + row["trace_seconds"] for row in built) or [0.0]
    return {
        "networks": networks,
        "tried": len(rows),
        "built": len(built),
        "traced_by": dict(Counter(row["traced_by"] for row in built).most_common()),
        "whole": sum(map(whole, rows)),
        "median_seconds": round(median(seconds), 2),
        "most_seconds": round(seconds[-1], 2),
        "peak_rss_bytes": max((row["peak_rss_bytes"] for row in built), default=0),
        "exceptions": {row["spec"]: found for row in rows if (found := exceptions(row))},
    }


def table(source: str, found: dict[str, Any]) -> str:
    """Return the figures of one source as Markdown, and every exception."""
    lines = [
        f"| {source} | |",
        "|---|---:|",
        f"| tried, of {found['networks']:,} | {found['tried']:,} |",
        f"| built | {found['built']:,} |",
        *(f"| traced by {way} | {count:,} |" for way, count in found["traced_by"].items()),
        f"| at least {NAMED:.1%} of the elements by a named rule | {found['whole']:,} |",
        f"| seconds to build and trace: median, most | {found['median_seconds']:.1f}, {found['most_seconds']:.1f} |",
        f"| peak memory, libraries included | {found['peak_rss_bytes'] / 1e6:,.0f} MB |",
        "",
    ]
    return "\n".join(
        [*lines, *(f"- `{spec}`: {text}" for spec, notes in found["exceptions"].items() for text in notes), ""]
    )


def exceptions(row: Row) -> list[str]:
    """Say what is not as it should be with one network."""
    if not row["built"]:
        return [row["failure"]]
    notes = []
    if row["traced_by"] != "fake tensors":
        notes.append(f"traced by {row['traced_by']}: {row['trace_failures'][0]}")
    if not whole(row):
        notes.append(f"{row['named']:.2%} of the elements by a named rule")
    if row["unreachable"]:
        notes.append(f"{row['unreachable_elements']:,} elements unreachable, first {row['unreachable'][0]}")
    return notes


if __name__ == "__main__":
    main()
