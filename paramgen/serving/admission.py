"""Limits for untrusted callers, on the network and on the initializer, checked before the first tensor."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, final

from paramgen.architectures import Architecture
from paramgen.errors import ArchitectureError, OptionError, ParamgenError, one_line
from paramgen.graphs.graph_json import graph_from_data
from paramgen.graphs.schema import Graph
from paramgen.initializers.auto import MAX_RUN
from paramgen.initializers.modified import Modified
from paramgen.modifiers.lowrank import LOWRANK
from paramgen.prediction import Prediction, describe
from paramgen.registry.chains import split_chain
from paramgen.serving.memory import peak_memory

MAX_SIDE: Final = 8192
MAX_ATTRIBUTES: Final = 64  # of one node: those that are traced have up to ten
MAX_DENOISING: Final = 50  # steps
_FACTORED: Final = ("orthogonal", "lsuv", "mimetic", "idinit", "cai", "eoc", "impulse")
_SYSTEM: Final = (MemoryError, OSError)


@final
@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one request may take: nodes of a graph, elements of a network, bytes of memory (None: any number)."""

    nodes: int = 20_000
    elements: int = 2_000_000_000
    memory: int | None = None


def graph_within(data: Any, limits: Limits) -> tuple[Architecture, Graph]:
    """Return the network of a parsed graph; the lengths of its lists are checked first.

    Raises:
        OptionError: The graph is too large.
        GraphError: It is no valid graph.

    """
    for part in ("nodes", "slots"):
        if isinstance(data, dict) and isinstance(data.get(part), list):
            _refuse_many(len(data[part]), part, limits)
            for each in data[part]:
                _refuse_attributes(each)
    return _within(*graph_from_data(data), limits)


def _refuse_attributes(node: Any) -> None:
    found = node.get("attributes") if isinstance(node, dict) else None
    if isinstance(found, dict) and len(found) > MAX_ATTRIBUTES:
        raise OptionError(f"A node of {len(found):,} attributes; at most {MAX_ATTRIBUTES} are served.")


def network_within(name: str, overrides: Mapping[str, Any], limits: Limits) -> tuple[Architecture, Graph]:
    """Build and trace a network by its name; any exception that its library raises becomes an ArchitectureError.

    Raises:
        ArchitectureError: It cannot be built with these options.
        OptionError: It is too large.

    """
    try:
        built = describe(name, overrides=overrides)
    except (ParamgenError, *_SYSTEM):
        raise
    except Exception as error:
        if isinstance(error.__cause__, _SYSTEM) or "can't allocate" in str(error):
            raise
        raise ArchitectureError(
            f"Cannot build {one_line(name)!r}: {type(error).__name__}: {one_line(error)}. Check the values that are "
            "set."
        ) from error
    return _within(*built, limits)


def _within(architecture: Architecture, graph: Graph, limits: Limits) -> tuple[Architecture, Graph]:
    _refuse_many(len(graph), "nodes", limits)
    _refuse_many(len(architecture.manifest), "slots", limits)
    elements = architecture.manifest.elements
    if elements > limits.elements:
        raise OptionError(f"A network of {elements:,} elements; at most {limits.elements:,} are served.")
    return architecture, graph


def _refuse_many(count: int, part: str, limits: Limits) -> None:
    if count > limits.nodes:
        raise OptionError(f"A graph of {count:,} {part}; at most {limits.nodes:,} are served.")


def peak_within(prediction: Prediction, limits: Limits) -> int:
    """Return how many bytes of memory a prediction takes at its peak, if that is within the limits.

    Long single operations, which no clock can end, are refused too: factors of a large matrix, or a run of a large
    network.

    Raises:
        OptionError: The prediction would take too much.

    """
    from paramgen.initializers.diffusion import DiffusionInitializer  # which imports the Hub's libraries

    manifest = prediction.architecture.manifest
    first, then = split_chain(prediction.resolved_init)
    init = first.partition("?")[0]
    factored = init in _FACTORED or any(modifier.startswith(LOWRANK) for modifier in then)
    if prediction.initializer.runs_network and manifest.elements > MAX_RUN:
        raise OptionError(f"{init!r} runs the network, of {manifest.elements:,} elements; at most {MAX_RUN:,} are run.")
    filling = prediction.initializer
    inner = filling.inner if isinstance(filling, Modified) else filling
    if isinstance(inner, DiffusionInitializer) and inner.steps > MAX_DENOISING:
        raise OptionError(f"{inner.steps} steps of denoising; at most {MAX_DENOISING} are served.")
    for slot in manifest.filled:
        side = min(slot.shape[0], slot.elements // slot.shape[0]) if slot.shape and slot.shape[0] else 0
        drawn = slot.program is not None and any(step.operator.startswith("linalg") for step in slot.program.steps)
        if side > MAX_SIDE and (drawn or factored):
            raise OptionError(
                f"{slot.name!r} is a matrix whose shorter side is {side:,}; {init!r} is served up to {MAX_SIDE:,}."
            )
    peak = peak_memory(prediction)
    if limits.memory is not None and peak > limits.memory:
        raise OptionError(
            f"The prediction would take about {peak:,} bytes of memory; at most {limits.memory:,} are given to one. "
            "Request a smaller network, or another initializer."
        )
    return peak
