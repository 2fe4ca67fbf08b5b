"""The networks of which the reference implementations' graphs and weights are known, by the names of those results."""

from functools import cache
from typing import Final, Literal

import torch
from torch import nn

from paramgen.architectures import Inputs, resolve
from paramgen.architectures.recorder import record
from paramgen.architectures.transformers_internals import choose_attention
from paramgen.graphs.views.published.view import published_view
from paramgen.graphs.views.published.vocabulary import PrimitiveSet
from paramgen.graphs.views.view import View
from paramgen.slots.manifest import Manifest, read_manifest

Softmax = Literal["explicit", "fused"]

TINY_VIT: Final = {
    "image_size": 224,
    "patch_size": 16,
    "num_layers": 2,
    "num_heads": 4,
    "hidden_dim": 96,
    "mlp_dim": 384,
}
VIT_TINY: Final = TINY_VIT | {"image_size": 32, "patch_size": 2, "num_layers": 3, "hidden_dim": 128, "mlp_dim": 512}
GPT2: Final = {"vocab_size": 1000, "n_embd": 128, "n_layer": 4, "n_head": 4, "bos_token_id": 1, "eos_token_id": 1}


@cache
def built(name: str) -> tuple[nn.Module, Manifest, Inputs]:
    """Return a network on the meta device, its manifest and what its forward pass takes."""
    if name.startswith(("tinyvit", "vit_tiny")):
        resolve("torchvision:alexnet")  # which readies torchvision
        from torchvision.models import VisionTransformer

        arguments = VIT_TINY | {"num_classes": 100} if name == "vit_tiny" else TINY_VIT
        module, draws = record(lambda: VisionTransformer(**arguments))
        size = arguments["image_size"]
        return module, read_manifest(module, draws), ((torch.zeros(2, 3, size, size, device="meta"),), {})
    if name.startswith("gpt2"):
        tied = name.endswith("_tie")
        made = resolve("transformers:GPT2LMHeadModel", GPT2 | {"tie_word_embeddings": tied})
        if "eager" in name and made.module is not None:  # its own attention shows the softmax
            choose_attention(made.module.config, "eager")
    else:
        made = resolve(f"torchvision:{name.partition('__')[0]}")
    if made.module is None or made.example is None:
        raise ValueError(f"{name} has no module to trace. Give the name of a network of a library.")
    return made.module, made.manifest, made.example


def family_of(name: str) -> PrimitiveSet:
    """Return whose hypernet the reference predicted a network with."""
    return "logah_gpt" if "gpt2" in name else "logah_vit" if name == "vit_tiny" else "ghn3"


def softmax_of(name: str) -> Softmax:
    """Return how attention stood in the reference's graph."""
    return "explicit" if "explicit" in name or "eager" in name else "fused"


@cache
def view_of(name: str) -> View:
    """Return what a published hypernet sees of a network."""
    return published_view(
        *built(name), family=family_of(name), softmax=softmax_of(name), cutoff=250 if "gpt2" in name else 50
    )
