"""Small published hypernets of a frozen recipe; assets/published/e2e_* keeps what the reference predicts with them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from paramgen._optional.torchvision import ensure_torchvision
from tests.support.published import published


@dataclass(frozen=True, kw_only=True)
class Case:
    """One hypernet and one network."""

    family: str  # ghn3, logah_vit or logah_gpt
    name: str  # one of BUILDERS, a form of gpt2, or a torchvision classifier
    softmax: str = "fused"

    @property
    def asset(self) -> str:
        return f"e2e_{self.family}_{self.name}_{self.softmax}"


CASES = (
    Case(family="ghn3", name="resnet18"),
    Case(family="ghn3", name="squeezenet1_1"),
    Case(family="ghn3", name="chain"),
    Case(family="ghn3", name="vit"),
    Case(family="ghn3", name="vit", softmax="explicit"),
    Case(family="logah_vit", name="vit"),
    Case(family="logah_vit", name="vit", softmax="explicit"),
    Case(family="logah_gpt", name="gpt2"),
    Case(family="logah_gpt", name="gpt2_untied"),
)
SHAPES: Mapping[str, Callable[[], published.Shapes]] = {
    "ghn3": lambda: published.ghn3(pretrained=True),
    "logah_vit": lambda: published.logah(language=False),
    "logah_gpt": lambda: published.logah(language=True),
}
CONFIGS = {"ghn3": published.CONFIG, "logah_vit": published.LOGAH_CONFIG, "logah_gpt": published.LOGAH_CONFIG}
VIT = {
    "image_size": 8,
    "patch_size": 2,
    "num_layers": 2,
    "num_heads": 4,
    "hidden_dim": 16,
    "mlp_dim": 32,
    "num_classes": published.CLASSES,
}
GPT2 = {
    "vocab_size": 60,
    "n_embd": 16,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": 32,
    "bos_token_id": 1,
    "eos_token_id": 1,
}


def state(family: str) -> dict[str, Tensor]:
    """The weights, in the order of their names: numpy keeps this stream as it is for good."""
    stream = np.random.RandomState(20)
    shapes = SHAPES[family]()
    drawn = {key: torch.from_numpy(0.2 * stream.standard_normal(shapes[key])).float() for key in sorted(shapes)}
    for key in drawn:
        if key.startswith("decoder.l2."):  # the published code lists one layer under two names
            drawn[key] = drawn[key.replace("decoder.l2.", "decoder.seq.1.")]
    return {key: drawn[key] for key in shapes}


def vision_transformer() -> nn.Module:
    ensure_torchvision()
    from torchvision.models import VisionTransformer

    arguments: dict[str, Any] = VIT
    return VisionTransformer(**arguments)


def chain() -> nn.Module:
    """More than 50 edges from end to end: the cutoff of virtual edges shows."""
    layers = [layer for _ in range(28) for layer in (nn.Conv2d(3, 3, 3, padding=1), nn.ReLU())]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, published.CLASSES))


BUILDERS: Mapping[str, Callable[[], nn.Module]] = {"vit": vision_transformer, "chain": chain}
SIZE = 8  # of the images of these


def language_options(name: str) -> dict[str, Any]:
    return GPT2 | {"tie_word_embeddings": name == "gpt2"}
