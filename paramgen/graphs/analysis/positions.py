"""Position tables of vision transformers: where they are, and the sinusoids that may fill them."""

from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from paramgen.graphs.analysis.roles import Flow
from paramgen.graphs.schema import Graph
from paramgen.slots.manifest import Manifest

MAX_PREFIX: Final = 8
"""Class, distillation and register tokens that may come before those of the grid."""

_FREQUENCY: Final = 10_000.0


def grids_of(graph: Graph, manifest: Manifest) -> dict[str, tuple[tuple[int, int], int]]:
    """Return for each learned position table the height and width of its grid and how many tokens come before it.

    A position table is a parameter of (tokens, width) that is added to just that many tokens, which convolutions made
    of an image; the grid has the image's proportions.
    """
    flow = Flow(graph)
    images = [node.shape for node in graph.nodes if node.op == "input" and len(node.shape) == 4]
    found = {}
    for name, index in graph.nodes_of_slot().items():
        node, slot = graph.nodes[index], manifest[name]
        if node.op != "parameter" or len(images) != 1 or not slot.dtype.is_floating_point:
            continue
        if len(slot.shape) not in (2, 3) or (len(slot.shape) == 3 and slot.shape[0] != 1) or slot.shape[-1] % 4:
            continue
        sums = [after for after in flow.after[index] if flow.op(after) == "sum"]
        if len(sums) != 1 or graph.nodes[sums[0]].shape[-2:] != slot.shape[-2:] or not _convolved(flow, sums[0]):
            continue
        grid = _grid(slot.shape[-2], images[0][-2], images[0][-1])
        if grid is not None:
            found[name] = grid
    return found


def _convolved(flow: Flow, index: int) -> bool:
    through = frozenset(("concat", "bias", "sum", "layer_norm", "relu", "batch_norm"))
    met = flow.reach(flow.before, flow.before[index], through=through)
    return any(flow.op(node) == "conv" for node in met)


def _grid(tokens: int, height: int, width: int) -> tuple[tuple[int, int], int] | None:
    if min(height, width) < 1:
        return None
    for prefix in range(min(MAX_PREFIX, tokens - 4) + 1):
        rows = round(((tokens - prefix) * height / width) ** 0.5)
        if rows and (tokens - prefix) % rows == 0 and rows * width == (tokens - prefix) // rows * height:
            return (rows, (tokens - prefix) // rows), prefix
    return None


def sinusoids(height: int, width: int, channels: int) -> Float[Tensor, "positions channels"]:
    """Return sines and cosines of column and row, a quarter of the channels each (Vaswani et al., 2017, in 2-D)."""
    frequencies = _FREQUENCY ** (-torch.arange(channels // 4) / (channels // 4))
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    by_column, by_row = (places.flatten()[:, None] * frequencies for places in (columns, rows))
    return torch.cat((by_column.sin(), by_column.cos(), by_row.sin(), by_row.cos()), dim=1)
