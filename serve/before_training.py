"""What the page shows of a network before training: signals by layer and guessing bias, of networks that run quickly.

The network runs three times on a few examples of noise and once back, in the thread of the request. How large it may be
is known before its first tensor; whatever stays within that ends with the request's own clock.
"""

from collections.abc import Mapping
from math import prod
from typing import Any, Final

import torch
from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.diagnosis import measures
from paramgen.diagnosis.results import judged, labels_of
from paramgen.diagnosis.sample import noise_sample
from paramgen.diagnosis.trial import Trial
from paramgen.errors import ParamgenError, one_line
from paramgen.graphs.schema import UNORDERED, Graph
from paramgen.prediction import Prediction
from serve.page_words import on_the_page

WHAT: Final = ("signal", "guessing")
EXAMPLES: Final = 8
MAX_ELEMENTS: Final = 15_000_000
MAX_ACTIVATIONS: Final = 4_000_000  # numbers that the operations of one example return
_HELD: Final = 4  # times: what layers return between operations, doubled examples, gradients
_COPIES: Final = 4  # of the weights: as predicted, in the network, their gradients, one operation's own
_ROWS: Final = ("square", "gradient")


def hindrance(prediction: Prediction) -> str:
    """Return why the network is not run; empty where it is."""
    architecture, graph = prediction.architecture, prediction.graph
    elements = architecture.manifest.elements
    if architecture.module is None:
        return "A graph is no network that can be run."
    if graph.traced_by in UNORDERED:
        return "Its forward pass cannot be followed."
    if elements > MAX_ELEMENTS:
        return f"It has {elements:,} elements; networks of up to {MAX_ELEMENTS:,} are run here."
    if (activations := _activations(architecture, graph)) > MAX_ACTIVATIONS:
        return f"Its operations return {activations:,} numbers; up to {MAX_ACTIVATIONS:,} are allowed here."
    return ""


def memory_of(prediction: Prediction) -> int:
    """Return about how many bytes it takes; 0 where the network is not run."""
    if hindrance(prediction):
        return 0
    activations = _activations(prediction.architecture, prediction.graph)
    return 4 * (_HELD * EXAMPLES * activations + _COPIES * prediction.architecture.manifest.elements)


def _activations(architecture: Architecture, graph: Graph) -> int:
    """Return how many numbers the operations of one example return."""
    examples = max(1, _examples(architecture))
    return sum(prod(node.shape) for node in graph.nodes if node.slot is None) // examples


def _examples(architecture: Architecture) -> int:
    given = () if architecture.example is None else (*architecture.example[0], *architecture.example[1].values())
    return next((len(each) for each in given if isinstance(each, Tensor) and each.dim()), 1)


def before_training(prediction: Prediction, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the figures, their lights, advice and the rows of layers; or the reason why there are none."""
    if reason := hindrance(prediction):
        return {"reason": reason}
    architecture = prediction.architecture
    try:
        with torch.enable_grad():
            sample = noise_sample(architecture, prediction.graph, examples=EXAMPLES, seed=prediction.seed)
            trial = Trial(architecture, tensors, sample, seed=prediction.seed, graph=prediction.graph)
            observed = {name: measures.get(name)().observe(trial) for name in WHAT}
    except (ParamgenError, RuntimeError) as error:
        return {"reason": on_the_page(one_line(error))[:300]}
    figures, advice = [], list[str]()
    for name, one in observed.items():
        found = measures.get(name)().figures([one])
        lights, sentences = judged(measures.get(name)(), found)
        labels = labels_of(name)
        figures += [
            {"label": labels[each], "value": _short(value), "light": lights.get(each)} for each, value in found.items()
        ]
        advice += sentences
    profile = observed["signal"].profile
    layers: dict[str, dict[str, float | None]] = {} if profile is None else {name: {} for name in profile.layers}
    if profile is not None:
        for row in _ROWS:
            for name, value in zip(profile.layers, profile.values[row], strict=True):
                layers[name].setdefault(row, _short(value))  # of a layer that runs twice, the first time
    return {"source": sample.source, "examples": EXAMPLES, "figures": figures, "advice": advice, "layers": layers}


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")
