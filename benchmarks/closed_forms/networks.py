"""Small networks that show what an initialization does to signals, and how they are filled."""

from collections.abc import Callable, Iterable
from statistics import mean, stdev
from typing import Any, Final, final

import torch
from torch import Tensor, nn

import paramgen
from paramgen.architectures.inputs import parse_example_input
from paramgen.initializers import initializer_of
from paramgen.prediction import describe, prediction_of

SEEDS: Final = range(5)


def filled(build: Callable[[], nn.Module], init: str, seed: int, example: Any) -> nn.Module:
    """Return a network with the weights that an initializer, with its modifiers, predicts for it."""
    with torch.device("meta"):
        bare = build()
    prediction = paramgen.predict(bare, init=init, seed=seed, example_input=example)
    module = build()
    module.load_state_dict(prediction.state_dict())
    return module.eval()


def states_of(
    build: Callable[[], nn.Module], inits: Iterable[str], seeds: Iterable[int], example: str
) -> dict[str, dict[int, dict[str, Tensor]]]:
    """Return initial weights by initializer and seed; the network is traced once, and keeps what none of them fills."""
    architecture, graph = describe(build(), example_input=parse_example_input(example))
    return {
        init: {
            seed: prediction_of(
                architecture, graph, initializer_of(init), init=init, seed=seed, dtype=None
            ).state_dict()
            for seed in seeds
        }
        for init in inits
    }


def normal(*shape: int, seed: int) -> Tensor:
    """Return normal numbers that the seed decides."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(1000 + seed))


def spread(values: list[float]) -> dict[str, float]:
    """Return mean and standard deviation over seeds, of four digits."""
    return {"mean": float(f"{mean(values):.4g}"), "std": float(f"{stdev(values):.4g}")}


@final
class Plain(nn.Module):
    """Linear layers with one activation between them; `states` returns what comes out of each before it."""

    def __init__(
        self, width: int, depth: int, activation: Callable[[Tensor], Tensor], *, inputs: int | None = None
    ) -> None:
        super().__init__()
        first = width if inputs is None else inputs
        self.layers = nn.ModuleList(nn.Linear(width if layer else first, width) for layer in range(depth))
        self.head, self.activation = nn.Linear(width, 10), activation

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the answers."""
        return self.head(self.activation(self.states(inputs)[-1]))

    def states(self, inputs: Tensor) -> list[Tensor]:
        """Return the pre-activations of every layer."""
        found: list[Tensor] = []
        for layer in self.layers:
            found.append(layer(self.activation(found[-1]) if found else inputs))
        return found


@final
class Branches(nn.Module):
    """A linear layer, then residual blocks without norms, each behind a gate of its own: x + gate F(x)."""

    def __init__(self, width: int, depth: int, inputs: int) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(inputs, width), nn.Linear(width, 10)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.gates = nn.ParameterList(torch.ones(()) for _ in range(depth))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the answers."""
        return self.head(self.states(inputs)[-1])

    def states(self, inputs: Tensor) -> list[Tensor]:
        """Return what comes out of every block."""
        found = [self.first(inputs)]
        for layer, gate in zip(self.layers, self.gates, strict=True):
            found.append(found[-1] + gate * layer(found[-1]).relu())
        return found


@final
class Maxout(nn.Module):
    """Layers whose units are the largest of `rank` linear ones."""

    def __init__(self, width: int, depth: int, rank: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width * rank) for _ in range(depth))
        self.head, self.rank = nn.Linear(width, 10), rank

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the answers."""
        return self.head(self.states(inputs)[-1])

    def states(self, inputs: Tensor) -> list[Tensor]:
        """Return the outputs of every layer."""
        found: list[Tensor] = []
        for layer in self.layers:
            found.append(layer(found[-1] if found else inputs).unflatten(1, (-1, self.rank)).amax(-1))
        return found


@final
class Dense(nn.Module):
    """Five nodes, each the sum of linear maps of all before it."""

    def __init__(self, width: int = 256, nodes: int = 5) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(width, width), nn.Linear(width, 10)
        self.edges = nn.ModuleList(
            nn.ModuleList(nn.Linear(width, width) for _ in range(node)) for node in range(1, nodes)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the answers."""
        return self.head(self.states(inputs)[-1].relu())

    def states(self, inputs: Tensor) -> list[Tensor]:
        """Return the pre-activations of every node."""
        found = [self.first(inputs)]
        for edges in self.edges:
            total = edges[0](found[0].relu())  # type: ignore[index]  # a ModuleList
            for edge, state in zip(list(edges)[1:], found[1:], strict=True):  # type: ignore[call-overload]
                total = total + edge(state.relu())
            found.append(total)
        return found
