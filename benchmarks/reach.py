"""Which networks of the libraries can be filled: `python -m benchmarks.reach [SOURCE ...] [--sample N]`.

Every network is built, traced and given its rules in a process of its own, with limits on time and memory; no tensor
is made. What was measured is kept in `--rows`, so a second call goes on where the first ended. The table goes to
stdout, the figures with commit, hardware and versions to `--out`.
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

from benchmarks.provenance import provenance
from benchmarks.reach_network import Limits, measure
from benchmarks.reach_sources import SOURCES

ROWS: Final = Path("runs") / "reach.jsonl"
RESULTS: Final = Path("cards") / "results" / "reach.json"
NAMED: Final = 0.999  # share of the elements that a named rule must fill
_GRACE: Final = 5.0  # seconds that a process gets to end by itself

Row = dict[str, Any]


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
    for source in given.source or SOURCES:
        names = SOURCES[source]()
        chosen = sampled(names, given.sample, given.most)
        rows = measured([f"{source}:{name}" for name in chosen], given.rows, lambda spec: run(spec, limits))
        tables[source] = {"networks": len(names), "rows": rows}
        Console(highlight=False, soft_wrap=True).print(table(source, tables[source]), markup=False)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    limited = {"seconds": given.seconds, "gigabytes": given.gigabytes}
    given.out.write_text(json.dumps({**provenance(), "limits": limited, "sources": tables}, indent=1) + "\n")


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


def run(spec: str, limits: Limits) -> Row:
    """Measure one network in a process that is ended at its limits."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.reach_libraries", "benchmarks.reach_network"])
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=measure, args=(spec, limits, there), daemon=True)
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


def table(source: str, found: dict[str, Any]) -> str:
    """Return the figures of one source as Markdown, and every exception by its name."""
    rows: list[Row] = found["rows"]
    built = [row for row in rows if row["built"]]
    ways = Counter(row["traced_by"] for row in built)
    lines = [
        f"| {source} | |",
        "|---|---:|",
        f"| tried, of {found['networks']:,} | {len(rows):,} |",
        f"| built | {len(built):,} |",
        *(f"| traced by {way} | {count:,} |" for way, count in ways.most_common()),
        f"| at least {NAMED:.1%} of the elements by a named rule | {sum(map(whole, rows)):,} |",
    ]
    if built:
        seconds = sorted(row["build_seconds"] + row["trace_seconds"] for row in built)
        peak = max(row["peak_rss_bytes"] for row in built)
        lines.append(f"| seconds to build and trace: median, most | {median(seconds):.1f}, {seconds[-1]:.1f} |")
        lines.append(f"| peak memory, libraries included | {peak / 1e6:,.0f} MB |")
    return "\n".join([*lines, "", *(f"- `{row['spec']}`: {text}" for row in rows for text in exceptions(row)), ""])


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
