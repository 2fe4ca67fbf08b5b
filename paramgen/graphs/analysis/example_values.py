"""Values for an example input: Gaussian noise, token ids that are uniform, ones for other integers."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from paramgen.architectures import Architecture, Inputs
from paramgen.errors import OptionError
from paramgen.graphs.schema import Graph
from paramgen.graphs.tracing.recording import tensors_in
from paramgen.slots.init_program import slot_generator
from paramgen.slots.torch_internals import tree_leaves, tree_map

Pictures = Callable[[tuple[int, ...], torch.Generator], Tensor]
"""Makes images of a shape."""


def example_values(
    architecture: Architecture, graph: Graph, *, examples: int, seed: int, pictures: Pictures | None = None
) -> Inputs:
    """Return values for the example input, of so many `examples` where all its tensors agree on their number.

    Raises:
        OptionError: No example input is known; or there are `pictures`, and no input takes them.
    """
    if architecture.example is None:
        raise OptionError(f"No example input is known for {architecture.spec}. Type: --example-input 2x3x32x32")
    given = (architecture.example[0], dict(architecture.example[1]))
    names = [f"input_{index}" for index, _ in enumerate(tensors_in(given[0]))]
    names += [name for name, value in given[1].items() for _ in tensors_in(value)]
    tensors = [leaf for leaf in tree_leaves(given) if isinstance(leaf, Tensor)]
    sizes = {tensor.shape[0] for tensor in tensors if tensor.dim()}
    pictured = next((id(tensor) for tensor in tensors if _is_image(tensor)), None)
    if pictures is not None and pictured is None:
        raise OptionError(f"{architecture.spec} takes no images of 1 or 3 channels. Leave the folder out: --init lsuv")
    ids = iter(zip(names, tensors, strict=True))

    def value(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        name, tensor = next(ids)
        shape = (examples, *tensor.shape[1:]) if tensor.dim() and len(sizes) == 1 else tuple(tensor.shape)
        generator = slot_generator(seed, name, stream="input")
        if pictures is not None and id(tensor) == pictured:
            return pictures(shape, generator).to(tensor.dtype)
        return _noise(shape, tensor.dtype, _rows(graph, name), generator)

    args, kwargs = tree_map(value, given)
    return args, kwargs


def _is_image(tensor: Tensor) -> bool:
    return tensor.dim() == 4 and tensor.shape[1] in (1, 3) and tensor.is_floating_point()


def _rows(graph: Graph, name: str) -> int:
    """Return the number of rows of the smallest table that is indexed with this input; 0 where there is none."""
    inputs = {index for index, node in enumerate(graph.nodes) if node.op == "input" and node.name == name}
    tables = [graph.nodes[after] for before, after in graph.edges.tolist() if before in inputs]
    return min((node.shape[0] for node in tables if node.op == "embedding"), default=0)


def _noise(shape: tuple[int, ...], dtype: torch.dtype, rows: int, generator: torch.Generator) -> Tensor:
    if dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(dtype)
    if rows:
        return torch.randint(rows, shape, generator=generator).to(dtype)
    return torch.ones(shape, dtype=dtype)
