"""A closed-form initializer of one's own is a formula for one linear map; the base class does the rest."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from paramgen.architectures.module import from_module
from paramgen.graphs.analysis.roles import LinearMap
from paramgen.graphs.tracing.trace import trace
from paramgen.initializers.library import default_weights
from paramgen.initializers.linear_maps import LinearMapInitializer, LinearMaps


@final
@dataclass(frozen=True, kw_only=True)
class Ones(LinearMapInitializer):
    """Convolutions hold ones divided by the number of linear maps; linear layers are the library's."""

    def rule(self, linear_map: LinearMap) -> str | None:
        return "ones" if linear_map.kind == "conv" else None

    def weights(self, linear_map: LinearMap, maps: LinearMaps, generator: torch.Generator) -> Tensor:
        shape = (linear_map.groups, linear_map.out, linear_map.fan, *linear_map.kernel)
        return torch.full(shape, 1.0 / len(maps.by_slot))


def test_a_formula_fills_its_maps_and_the_library_the_rest() -> None:
    with torch.device("meta"):
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 2))
    architecture = from_module(network, ((torch.zeros(1, 3, 8, 8),), {}))
    assert architecture.module is not None and architecture.example is not None
    graph = trace(architecture.module, architecture.manifest, architecture.example)
    rules = Ones().rules(architecture, graph)
    assert (rules["0.weight"], rules["0.bias"]) == ("ones", "zero")
    assert {rules[name] for name in ("1.weight", "3.weight", "3.bias")} == {"library"}
    found = dict(Ones().tensors(architecture, graph, seed=5))
    assert found.keys() == rules.keys()
    assert torch.equal(found["0.weight"], torch.full((4, 3, 3, 3), 0.5)) and not found["0.bias"].any()
    for name in ("3.weight", "3.bias"):
        assert torch.equal(found[name], default_weights(architecture.manifest[name], 5))
