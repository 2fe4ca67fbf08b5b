"""From a request to everything that is known before the first tensor: network, start, layout of the file, ETag.

A named network becomes its graph first, so that both kinds of request pass the same limits and give the same bytes.
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
from paramgen.export.plan import Plan
from paramgen.graphs.schema import Graph
from paramgen.graphs.wire import graph_from_data, graph_to_json
from paramgen.hypernets.spelled import LETTERS
from paramgen.initializers import Initializer, initializer_of, with_prompts
from paramgen.initializers.auto import MAX_RUN
from paramgen.initializers.diffusion import DiffusionInitializer
from paramgen.names import checked_arch, checked_init, shipped_hypernets
from paramgen.prediction import Asked, Prediction, describe, settled
from paramgen.writing import plan_files
from serve.schemas import PredictRequest
from serve.settings import Settings

ONE_FILE: Final = 2**62
MAX_SIDE: Final = 8192
MAX_DENOISING: Final = 50  # steps
_FACTORED: Final = ("orthogonal", "lsuv", "mimetic", "idinit")


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """A network that passed the limits, and the sha256 of its graph's JSON."""

    architecture: Architecture
    graph: Graph
    sha256: str


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Order:
    """A prediction that can be answered: one file, all of whose bytes are decided."""

    prediction: Prediction
    plan: Plan
    etag: str

    @property
    def file(self) -> str:
        """Name of the weights file."""
        return next(iter(self.plan.sizes))

    @property
    def size(self) -> int:
        """Bytes of the weights file."""
        return self.plan.sizes[self.file]


def completed(request: PredictRequest) -> PredictRequest:
    """Return the same request with its words in the name of its start, and with the network that this start has."""
    if request.prompt is None:
        return request
    init = checked_init(with_prompts(request.init, request.prompt), ())
    arch = request.arch
    if arch is None and request.graph is None:
        arch = _initializer(init).own_architecture()
    return request.model_copy(update={"prompt": None, "init": init, "arch": arch})


def network_of(arch: str | None, overrides: Mapping[str, Any], graph: Any, settings: Settings) -> Network:
    """Build a named network or read a graph, within the limits."""
    if (arch is None) == (graph is None):
        raise OptionError("A request names a network (arch) or brings its graph (graph): one of the two.")
    if arch is None:
        if overrides:
            raise OptionError("`set` changes a named network; a graph is what it is.")
        return _read(graph, settings)
    name, checked = checked_arch(arch, overrides)
    built, traced = describe(name, overrides=checked)
    read = _read(json.loads(graph_to_json(built, traced)), settings)
    # Its module is kept for the one start that runs the network.
    return replace(read, architecture=replace(read.architecture, module=built.module, example=built.example))


def order_of(network: Network, request: PredictRequest, settings: Settings) -> Order:
    """Choose the start and plan the file."""
    init = checked_init(request.init, {*shipped_hypernets(), *settings.hypernets})
    initializer = _initializer(init)
    if request.spelling is not None:
        initializer = initializer.reading(SENT, Letters.from_text(request.spelling, LETTERS))
    prediction = settled(
        network.architecture,
        network.graph,
        initializer,
        init=init,
        seed=request.seed,
        dtype=request.dtype,
        asked=Asked(arch=request.arch, overrides=request.overrides),
    )
    _refuse_heavy(prediction)
    plan = plan_files(prediction, ONE_FILE)
    order = Order(prediction=prediction, plan=plan, etag=_etag(network, prediction, plan))
    if order.size > settings.max_bytes:
        raise OptionError(f"The file would have {order.size:,} bytes; at most {settings.max_bytes:,} are served.")
    return order


def _read(graph: Any, settings: Settings) -> Network:
    for part in ("nodes", "slots"):
        if isinstance(graph.get(part), list) and len(graph[part]) > settings.max_nodes:
            raise OptionError(f"A graph of {len(graph[part]):,} {part}; at most {settings.max_nodes:,} are served.")
    architecture, read = graph_from_data(graph)
    if architecture.manifest.elements > settings.max_elements:
        raise OptionError(
            f"A network of {architecture.manifest.elements:,} elements; at most {settings.max_elements:,} are served."
        )
    text = graph_to_json(architecture, read)
    return Network(architecture=architecture, graph=read, sha256=sha256(text.encode()).hexdigest())


@lru_cache(maxsize=16)  # a hypernet is read once
def _initializer(init: str) -> Initializer:
    return initializer_of(init)


def _refuse_heavy(prediction: Prediction) -> None:
    """Refuse what one long operation would need, which no watch can end: memory, or a large matrix's factors."""
    manifest = prediction.architecture.manifest
    start = prediction.chosen.get("chosen", prediction.init).partition("?")[0]
    if prediction.initializer.runs_network and manifest.elements > MAX_RUN:
        raise OptionError(
            f"{start!r} runs the network, of {manifest.elements:,} elements; at most {MAX_RUN:,} are run."
        )
    if isinstance(prediction.initializer, DiffusionInitializer) and prediction.initializer.steps > MAX_DENOISING:
        raise OptionError(f"{prediction.initializer.steps} steps of denoising; at most {MAX_DENOISING} are served.")
    for slot in manifest.filled:
        side = min(slot.shape[0], slot.elements // slot.shape[0]) if slot.shape and slot.shape[0] else 0
        drawn = slot.draw is not None and any(step.operator.startswith("linalg") for step in slot.draw.steps)
        if side > MAX_SIDE and (drawn or start in _FACTORED):
            raise OptionError(
                f"{slot.name!r} is a matrix whose shorter side is {side:,}; {start!r} is served up to {MAX_SIDE:,}."
            )


def _etag(network: Network, prediction: Prediction, plan: Plan) -> str:
    """Return what tells the file from any other: all that its bytes depend on."""
    parts = [
        network.sha256,
        prediction.init,
        dict(prediction.initializer.describe()),
        prediction.seed,
        str(prediction.dtype),
        version("paramgen"),
        torch.__version__,
        *(sha256(head).hexdigest() for head in plan.heads.values()),
    ]
    return f'"{sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()}"'
