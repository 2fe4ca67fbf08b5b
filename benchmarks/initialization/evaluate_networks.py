"""Networks of torchvision, timm and transformers at the sizes of small images: seen by no training run."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from paramgen._optional.torchvision import ensure_torchvision
from training.spaces.design import CLASSES


class _Logits(nn.Module):
    """A transformers classifier that returns its logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model(pixel_values=images).logits


def library_networks(classes: int = CLASSES) -> Iterator[tuple[str, int, Callable[[], nn.Module]]]:
    """Yield name, resolution and constructor of each."""
    ensure_torchvision()
    import timm
    import torchvision

    def timm_model(name: str, **options: Any) -> Callable[[], nn.Module]:
        return lambda: timm.create_model(name, num_classes=classes, **options)

    yield "torchvision:resnet18", 32, lambda: torchvision.models.resnet18(num_classes=classes)
    yield "torchvision:mobilenet_v3_small", 32, lambda: torchvision.models.mobilenet_v3_small(num_classes=classes)
    yield "timm:vit_tiny_patch16_224 (patch 4)", 32, timm_model("vit_tiny_patch16_224", img_size=32, patch_size=4)
    yield "timm:convnext_atto (patch 2)", 32, timm_model("convnext_atto", patch_size=2)
    yield "timm:resnet10t", 32, timm_model("resnet10t")
    yield "transformers:vit (width 96)", 32, lambda: _transformers_vit(classes)


def _transformers_vit(classes: int) -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    sizes: dict[str, Any] = {"hidden_size": 96, "num_hidden_layers": 6, "num_attention_heads": 4}
    sizes |= {"intermediate_size": 384, "image_size": 32, "patch_size": 4, "num_labels": classes}
    return _Logits(ViTForImageClassification(ViTConfig(**sizes)))
