"""Networks of 20 layers of 64 that show what an initializer does to weights and signals, one of each kind."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor, nn

from benchmarks.closed_forms.networks import Branches, Maxout, Plain

WIDTH: Final = 64
DEPTH: Final = 20
SHOWN: Final = DEPTH // 2
"""The layer whose singular values are shown."""


@final
class Filters(nn.Module):
    """Convolutions with ReLU behind each, dense ones of 3 by 3 taps or depthwise ones of 7 by 7."""

    def __init__(self, *, depthwise: bool) -> None:
        super().__init__()
        size, groups = (7, WIDTH) if depthwise else (3, 1)
        self.layers = nn.ModuleList(
            nn.Conv2d(WIDTH, WIDTH, size, padding="same", padding_mode="circular", groups=groups) for _ in range(DEPTH)
        )
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the answers."""
        return self.head(self.states(inputs)[-1].relu().mean((2, 3)))

    def states(self, inputs: Tensor) -> list[Tensor]:
        """Return the pre-activations of every layer."""
        found: list[Tensor] = []
        for layer in self.layers:
            found.append(layer(found[-1].relu() if found else inputs))
        return found


@final
class Attention(nn.Module):
    """A vision transformer of one head, for images of 32 by 32 pixels."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import ViTConfig, ViTForImageClassification

        sizes = {
            "hidden_size": WIDTH,
            "num_hidden_layers": DEPTH,
            "num_attention_heads": 1,
            "intermediate_size": 4 * WIDTH,
        }
        self.network = ViTForImageClassification(
            ViTConfig.from_dict({**sizes, "image_size": 32, "patch_size": 4, "num_labels": 10})
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the answers."""
        return self.network(inputs).logits

    def states(self, inputs: Tensor) -> list[Tensor]:
        """Return what comes out of every block."""
        return list(self.network(inputs, output_hidden_states=True).hidden_states[1:])


@final
@dataclass(frozen=True, kw_only=True)
class Probe:
    """A network, what it is called, and the weights of which a matrix is shown: one, or two for their product."""

    said: str
    shown: str  # that matrix, in words
    build: Callable[[], nn.Module]
    example: tuple[int, ...]
    slots: tuple[str, ...] = (f"layers.{SHOWN}.weight",)

    @property
    def spec(self) -> str:
        """What `--arch` takes: built anew, a network has the default initialization of each seed."""
        return f"{__file__}:{self.build.__name__}"

    def matrix(self, state: Mapping[str, Tensor]) -> Tensor:
        """Return the matrix whose singular values are shown; of queries and keys, what attention scores are made by."""
        first, *others = (state[slot].flatten(1).double() for slot in self.slots)
        return first.T @ others[0] if others else first


def relu_layers() -> nn.Module:
    """Return linear layers with ReLU."""
    return Plain(WIDTH, DEPTH, torch.relu)


def tanh_layers() -> nn.Module:
    """Return linear layers with tanh."""
    return Plain(WIDTH, DEPTH, torch.tanh)


def branches() -> nn.Module:
    """Return residual blocks with gates."""
    return Branches(WIDTH, DEPTH, WIDTH)


def maxout() -> nn.Module:
    """Return layers of units that are the largest of two."""
    return Maxout(WIDTH, DEPTH, 2)


def attention() -> nn.Module:
    """Return a vision transformer."""
    return Attention()


def depthwise() -> nn.Module:
    """Return a filter for each channel, layer after layer."""
    return Filters(depthwise=True)


def filters() -> nn.Module:
    """Return convolutions."""
    return Filters(depthwise=False)


_BLOCK: Final = f"network.vit.layers.{SHOWN}.attention"
PROBES: Final[Mapping[str, Probe]] = {
    "relu": Probe(
        said="20 linear layers of 64 with ReLU",
        shown="a hidden weight, 64 by 64",
        build=relu_layers,
        example=(WIDTH,),
    ),
    "tanh": Probe(
        said="20 linear layers of 64 with tanh",
        shown="a hidden weight, 64 by 64",
        build=tanh_layers,
        example=(WIDTH,),
    ),
    "branches": Probe(
        said="20 residual blocks of 64, x + gate F(x), with ReLU and without norms",
        shown="a weight of a branch, 64 by 64",
        build=branches,
        example=(WIDTH,),
    ),
    "maxout": Probe(
        said="20 layers of 64 units, each the largest of two",
        shown="a hidden weight, 128 by 64",
        build=maxout,
        example=(WIDTH,),
    ),
    "attention": Probe(
        said="a vision transformer of 20 blocks, width 64 and one head",
        shown="queries times keys, 64 by 64",
        build=attention,
        example=(3, 32, 32),
        slots=(f"{_BLOCK}.q_proj.weight", f"{_BLOCK}.k_proj.weight"),
    ),
    "depthwise": Probe(
        said="20 depthwise convolutions of 7 by 7 taps and 64 channels with ReLU",
        shown="64 filters of 49 taps",
        build=depthwise,
        example=(WIDTH, 8, 8),
    ),
    "filters": Probe(
        said="20 convolutions of 3 by 3 taps and 64 channels with ReLU",
        shown="64 filters of 576 taps",
        build=filters,
        example=(WIDTH, 8, 8),
    ),
}
"""In the order in which they are tried for an initializer that has no network of its own."""

OWN: Final = {"eoc": "tanh", "cai": "filters", "rezero": "branches"}
"""Initializers whose network is not the first one with a matrix that they change."""

SPECS: Final = {
    "rezero": "rezero:he",
    "matched": "matched:orthogonal",
    "shuffled": "shuffled:orthogonal",
    "freeze": "freeze?by=magnitude",
}
"""What is shown of names that stand for little alone."""
