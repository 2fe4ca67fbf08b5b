import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from paramgen.errors import HypernetError
from paramgen.graphs.views.view import View
from paramgen.hypernets.config import HypernetConfig
from paramgen.hypernets.encoders.gated_gnn import GatedGnn, GatedGnnConfig

CONFIG = GatedGnnConfig(hidden=16, primitives=20, channels=(10,), spatial=11, cutoff=50, final_norm=True)


@pytest.fixture(params=[50, 1], ids=["ghn2", "ghn1"])
def network(request: pytest.FixtureRequest) -> GatedGnn:
    torch.manual_seed(0)
    return replace(CONFIG, cutoff=request.param, final_norm=request.param > 1).build()


def one_by_one(network: GatedGnn, view: View) -> Tensor:
    """The equations as they stand: every node in turn, every neighbour by itself (arXiv:2110.13100, eq. 3 and 4)."""
    states = list(network._embed(view))
    nodes = range(len(states))

    def update(node: int, others: Callable[[int, int], int]) -> None:
        message = torch.zeros_like(states[node])
        for other in nodes:
            distance = others(other, node)
            if distance == 1:
                message = message + network.near(states[other])
            if distance > 0 and network.far is not None:
                message = message + network.far(states[other]) / distance
        states[node] = network.gru(message[None], states[node][None])[0]

    for node in nodes:
        update(node, lambda other, node: int(view.distances[other, node]))
    for node in reversed(nodes):
        update(node, lambda other, node: int(view.distances[node, other]))
    return network.norm(torch.stack(states))


def test_nodes_are_updated_in_turn(network: GatedGnn, view: View) -> None:
    assert torch.allclose(network(view), one_by_one(network, view), atol=1e-6)


def test_branches_of_a_graph_do_not_see_each_other(network: GatedGnn, view: View) -> None:
    """Parallel branches share a turn; edges that do not follow the order of the nodes must still be obeyed."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(10):
        distances = torch.randint(-3, 4, (6, 6), generator=generator).clamp(min=0)
        odd = replace(view, distances=distances.fill_diagonal_(0))
        assert torch.allclose(network(odd), one_by_one(network, odd), atol=1e-6)


def test_without_edges_nodes_are_on_their_own(network: GatedGnn, view: View) -> None:
    alone = replace(view, distances=torch.zeros(6, 6, dtype=torch.uint8))
    changed = replace(alone, primitives=torch.tensor([1, 2, 10, 6, 14, 16]))
    difference = (network(alone) - network(changed)).abs().sum(1)
    assert difference[0] > 0
    assert torch.equal(difference[1:], torch.zeros(5))


def test_news_travels_both_ways(network: GatedGnn, view: View) -> None:
    for end in (0, 5):
        primitives = view.primitives.clone()
        primitives[end] = 7
        difference = (network(view) - network(replace(view, primitives=primitives))).abs().sum(1)
        assert bool((difference > 0).all())


def test_gradients_reach_every_parameter(network: GatedGnn, view: View) -> None:
    network(view).square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    near: Any = network.near[0]
    assert float(near.weight.grad.abs().sum()) > 0


def test_virtual_edges_need_a_network_of_their_own() -> None:
    names = {name.partition(".")[0] for name, _ in CONFIG.build().named_parameters()}
    assert names == {"primitive", "channel", "spatial", "near", "far", "gru", "norm"}
    without = replace(CONFIG, cutoff=1, final_norm=False).build()
    assert {name.partition(".")[0] for name, _ in without.named_parameters()} == names - {"far", "norm"}
    first: Any = without.near[0]
    other: Any = CONFIG.build().near[0]
    assert first.out_features == 2 * other.out_features


def test_the_configuration_goes_through_json(published: HypernetConfig) -> None:
    config = replace(published, encoder=CONFIG)
    data = json.loads(json.dumps(config.to_json()))
    assert data["encoder"]["kind"] == "gated_gnn"
    assert HypernetConfig.from_json(data) == config


@pytest.mark.parametrize(
    ("field", "value"), [("hidden", 18), ("hidden", 0), ("cutoff", 0), ("cutoff", 255), ("spatial", 0)]
)
def test_sizes_that_cannot_be_are_refused(field: str, value: int) -> None:
    changes: dict[str, Any] = {field: value}
    with pytest.raises(HypernetError, match=f"encoder.{field}"):
        replace(CONFIG, **changes)


def test_a_primitive_that_is_not_known_is_refused(view: View) -> None:
    with pytest.raises(HypernetError, match="A primitive of index 16"):
        replace(CONFIG, primitives=16).build()(view)
