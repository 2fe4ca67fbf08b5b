"""From a request to all that is known before the first tensor: network, initializer, layout of the file, ETag.

A network that is requested by name becomes its graph first, so that both kinds of request meet the same limits and give
the same bytes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import version
from typing import Any, Final, final

import torch

from paramgen.architectures import Architecture
from paramgen.architectures.spelling import SENT, Letters
from paramgen.errors import OptionError
from paramgen.graphs.graph_json import graph_to_json
from paramgen.graphs.schema import Graph
from paramgen.hypernets.spelled import LETTERS
from paramgen.hypernets.storage import shipped_hypernets
from paramgen.initializers import Initializer, complete_spec, initializer_of
from paramgen.output.planning import plan_files
from paramgen.prediction import Prediction, Requested, prediction_of
from paramgen.serving.admission import Limits, graph_within, network_within, peak_within
from paramgen.serving.allowlist import checked_arch, checked_init
from paramgen.storage.plan import Plan
from serve.recent import size_of
from serve.schemas import PredictRequest
from serve.settings import Settings

ONE_FILE: Final = 2**62


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """A network that passed the limits, the sha256 of its graph's JSON, and about how many bytes of memory it takes."""

    architecture: Architecture
    graph: Graph
    sha256: str
    nbytes: int


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Order:
    """A prediction that can be answered: one file, all of whose bytes are decided.

    `memory` is what it takes at its peak, `nbytes` what it takes to remember it, without its network.
    """

    prediction: Prediction
    plan: Plan
    etag: str
    memory: int
    nbytes: int

    @property
    def file(self) -> str:
        """Name of the weights file."""
        return next(iter(self.plan.sizes))

    @property
    def size(self) -> int:
        """Bytes of the weights file."""
        return self.plan.sizes[self.file]


def completed(request: PredictRequest) -> PredictRequest:
    """Return the request with prompt and modifiers in `init`, and with the network that this initializer has."""
    init = complete_spec(request.init, prompt=request.prompt, then=request.then)
    if request.prompt is None:
        return request.model_copy(update={"init": init, "then": []})
    init = checked_init(init, ())
    arch = request.arch
    if arch is None and request.graph is None:
        arch = _initializer(init).own_architecture()
    return request.model_copy(update={"prompt": None, "then": [], "init": init, "arch": arch})


def network_of(arch: str | None, overrides: Mapping[str, Any], graph: Any, settings: Settings) -> Network:
    """Build a named network or read a graph, within the limits."""
    if (arch is None) == (graph is None):
        raise OptionError("A request names a network (arch) or brings its graph (graph): one of the two.")
    limits = _limits(settings)
    if arch is None:
        if overrides:
            raise OptionError("`set` changes a named network; a graph is what it is.")
        return _network(*graph_within(graph, limits), settings)
    name, checked = checked_arch(arch, overrides)
    built, traced = network_within(name, checked, limits)
    read, graph = graph_within(json.loads(graph_to_json(built, traced)), limits)
    # Its module is kept for initializers that run the network.
    return _network(replace(read, module=built.module, example=built.example), graph, settings)


def _network(architecture: Architecture, graph: Graph, settings: Settings) -> Network:
    digest = sha256(graph_to_json(architecture, graph).encode()).hexdigest()
    return Network(architecture=architecture, graph=graph, sha256=digest, nbytes=_size(settings, architecture, graph))


def _limits(settings: Settings, memory: int | None = None) -> Limits:
    return Limits(nodes=settings.max_nodes, elements=settings.max_elements, memory=memory)


def _size(settings: Settings, *parts: Any) -> int:
    return size_of(*parts, most=settings.remembered_bytes)


def order_of(network: Network, request: PredictRequest, settings: Settings, memory: int | None = None) -> Order:
    """Resolve the initializer, plan the file, and refuse what would take more than `memory`.

    Raises:
        OptionError: The initializer is not served, or the file or the memory would be too large.

    """
    init = checked_init(request.init, {*shipped_hypernets(), *settings.hypernets})
    initializer = _initializer(init)
    if request.spelling is not None:
        initializer = initializer.with_tokenizer(SENT, Letters.from_text(request.spelling, LETTERS))
    prediction = prediction_of(
        network.architecture,
        network.graph,
        initializer,
        init=init,
        seed=request.seed,
        dtype=request.dtype,
        requested=Requested(arch=request.arch, overrides=request.overrides),
    )
    peak = peak_within(prediction, _limits(settings, memory))
    plan = plan_files(prediction, ONE_FILE)
    if (size := sum(plan.sizes.values())) > settings.max_bytes:
        raise OptionError(f"The file would have {size:,} bytes; at most {settings.max_bytes:,} are served.")
    return Order(
        prediction=prediction,
        plan=plan,
        etag=_etag(network, prediction, plan),
        memory=peak,
        nbytes=_size(settings, plan, prediction.rules, prediction.requested, request.spelling),
    )


@lru_cache(maxsize=16)  # a hypernet is read once
def _initializer(init: str) -> Initializer:
    return initializer_of(init)


def _etag(network: Network, prediction: Prediction, plan: Plan) -> str:
    """Return what tells the file from any other: all that its bytes depend on."""
    parts = [
        network.sha256,
        prediction.init,
        dict(prediction.resolved.describe()),
        prediction.seed,
        str(prediction.dtype),
        version("paramgen"),
        torch.__version__,
        *(sha256(head).hexdigest() for head in plan.heads.values()),
    ]
    return f'"{sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()}"'
