"""Small networks with values, made ready to be measured."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from paramgen.architectures.module import from_module
from paramgen.diagnosis.sample import tensor_sample
from paramgen.diagnosis.trial import Trial
from paramgen.slots.manifest import state_of

MakeTrial = Callable[..., Trial]


def mlp(
    depth: int, width: int, *, gain: float = 2**0.5, act: type[nn.Module] = nn.ReLU, outputs: int = 10
) -> nn.Module:
    """A plain network without biases; each weight has the std gain / sqrt(fan-in)."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(width, width, bias=False), act()]
    layers.append(nn.Linear(width, outputs, bias=False))
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=gain / width**0.5)
    return nn.Sequential(*layers)


@pytest.fixture
def plain() -> Callable[..., nn.Module]:
    return mlp


@pytest.fixture
def trial() -> MakeTrial:
    def made(module: nn.Module, inputs: Tensor, labels: Tensor | None = None, *, requested: bool = False) -> Trial:
        sample = tensor_sample(inputs if labels is None else (inputs, labels), examples=None)
        architecture = from_module(module, ((inputs.to("meta"),), {}))
        return Trial(architecture, state_of(module), sample, requested=requested)

    return made
