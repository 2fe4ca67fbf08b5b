"""Lazy modules (`nn.LazyLinear` and its kind), whose tensors have no shape before they have seen an input.

An example input goes once through a copy on the meta device. What each lazy layer was given there gives its sizes, for
another copy or for the module itself: that one is not run.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import is_lazy

from paramgen.architectures import Inputs
from paramgen.architectures.memory import meta_copy
from paramgen.architectures.recorder import watched
from paramgen.errors import ArchitectureError, one_line
from paramgen.slots.determinism import seeded_randomness
from paramgen.slots.torch_internals import entries_of, infer_shapes, tree_map

Given = Mapping[str, Inputs]
"""What each lazy layer was given first, by its path."""

_SIZES: Final = {"num_features": 0, "in_features": 1, "in_channels": 1}  # which side of a weight has it


def lazy_names(module: nn.Module) -> list[str]:
    """Return the names of the parameters and buffers without a shape."""
    return [name for name, tensor in (*module.named_parameters(), *module.named_buffers()) if is_lazy(tensor)]


def with_shapes(module: nn.Module, example: Inputs | None) -> nn.Module:
    """Give every lazy layer the shape that follows from the example input, in place, and return the module.

    Values are those of the layers' own initialization; the caller's random state stays what it was.

    Raises:
        ArchitectureError: There is no example input, or it does not reach every lazy layer.
    """
    names = lazy_names(module)
    if not names:
        return module
    if example is None:
        raise ArchitectureError(
            f"{names[0]!r} of {type(module).__name__} has no shape before the first forward pass. Give an example "
            "input: --example-input 2x3x32x32; in Python: example_input=torch.zeros(2, 3, 32, 32)"
        )
    layers = dict(module.named_modules())
    with seeded_randomness(), torch.no_grad():
        for path, (args, kwargs) in _given(module, example).items():
            infer_shapes(layers[path], args, kwargs)
    if left := lazy_names(module):
        raise ArchitectureError(
            f"{left[0]!r} of {type(module).__name__} has no shape: the example input does not reach its layer. Give "
            "one that does, or run the module once yourself: module(example_input)"
        )
    return module


def shaped(layer: nn.Module, tensor: Tensor, shape: tuple[int, ...]) -> None:
    """Give a lazy tensor of a layer its shape, as a stored one of this shape is to be put there."""
    lazy: Any = tensor
    with torch.no_grad():
        lazy.materialize(shape)
    weight = entries_of(layer)[0].get("weight")
    if weight is None or is_lazy(weight):
        return
    for name, side in _SIZES.items():
        if getattr(layer, name, None) == 0 and weight.dim() > side:
            setattr(layer, name, weight.shape[side])


def _given(module: nn.Module, example: Inputs) -> Given:
    """Run a copy on the meta device and return what its lazy layers were given."""
    found: dict[str, Inputs] = {}

    def noting(path: str) -> Callable[[nn.Module, Any, Any], None]:
        return lambda layer, args, kwargs: found.setdefault(path, tree_map(_like, (args, kwargs))) and None

    def run() -> None:
        twin = meta_copy(module).eval()
        for path in {name.rpartition(".")[0] for name in lazy_names(twin)}:
            layer = twin.get_submodule(path)
            if isinstance(layer, LazyModuleMixin):
                layer.register_forward_pre_hook(noting(path), prepend=True, with_kwargs=True)
        twin(*args, **kwargs)

    args, kwargs = tree_map(_like, (tuple(example[0]), dict(example[1])))
    try:
        watched(run)
    except ArchitectureError:
        raise
    except Exception as error:  # a user's forward may raise anything
        raise ArchitectureError(
            f"The example input does not go through {type(module).__name__} on the meta device, which its lazy layers "
            f"need: {type(error).__name__}: {one_line(error)}. Run it once yourself: module(example_input)"
        ) from error
    return found


def _like(value: Any) -> Any:
    return torch.empty_like(value, device="meta") if isinstance(value, Tensor) else value
