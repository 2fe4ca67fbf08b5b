"""Trace a network with one tracing backend after the other until one works, and remember why the others did not.

The backends are fake tensors, fake tensors on the CPU, and real tensors, where the network is small enough to be in
memory. If all fail, the graph has the network's modules alone, whose order of execution is not known; and if even that
breaks a limit, it has nothing: the default initialization needs no graph.
"""

import warnings
from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np
import torch
from torch import Tensor, nn

from paramgen.architectures import Architecture
from paramgen.architectures.materialize import materialize
from paramgen.errors import EndlessError, GraphError, MisfitError, ParamgenError, TraceError, TraceWarning
from paramgen.errors.option_names import in_python
from paramgen.graphs.schema import Graph, Node
from paramgen.graphs.tracing.backends import TRACING_BACKENDS
from paramgen.graphs.tracing.module_tree import module_tree
from paramgen.graphs.tracing.time_limit import MAX_SECONDS, checked_seconds
from paramgen.graphs.tracing.trace import trace
from paramgen.slots.init_program import slot_generator
from paramgen.slots.manifest import Manifest, Slot

MAX_REAL: Final = 200_000_000  # elements of a network that may be in memory to be traced


@final
@dataclass(frozen=True, kw_only=True)
class Tracing:
    """How a network may be traced."""

    strict: bool = False  # an unknown order of execution is an error
    seconds: float = MAX_SECONDS  # after which a forward pass is ended
    own_example: bool = False  # an example input that was given, not known or guessed, and does not fit is an error

    def __post_init__(self) -> None:
        checked_seconds(self.seconds)


STRICT: Final = Tracing(strict=True)


def graph_of(architecture: Architecture, tracing: Tracing = STRICT) -> Graph:
    """Return the graph of the first tracing backend that works, with the reasons why others failed.

    A `TraceWarning` says so where the order of execution is not known.

    Raises:
        TraceError: With `strict`, where no backend gives the order of execution.
        MisfitError: With `own_example`, where the forward pass refuses it.
    """
    module = architecture.module
    if module is None:
        raise TraceError(f"{architecture.spec} has no module to trace.")
    failures: list[str] = []
    try:
        return _traced(architecture, tracing.seconds, failures)
    except TraceError as error:  # what it says is among the failures
        if tracing.own_example and isinstance(error, MisfitError):
            raise MisfitError(f"The example input does not fit {architecture.spec}. {error.message}") from None
    unordered = _unordered(module, architecture.manifest, failures)
    if tracing.strict or not architecture.manifest:
        raise TraceError(unordered.reason)
    text = f"The order in which {architecture.spec} runs is not known. {unordered.reason}"
    warnings.warn(in_python(text), TraceWarning, stacklevel=2)
    return unordered


def _unordered(module: nn.Module, manifest: Manifest, failures: list[str]) -> Graph:
    """Return the graph of the modules; where that breaks a limit, one that knows nothing."""
    try:
        return replace(module_tree(module, manifest), failures=tuple(failures))
    except GraphError as error:
        nothing = Graph((Node(op="input", name="input"),), np.empty((0, 2), dtype=np.int64), "nothing")
        return replace(nothing, failures=(*failures, f"module tree: {error.message}"))


def _traced(architecture: Architecture, seconds: float, failures: list[str]) -> Graph:
    """Return the graph of the first backend that works; a forward pass that never returns is not run again."""
    example = architecture.example
    if example is None:
        failures.append(
            f"inputs: No example input is known for {architecture.spec}. Type: --example-input 2x3x32x32 (a shape, "
            "`:long` for indices) or --example-input file.py:function"
        )
        raise TraceError(failures[0])
    last: ParamgenError | None = None
    for backend in TRACING_BACKENDS:
        try:
            module = _with_values(architecture) if backend == "real tensors" else architecture.module
            assert module is not None  # `graph_of` has seen to that
            graph = trace(module, architecture.manifest, example, backend=backend, seconds=seconds)
        except ParamgenError as error:
            failures.append(f"{backend}: {error.message}")
            if backend != "real tensors" or architecture.manifest.elements <= MAX_REAL:
                last = error
            if isinstance(error, EndlessError):
                break
        else:
            return replace(graph, failures=tuple(failures))
    raise last if isinstance(last, TraceError) else TraceError(failures[0])


@torch.no_grad()
def _with_values(architecture: Architecture) -> nn.Module:
    """Return the network with its default initialization."""
    if architecture.manifest.elements > MAX_REAL:
        raise TraceError(
            f"{architecture.spec} has {architecture.manifest.elements:,} elements; at most {MAX_REAL:,} are put into "
            "memory to trace a network."
        )
    return materialize(architecture, {slot.name: _value(slot) for slot in architecture.manifest.filled})


def _value(slot: Slot) -> Tensor:
    return (
        torch.zeros(slot.shape, dtype=slot.dtype)
        if slot.program is None
        else slot.program(slot_generator(0, slot.name))
    )
