"""Learning rates layer by layer, by the rule of muP for Adam (Yang et al., 2022, arXiv:2203.03466, table 3).

The learning rate of a hidden or an output matrix is multiplied by base / fan-in, with the base of `--init mup`. That of
what has a fan-in that does not grow with the width is not: what reads the network's input, tables, biases, norms and
depthwise convolutions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from torch import Tensor, nn

from paramgen.comparison.models import ModelUnderTest
from paramgen.errors import OptionError
from paramgen.graphs.analysis.roles import Flow, linear_maps_of
from paramgen.graphs.ops import WEIGHT_OPS
from paramgen.graphs.schema import Graph
from paramgen.slots.manifest import state_of


@final
@dataclass(frozen=True, slots=True)
class LrFactors:
    """By what the learning rate of some weights is multiplied, by slot; that of others is not."""

    by_slot: Mapping[str, float]

    def by_parameter(self, module: nn.Module) -> dict[Tensor, float]:
        """Return the factors of a module's parameters."""
        state = reversed(state_of(module).items())  # of a weight with two names, the first
        return {tensor: self.by_slot[name] for name, tensor in state if name in self.by_slot}


def parameter_groups(module: nn.Module, factors: Mapping[Tensor, float], *, decay: float) -> list[dict[str, Any]]:
    """Return the optimizer's parameter groups, one for each factor; that of a parameter without one is 1.

    AdamW takes learning rate times decay off each weight. muP leaves that product alone, so the decay of a group is
    divided by its factor, as the authors' optimizers do it.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    for parameter in module.parameters():
        if parameter.requires_grad:
            groups.setdefault(factors.get(parameter, 1.0), []).append(parameter)
    return [{"params": found, "lr_factor": factor, "weight_decay": decay / factor} for factor, found in groups.items()]


def no_factors() -> LrFactors:
    """Return the same learning rate for all weights."""
    return LrFactors({})


def mup_factors(model: ModelUnderTest, base: int) -> LrFactors:
    """Return by what muP multiplies the learning rate of each hidden and output matrix, at a base fan-in.

    Raises:
        OptionError: There is none that can be followed, or there are recurrent weights, whose fan-in is not known.
    """
    graph, manifest = model.graph, model.architecture.manifest
    instead = "Give all weights the same learning rates: --lr 3e-4,1e-3,3e-3"
    recurrent = next((node.slot for node in graph.nodes if node.op == "recurrent" and node.slot), None)
    if recurrent is not None:
        raise OptionError(
            f"muP's learning rates are known for linear layers and convolutions; {model.name} has recurrent weights, "
            f"such as {recurrent}. {instead}"
        )
    behind = _behind_weights(graph)
    by_slot = {
        name: base / each.fan_in
        for name, each in linear_maps_of(graph, manifest).items()
        if behind[each.node] and each.kind != "depthwise"
    }
    if not by_slot:
        raise OptionError(
            f"muP's learning rates are those of hidden and output matrices, and none was found in {model.name}. "
            f"{instead}"
        )
    low, high = min(by_slot.values()), max(by_slot.values())
    model.notes.append(
        f"By muP, the learning rates of {len(by_slot)} matrices of {model.name} are multiplied by {base} / fan-in: by "
        f"{low:.3g}" + (f" to {high:.3g}." if high > low else ".")
    )
    return LrFactors(by_slot)


def _behind_weights(graph: Graph) -> list[bool]:
    """Return for each node whether what enters it comes from a weight: its width is then one of the network's own."""
    flow = Flow(graph)
    found: list[bool] = []
    for sources in flow.before:
        found.append(
            any(source < len(found) and (found[source] or flow.op(source) in WEIGHT_OPS) for source in sources)
        )
    return found
