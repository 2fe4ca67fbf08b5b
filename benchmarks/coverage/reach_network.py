"""One network of the benchmark of reach, in a process of its own."""

import resource
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final, final

from benchmarks.coverage.reach_sources import shrinking
from paramgen.architectures import Architecture, resolve
from paramgen.errors import ParamgenError, TraceWarning, one_line
from paramgen.graphs.analysis.slot_roles import elements_by_role
from paramgen.graphs.tracing.fallbacks import Tracing, graph_of
from paramgen.initializers import initializer_of
from paramgen.initializers.library import PLAIN
from paramgen.prediction import Requested, prediction_of

INIT: Final = "hypernet"
MOST_NAMES: Final = 5

Row = dict[str, Any]


@final
@dataclass(frozen=True, kw_only=True)
class Limits:
    """Of one network."""

    seconds: float
    bytes: int


def measure(spec: str, limits: Limits, answers: Connection) -> None:
    """Send the row of a network; whatever it raises is its failure."""
    send_row(spec, limits, answers, lambda: _row(spec, limits), lambda reason: {"built": False, "failure": reason})


def send_row(
    spec: str, limits: Limits, answers: Connection, measured: Callable[[], Row], failed: Callable[[str], Row]
) -> None:
    """Send what `measured` returns within the limits; of whatever it raises, what `failed` makes of the reason."""
    resource.setrlimit(resource.RLIMIT_DATA, (limits.bytes, limits.bytes))
    warnings.simplefilter("ignore")
    with redirect_stdout(sys.stderr):
        try:
            row = measured()
        except BaseException as error:  # of somebody else's code, which may raise anything
            row = failed(f"{type(error).__name__}: {one_line(error)}")
    answers.send({"spec": spec, **row})
    answers.close()


def _row(spec: str, limits: Limits) -> dict[str, Any]:
    started = time.perf_counter()
    architecture, changed = _built(spec)
    built = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TraceWarning)
        graph = graph_of(architecture, Tracing(seconds=limits.seconds / 2))
    traced = time.perf_counter()
    prediction = prediction_of(
        architecture, graph, initializer_of(INIT), init=INIT, seed=0, dtype=None, requested=Requested(arch=spec)
    )
    manifest = architecture.manifest
    unreachable = graph.unreachable()
    return {
        "built": True,
        "changed": dict(changed),
        "traced_by": graph.traced_by,
        "trace_failures": list(graph.failures),
        "nodes": len(graph),
        "elements": manifest.elements,
        "by_rule": prediction.by_rule,
        "by_role": dict(elements_by_role(graph, manifest)),
        "named": 1.0 - prediction.by_rule.get(PLAIN, 0) / max(manifest.elements, 1),
        "unreachable": unreachable[:MOST_NAMES],
        "unreachable_elements": sum(manifest[name].elements for name in unreachable),
        "build_seconds": round(built - started, 3),
        "trace_seconds": round(traced - built, 3),
        "rules_seconds": round(time.perf_counter() - traced, 3),
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def _built(spec: str) -> tuple[Architecture, Mapping[str, Any]]:
    """Build the network with fewer layers, experts and words where its config has them; else as it comes."""
    changes = shrinking(spec)
    if changes:
        try:
            return resolve(spec, changes), changes
        except ParamgenError:
            pass
    return resolve(spec), {}
