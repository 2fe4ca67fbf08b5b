"""Make the e2e_* assets beside this file with a reference implementation.

Type: python -m tests.assets.published.make_e2e FAMILY

FAMILY is ghn3, or logah_vit or logah_gpt. The package `ghn3` must be importable: that of the GHN-3 repository for the
first, that of the LoGAH repository for the others; each needs the package `ppuda`. Neither is a dependency of ours.
"""

import gzip
import json
import math
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from paramgen._optional.torchvision import ensure_torchvision
from tests.support.published import published, recipe

HERE = Path(__file__).parent
SAMPLES, UNTOUCHED = 8, 12345.0


def explicit(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
    """Attention as torch computed it before it was fused."""
    return torch.softmax(query / math.sqrt(query.shape[-1]) @ key.transpose(-2, -1), dim=-1) @ value


def network(case: recipe.Case) -> nn.Module:
    if case.family == "logah_gpt":
        import transformers

        return transformers.GPT2LMHeadModel(transformers.GPT2Config(**recipe.language_options(case.name)))
    ensure_torchvision()
    import torchvision

    if case.name not in recipe.BUILDERS:
        return torchvision.models.get_model(case.name, num_classes=published.CLASSES)
    module: Any = recipe.BUILDERS[case.name]()
    module.expected_input_sz = recipe.SIZE
    return module


def three_words(*_: Any, **__: Any) -> dict[str, Tensor]:
    return {"input_ids": torch.tensor([[1, 2, 3]]), "attention_mask": torch.ones(1, 3, dtype=torch.long)}


def predicted(case: recipe.Case) -> nn.Module:
    """Return the network with what the reference predicts in it."""
    from ghn3 import graph
    from ghn3 import nn as hypernets

    language = case.family == "logah_gpt"
    config = recipe.CONFIGS[case.family] | {"pretrained": case.family == "ghn3"}
    hypernet = (hypernets.GHN3_GPT if language else hypernets.GHN3)(**config)
    hypernet.load_state_dict(recipe.state(case.family))
    hypernet.fix_embed_layers()
    module = network(case)
    attention = explicit if case.softmax == "explicit" else nn.functional.scaled_dot_product_attention
    with patch("torch.nn.functional.scaled_dot_product_attention", attention):
        drawn = graph.Graph_LLM(module, three_words, ve_cutoff=250) if language else graph.Graph(module)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(UNTOUCHED)
        batch = graph.GraphBatch([drawn], dense=True)
        hypernet(module, batch, bn_track_running_stats=True, keep_grads=False, reduce_graph=False)
    return module


def entry(tensor: Tensor, stream: np.random.RandomState) -> dict[str, Any] | None:
    """Return what is kept of a tensor; a position table counts from row 1 on, its first row is random."""
    if (tensor == UNTOUCHED).any():
        return None
    start = tensor.shape[-1] if tensor.dim() == 3 else 0
    values = tensor.detach().flatten().double()[start:]
    places = sorted(stream.choice(len(values), min(SAMPLES, len(values)), replace=False).tolist())
    return {
        "shape": list(tensor.shape),
        "start": start,
        "l2": values.norm().item(),
        "mean": values.mean().item(),
        "at": places,
        "values": [float(f"{value:.9g}") for value in values[places].tolist()],
    }


def main() -> None:
    for case in recipe.CASES:
        if case.family == sys.argv[1]:
            stream = np.random.RandomState(0)
            kept = {name: entry(tensor, stream) for name, tensor in predicted(case).named_parameters()}
            text = json.dumps(kept, separators=(",", ":"))
            (HERE / f"{case.asset}.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    main()
