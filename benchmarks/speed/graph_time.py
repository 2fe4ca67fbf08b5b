"""How the time of a graph grows with its nodes: `python -m benchmarks.speed.graph_time`, over the networks of timm.

Some networks at even distances among timm's names are built and traced once, to know how many nodes they have. Of
these some are chosen at even distances of the logarithm, and traced again, in one process that does nothing else; CPU
seconds count, of several runs the median. Beside them stand building the network, finding its graph in the cache, and
the distances of its nodes. The figures go to `cards/results/graph_time.json`.
"""

import argparse
import gc
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np

from benchmarks.provenance import provenance
from paramgen.architectures import Architecture, resolve, sources
from paramgen.errors import ParamgenError
from paramgen.graphs.cache import CACHE_VARIABLE, cached_graph
from paramgen.graphs.schema import Graph
from paramgen.graphs.tracing.fallbacks import graph_of
from paramgen.graphs.views.virtual_edges import virtual_edges

RESULTS: Final = Path(__file__).parents[2] / "cards" / "results" / "graph_time.json"
CUTOFF: Final = 50  # of GHN-2 and GHN-3

Row = dict[str, Any]


def main() -> None:
    """Measure, print the exponent and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--candidates", type=int, default=240, help="networks whose nodes are counted")
    parser.add_argument("--networks", type=int, default=60, help="networks that are measured")
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    names = sources.get("timm")().names()
    sizes = counted(even(names, given.candidates))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ[CACHE_VARIABLE] = folder
        for name in by_size(sizes, given.networks):
            rows.append(measured(name, given.repeat))
            print(rows[-1], file=sys.stderr, flush=True)
    exponents = {what: round(exponent(rows, what), 3) for what in ("trace_cpu_s", "build_cpu_s", "distances_cpu_s")}
    print(f"{len(rows)} networks of {rows[0]['nodes']:,} to {rows[-1]['nodes']:,} nodes; exponents: {exponents}")
    result = {**provenance(), "names": len(names), "counted": len(sizes), "repeat": given.repeat}
    RESULTS.write_text(json.dumps({**result, "exponents": exponents, "networks": rows}, indent=1) + "\n")


def even(names: Sequence[str], count: int) -> list[str]:
    """Return `count` names at even distances, or all."""
    return [names[place * len(names) // count] for place in range(min(count, len(names)))]


def counted(names: Sequence[str]) -> dict[str, int]:
    """Return the nodes of each network that can be traced."""
    sizes = {}
    for name in names:
        try:
            sizes[name] = len(graph_of(resolve(f"timm:{name}")))
        except ParamgenError as error:
            print(f"{name}: {error}", file=sys.stderr, flush=True)
    return sizes


def by_size(sizes: dict[str, int], count: int) -> list[str]:
    """Return `count` names, none twice, with sizes at even distances of the logarithm, as far as there are such."""
    left = dict(sizes)
    wanted = np.geomspace(min(left.values()), max(left.values()), min(count, len(left)))
    chosen = []
    for size in wanted:
        nearest = min(left, key=lambda name: abs(np.log(left[name] / size)))
        chosen.append(nearest)
        del left[nearest]
    return sorted(chosen, key=lambda name: sizes[name])


def measured(name: str, repeat: int) -> Row:
    """Return the seconds of one network."""
    build, architecture = _timed(lambda: resolve(f"timm:{name}"), repeat)
    assert isinstance(architecture, Architecture)
    trace, graph = _timed(lambda: graph_of(architecture), repeat)
    assert isinstance(graph, Graph)
    distances, _ = _timed(lambda: virtual_edges(graph.edges, len(graph), CUTOFF), repeat)
    cached_graph(architecture)
    found, _ = _timed(lambda: cached_graph(architecture), repeat)
    row = {"network": name, "nodes": len(graph), "edges": len(graph.edges), "traced_by": graph.traced_by}
    return {**row, "trace_cpu_s": trace, "build_cpu_s": build, "distances_cpu_s": distances, "cached_cpu_s": found}


def _timed(run: Callable[[], object], repeat: int) -> tuple[float, object]:
    """Return the median CPU seconds, and what was made."""
    seconds, made = [], None
    for _ in range(repeat):
        gc.collect()
        begun = time.process_time()
        made = run()
        seconds.append(time.process_time() - begun)
    return round(median(seconds), 5), made


def exponent(rows: Sequence[Row], what: str) -> float:
    """Return the power of the number of nodes that fits the seconds best, in least squares of the logarithms."""
    slope, _ = np.polyfit(np.log([row["nodes"] for row in rows]), np.log([row[what] for row in rows]), 1)
    return float(slope)


if __name__ == "__main__":
    main()
