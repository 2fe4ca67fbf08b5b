"""The published code's graph of a network, and the view of it that a converted hypernet reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt, prod
from typing import Any, Final, final

import numpy as np
import torch
from jaxtyping import Int64
from torch import nn

from paramgen.architectures import Inputs
from paramgen.graphs.analysis.slot_roles import Role
from paramgen.graphs.views.published import llama
from paramgen.graphs.views.published.attention import SoftmaxForm
from paramgen.graphs.views.published.distances import distances
from paramgen.graphs.views.published.draft import Draft, Record
from paramgen.graphs.views.published.filtering import JOINS, filter_nodes, filter_unsupported
from paramgen.graphs.views.published.ordering import ordered
from paramgen.graphs.views.published.rewiring import add_input, order_softmax, order_weights, repair_swin
from paramgen.graphs.views.published.vocabulary import PRIMITIVES, PrimitiveSet, is_a, primitive_of
from paramgen.graphs.views.published.walk import walk
from paramgen.graphs.views.view import SlotRequest, View
from paramgen.slots.manifest import Manifest, Slot

_SWIN: Final = "torchvision.models.swin_transformer.SwinTransformer"
_WEIGHTS: Final = ("layer_scale", "in_proj_weight", "pos_embedding", "weight")  # the first that a module has
_BIASES: Final = ("in_proj_bias", "bias")
_ENDINGS: Final = (".weight", ".bias", "in_proj_weight", "in_proj_bias")


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PublishedGraph:
    """Nodes in the published order; all lists are in this order."""

    names: tuple[str, ...]  # parameter names as published (a root's begin with a dot), else autograd's class names
    primitives: tuple[str, ...]
    shapes: tuple[tuple[int, ...] | None, ...]  # as the published code lists them
    slots: tuple[Slot | None, ...]  # whose tensor is predicted from the node; for a norm its weight
    modules: tuple[nn.Module | None, ...]
    edges: Int64[np.ndarray, "edges 2"]

    def __len__(self) -> int:
        return len(self.names)


def published_graph(
    module: nn.Module, manifest: Manifest, inputs: Inputs, *, family: PrimitiveSet, softmax: SoftmaxForm = "explicit"
) -> PublishedGraph:
    """Return the graph that the published code builds of `module`, which is on the meta device.

    Args:
        module: It comes back as it was given.
        manifest: Its manifest.
        inputs: Of its forward pass.
        family: Whose vocabulary to use.
        softmax: Whether attention shows its softmax (torch <= 2.0, with which the published weights were trained).

    """
    draft = walk(module, inputs, softmax, logits_only=family == "logah_gpt")
    _reduce(draft, module, family)
    records, edges = ordered(draft, module)
    return PublishedGraph(
        names=tuple(record.name for record in records),
        primitives=tuple(primitive_of(record, family) for record in records),
        shapes=tuple(
            _shape(record, primitive_of(record, family), place - len(records)) for place, record in enumerate(records)
        ),
        slots=_slots(records, module, manifest),
        modules=tuple(record.module for record in records),
        edges=np.array(edges, dtype=np.int64).reshape(-1, 2),
    )


def _reduce(draft: Draft, module: nn.Module, family: PrimitiveSet) -> None:
    """Keep the nodes that the published vocabulary has, in the direction of the data."""
    if family == "logah_gpt" and is_a(module, llama.LLAMA_CLASS):
        order_weights(draft, again=True, anywhere=True)
        filter_unsupported(draft, family)
        llama.order_softmax(draft)
        config: Any = module.config
        llama.repair_embedding(draft, tied=bool(config.tie_word_embeddings))
    else:
        filter_unsupported(draft, family)
        order_weights(draft, again=family == "logah_gpt")
        order_softmax(draft)
        if is_a(module, _SWIN):
            repair_swin(draft)
    filter_nodes(draft, JOINS, family)
    add_input(draft)


def published_view(
    module: nn.Module,
    manifest: Manifest,
    inputs: Inputs,
    *,
    family: PrimitiveSet,
    cutoff: int = 50,
    softmax: SoftmaxForm = "explicit",
) -> View:
    """Return what the published code sees of `module`, and which slots it fills from which node.

    Args:
        module: On the meta device; it comes back as it was given.
        manifest: Its manifest.
        inputs: Of its forward pass.
        family: Whose vocabulary and roles to use.
        cutoff: The longest virtual edge: 50 in GHN-2, GHN-3 and LoGAH's networks for images, 250 in those for text.
        softmax: Whether attention shows its softmax (torch <= 2.0, with which the published weights were trained).

    """
    graph = published_graph(module, manifest, inputs, family=family, softmax=softmax)
    shapes = (shape if slot is None else slot.shape for slot, shape in zip(graph.slots, graph.shapes, strict=True))
    config: Any = getattr(module, "config", None)
    return View(
        primitives=torch.tensor([PRIMITIVES.index(word) for word in graph.primitives], dtype=torch.int64),
        shapes=tuple(shapes),
        distances=torch.from_numpy(distances(graph.edges, len(graph), cutoff)),
        requests=_requests(graph, manifest, family),
        vocabulary="published",
        initializer_range=getattr(config, "initializer_range", None) if family == "logah_gpt" else None,
    )


def _shape(record: Record, primitive: str, from_end: int) -> tuple[int, ...] | None:
    if record.module is None:
        if "pool" not in primitive:
            return None
        kernel = record.kernel or (3,)
        return (1, 1, kernel[0], kernel[-1])
    shape = record.shape or ()
    if len(shape) == 3 and shape[0] == 1 and min(shape[1:]) > 1:
        return (1, shape[2], *(isqrt(shape[1]),) * 2)
    return shape[:2] if from_end == -2 and len(shape) == 4 and prod(shape[2:]) == 1 else shape


def _slots(records: Sequence[Record], module: nn.Module, manifest: Manifest) -> tuple[Slot | None, ...]:
    """Match nodes with parameters as published: one weight and one bias of each module, by name."""
    table: dict[str, str] = {}
    for path, child in module.named_modules():
        own = dict(child.named_parameters(recurse=False))
        for names in (_WEIGHTS, _BIASES):
            name = next((name for name in names if name in own), None)
            if name is not None:
                key = f"{path}.{name}"
                table[f"{key}.weight" if name == "pos_embedding" else key] = key.removeprefix(".")
    matched = []
    for record in records:
        key = _listed_name(record.name)
        name = table.get(key) or table.get(key.replace("to_qkv", "attn.to_qkv").replace("to_out", "attn.to_out"))
        slot = manifest.get(name) if name is not None and record.module is not None else None
        matched.append(slot if slot is None or slot.tied_to is None else manifest[slot.tied_to])
    return tuple(matched)


def _listed_name(name: str) -> str:
    """Return the name by which the published code looks a parameter up.

    It drops what comes before `stem` and `pos_enc`, so that a parameter like `conv_stem.weight` is not found.
    """
    start = next((at for at in (name.find("stem"), name.find("pos_enc")) if at >= 0), 0)
    return name[start:] if name.endswith(_ENDINGS) else f"{name[start:]}.weight"


def _requests(graph: PublishedGraph, manifest: Manifest, family: PrimitiveSet) -> tuple[SlotRequest, ...]:
    """Return one request for each slot, of which a norm's weight node makes two."""
    requests: dict[str, SlotRequest] = {}
    for node, slot in enumerate(graph.slots):
        if slot is None:
            continue
        role = _role(graph, node, slot, family)
        if role is not None:
            requests[slot.name] = SlotRequest(slot.name, node, role, slot.shape)
        if role == "scale":
            bias = manifest.get(f"{slot.name.removesuffix('weight')}bias")
            if bias is not None:
                requests[bias.name] = SlotRequest(bias.name, node, "bias", bias.shape)
    return tuple(requests.values())


def _role(graph: PublishedGraph, node: int, slot: Slot, family: PrimitiveSet) -> Role | None:
    """Return the role of a slot. The class layer is found by its position, as published: second to last."""
    name, dimensions, from_end = graph.names[node], len(slot.shape), node - len(graph)
    if dimensions == 1:
        if name.endswith("bias"):
            return "class_bias" if from_end == -1 and ".bias" in name else "bias"
        return "scale"
    if dimensions == 3:
        return "position" if slot.shape[0] == 1 and min(slot.shape[1:]) > 1 else None
    if dimensions not in (2, 4):
        return None
    if from_end == -2 and ".weight" in name:
        return "class_weight"
    return "embedding" if family != "ghn3" and isinstance(graph.modules[node], nn.Embedding) else "weight"
