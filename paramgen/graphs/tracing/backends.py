"""Tracing backends: the tensors on which a network runs while it is traced, fake (without values) or real."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

from paramgen.architectures import Inputs
from paramgen.slots.torch_internals import FakeTensorMode, entries_of, tree_map

TracingBackend = Literal["fake tensors", "fake tensors on the CPU", "real tensors"]
Prepare = Callable[[Inputs], Inputs]
_SEED: Final = 0


@contextlib.contextmanager
def _on_meta(module: nn.Module) -> Iterator[Prepare]:
    """Leave the module on the meta device. Tensors that it makes go there, too."""

    def fake(leaf: Any) -> Any:
        return mode.from_tensor(leaf.to("meta")) if isinstance(leaf, Tensor) else leaf

    with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.device("meta"):
        yield lambda inputs: _mapped(fake, inputs)


@contextlib.contextmanager
def _on_cpu(module: nn.Module) -> Iterator[Prepare]:
    """Put tensors that claim to be on the CPU into the module: constants that its forward makes have values then."""
    known: dict[int, Tensor] = {}

    def fake(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        if id(leaf) not in known:
            like = torch.empty_strided(leaf.shape, leaf.stride(), dtype=leaf.dtype, device="cpu")
            parameter = isinstance(leaf, nn.Parameter)
            known[id(leaf)] = nn.Parameter(like, requires_grad=False) if parameter else like
        return known[id(leaf)]

    with FakeTensorMode(allow_non_fake_inputs=True):
        for child in module.modules():
            for held in entries_of(child):
                held.update({name: fake(tensor) for name, tensor in held.items()})
        yield lambda inputs: _mapped(fake, inputs)


@contextlib.contextmanager
def _for_real(module: nn.Module) -> Iterator[Prepare]:
    """Run the module, which has values, on inputs that have some, too: their own, or normal ones and zeros."""
    generator = torch.Generator().manual_seed(_SEED)

    def real(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or not leaf.is_meta:
            return leaf
        values = torch.zeros(leaf.shape, dtype=leaf.dtype)
        return values.normal_(generator=generator) if leaf.is_floating_point() else values

    yield lambda inputs: _mapped(real, inputs)


def _mapped(change: Callable[[Any], Any], inputs: Inputs) -> Inputs:
    args, kwargs = tree_map(change, (inputs[0], dict(inputs[1])))
    return args, kwargs


TRACING_BACKENDS: Final[Mapping[TracingBackend, Callable[[nn.Module], contextlib.AbstractContextManager[Prepare]]]] = {
    "fake tensors": _on_meta,
    "fake tensors on the CPU": _on_cpu,
    "real tensors": _for_real,
}
