"""A graph of the modules alone, for networks whose forward pass cannot be followed: nodes without edges."""

from typing import Any, Final

import numpy as np
from torch import nn

from paramgen.graphs.ops import NORMS
from paramgen.graphs.schema import Attribute, Graph, Node
from paramgen.slots.manifest import Manifest, Slot
from paramgen.slots.torch_internals import BatchNorm, Convolution, InstanceNorm

MODULE_TREE: Final = "module tree"
_OPERATIONS: Final[tuple[tuple[Any, str], ...]] = (
    (nn.Linear, "linear"),
    ((nn.Embedding, nn.EmbeddingBag), "embedding"),
    ((nn.RNNBase, nn.RNNCellBase), "recurrent"),
    (InstanceNorm, "instance_norm"),
    (BatchNorm, "batch_norm"),
    (nn.LayerNorm, "layer_norm"),
    (nn.GroupNorm, "group_norm"),
    (nn.RMSNorm, "rms_norm"),
)


def module_tree(module: nn.Module, manifest: Manifest) -> Graph:
    """Return a node for every parameter, in the order of the state dict; its operation is that of its module."""
    owners = dict(module.named_modules(remove_duplicate=False))
    nodes = [_node(slot, owners.get(slot.owner)) for slot in manifest.filled if slot.kind == "parameter"]
    ends = (Node(op="input", name="input"), Node(op="output", name="output"))
    return Graph((ends[0], *nodes, ends[1]), np.empty((0, 2), dtype=np.int64), MODULE_TREE)


def _node(slot: Slot, owner: nn.Module | None) -> Node:
    attributes: dict[str, Attribute] = {}
    op = "parameter" if owner is None else _operation(slot, owner)
    if isinstance(owner, Convolution) and op != "bias":
        attributes = {"kernel": slot.shape[2:], "groups": owner.groups}
        attributes |= {"stride": tuple(owner.stride), "dilation": tuple(owner.dilation)}
    elif op == "linear" and type(owner).__name__ == "Conv1D":  # of GPT-2
        attributes = {"layout": "in_out"}
    return Node(op=op, name=slot.name, slot=slot.name, shape=slot.shape, attributes=attributes)


def _operation(slot: Slot, owner: nn.Module) -> str:
    leaf = slot.name.rpartition(".")[2]
    op = _of_owner(owner)
    if op == "recurrent":
        return "bias" if len(slot.shape) == 1 else op
    if isinstance(owner, nn.MultiheadAttention) and len(slot.shape) == 2 and leaf.endswith("proj_weight"):
        return "linear"
    if leaf == "bias" and len(slot.shape) == 1 and op != "parameter":
        return "bias"
    if leaf != "weight" or (op in NORMS and len(slot.shape) != 1):
        return "parameter"
    return op


def _of_owner(owner: nn.Module) -> str:
    if isinstance(owner, Convolution):
        return _convolution(owner)
    for kinds, op in _OPERATIONS:
        if isinstance(owner, kinds):
            return op
    name = type(owner).__name__
    if name == "Conv1D" and type(owner).__module__.startswith("transformers."):
        return "linear"
    return "rms_norm" if "norm" in name.lower() else "parameter"


def _convolution(owner: Convolution) -> str:
    if owner.transposed:
        return "transposed_conv"
    if min(owner.dilation, default=1) > 1:
        return "dilated_conv"
    return "depthwise_conv" if owner.groups == owner.in_channels > 1 else "conv"
