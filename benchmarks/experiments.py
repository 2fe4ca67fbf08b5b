"""Experiments by name, and the one file that keeps the figures of all: what several benchmarks are called with."""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks.provenance import provenance


def run_named(description: str, experiments: Mapping[str, Callable[[], dict[str, Any]]], results: Path) -> None:
    """Run the experiments that the command line names and write their figures beside those of the others.

    Args:
        description: The first line of `--help`.
        experiments: What makes the figures of each, by name, in the order in which they are kept.
        results: The file.

    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("experiments", nargs="+", choices=(*experiments, "all"))
    given = parser.parse_args().experiments
    found = json.loads(results.read_text(encoding="utf-8")) if results.is_file() else {}
    begun = provenance()  # of the code that runs, which what it writes does not change
    for name in experiments if "all" in given else given:
        figures = experiments[name]()
        print(name, json.dumps(figures))
        found[name] = {"figures": figures, **begun}
        kept = {each: found[each] for each in experiments if each in found}
        results.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Return mean, standard deviation and the values, by seed."""
    return {
        "mean": round(mean(values), 2),
        "std": round(stdev(values), 2) if len(values) > 1 else 0.0,
        "values": [round(value, 2) for value in values],
    }
