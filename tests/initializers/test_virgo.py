"""Graph networks: the variance of a layer's outputs is the same in every layer of a given graph."""

import pytest
import torch
from torch import Tensor, nn

import paramgen
from paramgen.initializers.virgo import propagate
from paramgen.prediction import prepare

geometric = pytest.importorskip("torch_geometric.nn")
NODES, DEPTH = 60, 8


class Convolutions(nn.Module):
    """Eight graph convolutions."""

    def __init__(self, kind: str = "GCNConv") -> None:
        super().__init__()
        make = getattr(geometric, kind)
        self.layers = nn.ModuleList(make(64, 64) for _ in range(DEPTH))

    def forward(self, features: Tensor, edge_index: Tensor) -> Tensor:
        return self.outputs(features, edge_index)[-1]

    def outputs(self, features: Tensor, edge_index: Tensor) -> list[Tensor]:
        found = []
        for layer in self.layers:
            features = layer(features, edge_index)
            found.append(features)
            features = features.relu()
        return found


@pytest.fixture(scope="module")
def example() -> tuple[Tensor, Tensor]:
    """A star with a ring around it: degrees differ, as in real graphs."""
    ring = torch.arange(1, NODES)
    pairs = torch.cat((torch.stack((torch.zeros_like(ring), ring)), torch.stack((ring, ring.roll(1)))), 1)
    features = torch.randn(NODES, 64, generator=torch.Generator().manual_seed(0)) + 1
    return features, torch.cat((pairs, pairs.flip(0)), 1)


def spread(init: str, example: tuple[Tensor, Tensor]) -> float:
    """Return the standard deviation over layers of the logarithm of the outputs' mean square."""
    module, squares = Convolutions(), torch.zeros(DEPTH)
    for seed in range(6):
        module.load_state_dict(prepare(module, init=init, example_input=(example, {}), seed=seed).state_dict())
        for layer in module.layers:
            nn.init.zeros_(layer.get_parameter("bias"))
        with torch.no_grad():
            squares += torch.stack([each.square().mean() for each in module.outputs(*example)])
    return float(squares.log().std())


def test_every_layer_has_the_same_variance_where_xaviers_vanishes(example: tuple[Tensor, Tensor]) -> None:
    assert spread("virgo", example) < 0.5 < spread("xavier", example)


def test_propagation_is_the_layers_own(example: tuple[Tensor, Tensor]) -> None:
    _, edges = example
    states = torch.randn(NODES, 1, generator=torch.Generator().manual_seed(1))
    layer = geometric.GCNConv(1, 1, bias=False)
    nn.init.ones_(layer.lin.weight)
    with torch.no_grad():
        wanted = layer(states, edges)[:, 0]
    assert torch.allclose(propagate(states[:, 0], edges, "normalized"), wanted, atol=1e-5)


def test_sage_has_two_weights_a_layer_and_backward_counts_from_the_output(example: tuple[Tensor, Tensor]) -> None:
    prediction = prepare(Convolutions("SAGEConv"), init="virgo?keep=backward", example_input=(example, {}))
    filled = {name for name, rule in prediction.rules.items() if rule == "virgo"}
    assert filled == {f"layers.{layer}.lin_{side}.weight" for layer in range(DEPTH) for side in "lr"}
    assert "the example's graph of 60 nodes" in prediction.remarks[-1]


def test_networks_without_graph_layers_are_told_what_to_type() -> None:
    with pytest.raises(paramgen.ParamgenError, match="it has no layer of torch_geometric"):
        paramgen.predict(nn.Linear(4, 4), init="virgo")
