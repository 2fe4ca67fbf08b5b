"""All networks that have a published prediction, one after the other: `python -m benchmarks.speed.one_after_another`.

They are the 74 image classifiers of torchvision that GHN-3's authors measured (Knyazev et al., 2023, arXiv:2303.04143):
their notebook predicts them on a CPU in 339 s, of which none is writing. Here one process builds, traces, predicts,
writes and checks each, without a cache of graphs, and removes its folder. The figures go to
`cards/results/one_after_another.json`.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.provenance import provenance
from paramgen.graphs.cache import CACHE_VARIABLE, OFF
from paramgen.output.planning import plan_folder
from paramgen.output.write import write_prediction
from paramgen.prediction import prepare
from paramgen.published.published import catalog

RESULTS: Final = Path(__file__).parents[2] / "cards" / "results" / "one_after_another.json"
PUBLISHED: Final = {"total": 339.0, "median": 3.63}
"""Seconds of GHN-3-XL on its authors' CPU, graph and prediction, without writing."""
STAGES: Final = ("describe", "write", "check")

Row = dict[str, Any]


def main() -> None:
    """Predict every network from every start, print the table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("network", nargs="*", help="all that are published, if none is named")
    parser.add_argument("--init", nargs="*", default=["auto", "hypernet"])
    parser.add_argument("--folder", type=Path, default=None, help="the disk to write to")
    given = parser.parse_args()
    os.environ[CACHE_VARIABLE] = OFF  # every graph is traced
    names = given.network or sorted({name for file in catalog().files for name in file.norms})
    starts = {}
    for init in given.init:
        rows = []
        for name in names:
            rows.append(measured(name, init, given.folder))
            print(f"{init} {name} {rows[-1]['seconds']:.2f} s", file=sys.stderr, flush=True)
        starts[init] = {**summary(rows), "networks": rows}
        print(f"{init}: {starts[init]['total']:.0f} s in total, {starts[init]['median']:.2f} s in the median")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    result = {**provenance(), "published": PUBLISHED, "peak_rss_bytes": peak, "starts": starts}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def measured(name: str, init: str, disk: Path | None) -> Row:
    """Return the figures of one network, whose folder is gone afterwards."""
    begun, cpu = time.perf_counter(), time.process_time()
    prediction = prepare(f"torchvision:{name}", init=init)
    described = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=disk) as folder:
        written = write_prediction(plan_folder(prediction), Path(folder) / name, verify=True)
        ended, ended_cpu = time.perf_counter(), time.process_time()
    return {
        "network": name,
        "parameters": prediction.architecture.manifest.parameters,
        "nodes": len(prediction.graph),
        "by_rule": prediction.by_rule,
        "seconds": round(ended - begun, 3),
        "cpu_seconds": round(ended_cpu - cpu, 3),
        "describe": round(described - begun, 3),
        "write": round(written.seconds["predict"], 3),
        "check": round(written.seconds["check"], 3),
    }


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Return what all networks take together, and the median."""
    return {
        "total": round(sum(row["seconds"] for row in rows), 1),
        "total_cpu": round(sum(row["cpu_seconds"] for row in rows), 1),
        "median": round(median(row["seconds"] for row in rows), 3),
        "slowest": max(rows, key=lambda row: float(row["seconds"]))["network"],
        "parameters": sum(row["parameters"] for row in rows),
        **{stage: round(sum(row[stage] for row in rows), 1) for stage in STAGES},
    }


if __name__ == "__main__":
    main()
