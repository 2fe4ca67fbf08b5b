"""The networks of `vision --real-size`: those that people name, unchanged but for images of 32×32 pixels."""

from contextlib import suppress
from functools import partial
from typing import Any, Final

import torch
from torch import nn

from benchmarks.initialization.vision_networks import SIZE, Network
from paramgen._optional.torchvision import ensure_torchvision
from paramgen.errors import OptionError

PATCHED: Final[dict[str, Any]] = {"img_size": 32, "patch_size": 8}


def real_networks() -> tuple[Network, ...]:
    """Return all of them, the cheapest first; the libraries are imported here."""
    ensure_torchvision()
    return (
        _torchvision("resnet18", "resnet"),
        _timm("vit_tiny_patch16_224", "vit", **PATCHED),
        _torchvision("mobilenet_v3_large", "mobilenet"),
        _torchvision("efficientnet_b0", "efficientnet"),
        _timm("mobilenetv4_conv_small", "mobilenet"),
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


def network_named(spec: str) -> Network:
    """Return any network of timm or torchvision at 32×32 pixels; of a vision transformer of timm, with patches of 8.

    Raises:
        OptionError: It is of another library, or the library does not build it so.
    """
    ensure_torchvision()
    library, _, name = spec.partition(":")
    if library == "torchvision":
        return _torchvision(name, "")
    if library != "timm":
        raise OptionError(f"{spec!r} is of neither timm nor torchvision. Type: timm:NAME or torchvision:NAME")
    for options in (PATCHED, {"img_size": SIZE}, {}):
        network = _timm(name, "", **options)
        with suppress(Exception):  # what a constructor does not take, it refuses in its own way
            network.factory(2)().eval()(torch.zeros(1, 3, SIZE, SIZE))
            return network
    raise OptionError(f"timm builds no {name!r} for images of {SIZE}×{SIZE} pixels")


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
