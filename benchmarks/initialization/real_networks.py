"""The networks of `vision --real-size`: those that people name, unchanged but for images of 32×32 pixels."""

from functools import partial
from typing import Any, Final

from torch import nn

from benchmarks.initialization.vision_networks import Network
from paramgen._optional.torchvision import ensure_torchvision

PATCHED: Final[dict[str, Any]] = {"img_size": 32, "patch_size": 8}


def real_networks() -> tuple[Network, ...]:
    """Return all of them, the cheapest first; the libraries are imported here."""
    ensure_torchvision()
    return (
        _torchvision("resnet18", "resnet"),
        _timm("vit_tiny_patch16_224", "vit", **PATCHED),
        _torchvision("mobilenet_v3_large", "mobilenet"),
        _torchvision("efficientnet_b0", "efficientnet"),
        _torchvision("convnext_tiny", "convnext"),
        _torchvision("resnet50", "resnet"),
        _torchvision("vit_b_16", "vit", image_size=32),
        _timm("convnext_atto", "convnext"),
        _timm("mixer_s16_224", "mixer", img_size=32),
        _torchvision("regnet_y_800mf", "regnet"),
        _torchvision("densenet121", "densenet"),
        _timm("vit_small_patch16_224", "vit", **PATCHED),
        _timm("deit3_small_patch16_224", "vit", **PATCHED),
        _timm("cait_xxs24_224", "vit", **PATCHED),
        _torchvision("swin_t", "staged_transformer"),
    )


def _torchvision(name: str, family: str, **options: Any) -> Network:
    return Network(
        name=name,
        family=family,
        made_by=f"torchvision {name}",
        make=partial(_model, name),
        options=options,
        beyond=True,
    )


def _model(name: str, num_classes: int, **options: Any) -> nn.Module:
    from torchvision.models import get_model

    return get_model(name, weights=None, num_classes=num_classes, **options)


def _timm(name: str, family: str, **options: Any) -> Network:
    return Network(
        name=name, family=family, made_by=f"timm {name}", make=partial(_created, name), options=options, beyond=True
    )


def _created(name: str, num_classes: int, **options: Any) -> nn.Module:
    import timm

    return timm.create_model(name, num_classes=num_classes, **options)
