"""Architecture-aware scaling: equal second moments at every node of a graph, and the learning rate's factor."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import paramgen
from paramgen.prediction import prepare

WIDTH, NODES = 256, 5


class Acyclic(nn.Module):
    """Every node is the sum of a layer of the activations of each node before it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 4)
        self.layers = nn.ModuleDict(
            {f"{source}_{node}": nn.Linear(WIDTH, WIDTH) for node in range(1, NODES) for source in range(node)}
        )

    def nodes(self, inputs: Tensor) -> list[Tensor]:
        found = [self.stem(inputs)]
        for node in range(1, NODES):
            total = self.layers[f"0_{node}"](found[0].relu())
            for source in range(1, node):
                total = total + self.layers[f"{source}_{node}"](found[source].relu())
            found.append(total)
        return found

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.nodes(inputs)[-1].relu())


def squares(init: str) -> list[float]:
    """Return the mean square at each node, over several seeds."""
    module, inputs = Acyclic(), torch.randn(256, WIDTH, generator=torch.Generator().manual_seed(0))
    found = torch.zeros(NODES)
    for seed in range(4):
        state = prepare(module, init=init, example_input=((inputs[:2],), {}), seed=seed).state_dict()
        module.load_state_dict(state)
        with torch.no_grad():
            found += torch.stack([each.square().mean() for each in module.nodes(inputs)]) / 4
    return found.tolist()


def test_every_node_has_the_same_second_moment_where_hes_grows() -> None:
    found = squares("topology")
    assert max(found) / min(found) < 1.12
    grown = squares("he")
    assert grown[-1] / grown[0] > 4


def chain(depth: int) -> nn.Sequential:
    layers = [layer for _ in range(depth) for layer in (nn.Linear(8, 8), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(8, 2))


def factor(network: nn.Module, *shape: int) -> float:
    prediction = prepare(network, init="topology", example_input=((torch.randn(shape),), {}))
    found = prediction.resolved.describe()["learning_rate_factor"]
    assert isinstance(found, float)
    return found


def test_the_learning_rates_factor_of_chains_and_of_a_sum_of_two_paths() -> None:
    assert factor(chain(1), 2, 8) == pytest.approx(1.0)
    assert factor(chain(2), 2, 8) / factor(chain(32), 2, 8) == pytest.approx(64)

    class Two(nn.Module):
        """Paths of one and of two activations."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            states = self.first(inputs).relu()
            return self.head(states + self.second(states).relu())

    assert factor(Two(), 2, 8) == pytest.approx((1 + 8) ** -0.5)
    images = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    assert factor(images, 2, 3, 4, 4) == pytest.approx(1 / 3)


def test_the_output_is_divided_by_its_fan_in_and_the_record_has_the_factor(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(8, 256), nn.ReLU(), nn.Linear(256, 100))
    written = paramgen.write(network, tmp_path / "made", init="topology", example_input=torch.randn(2, 8))
    state = written.prediction.state_dict()
    assert float(state["2.weight"].std()) == pytest.approx(1 / 256, rel=0.03)
    record = json.loads((tmp_path / "made" / "paramgen.json").read_text())
    assert "learning_rate_factor" in json.dumps(record)
