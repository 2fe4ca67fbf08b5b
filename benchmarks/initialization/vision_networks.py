"""The networks of `vision`: the libraries' own, small, for 32×32 images, and seen by no training.

They are listed in the order of their seconds per step, as `python -m benchmarks.initialization.vision --estimate`
measures them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, final

from jaxtyping import Float
from torch import Tensor, nn

from paramgen._optional.torchvision import ensure_torchvision

SIZE: Final = 32
UNSEEN: Final = ("densenet", "mlp", "plain cnn", "regnet")
"""Families of which the shipped hypernet's recipe draws no design."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """`make` takes `options` and the number of classes as `num_classes`."""

    name: str
    family: str
    made_by: str  # the constructor that takes the options, for a reader
    make: Callable[..., nn.Module]
    options: Mapping[str, Any]
    beyond: bool = False  # wider and deeper than any design that training draws

    def factory(self, classes: int) -> Callable[[], nn.Module]:
        """Return the function without arguments that builds it."""
        return partial(self.make, **self.options, num_classes=classes)

    @property
    def call(self) -> str:
        """The call that builds it, as a reader would type it."""
        given = (
            f"{name}={value.__name__ if isinstance(value, type) else value}" for name, value in self.options.items()
        )
        return f"{self.made_by}({', '.join(given)})"


class PlainCnn(nn.Module):
    """Pairs of 3×3 convolutions with batch norms; each pair ends in a pool."""

    def __init__(self, widths: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential()
        before = 3
        for width in widths:
            for taken in (before, width):
                self.features.append(nn.Conv2d(taken, width, 3, padding=1, bias=False))
                self.features.append(nn.BatchNorm2d(width))
                self.features.append(nn.ReLU())
            self.features.append(nn.MaxPool2d(2))
            before = width
        self.classifier = nn.Linear(before, num_classes)

    def forward(self, images: Float[Tensor, "batch 3 32 32"]) -> Float[Tensor, "batch classes"]:
        """Return the scores, from the mean over positions."""
        return self.classifier(self.features(images).mean((2, 3)))


class PlainMlp(nn.Sequential):
    """Linear layers of one width with ReLUs, which read the pixels in a row."""

    def __init__(self, width: int, layers: int, num_classes: int) -> None:
        super().__init__(nn.Flatten())
        before = 3 * SIZE * SIZE
        for _ in range(layers):
            self.append(nn.Linear(before, width))
            self.append(nn.ReLU())
            before = width
        self.append(nn.Linear(before, num_classes))


def networks() -> tuple[Network, ...]:
    """Return all of them; the libraries are imported here."""
    ensure_torchvision()
    found = {each.name: each for each in (*_plain(), *_convolutional(), *_mobile(), *_tokens())}
    return tuple(found[name] for name in _ORDER)


_ORDER: Final = tuple(
    """
    own-mlp-3 own-mlp-8
    timm-mixer-80 timm-convnext-24 timm-regnet timm-convnext-32 timm-resnet-16 torchvision-mobilenetv2
    torchvision-densenet transformers-vit-64 torchvision-efficientnet timm-bottleneck-12 torchvision-vit-96 timm-vit-64
    timm-lcnet own-cnn timm-convnext-patch-2 timm-convnext-80 timm-resnet-80 timm-mixer-160 timm-vit-160
    """.split()
)


def _plain() -> tuple[Network, ...]:
    """MLPs as people write them: three layers, and eight."""

    def mlp(width: int, layers: int) -> Network:
        options = {"width": width, "layers": layers}
        name, made_by = f"own-mlp-{layers}", "benchmarks PlainMlp"
        return Network(name=name, family="mlp", made_by=made_by, make=PlainMlp, options=options)

    return mlp(256, 3), mlp(128, 8)


def _convolutional() -> tuple[Network, ...]:
    from timm.models.convnext import ConvNeXt
    from timm.models.resnet import BasicBlock, Bottleneck, ResNet
    from torchvision.models import DenseNet

    def convnext(
        name: str, dims: tuple[int, ...], depths: tuple[int, ...], *, patch: int = 4, beyond: bool = False
    ) -> Network:
        options = {"depths": depths, "dims": dims, "patch_size": patch}
        return Network(
            name=name, family="convnext", made_by="timm ConvNeXt", make=ConvNeXt, options=options, beyond=beyond
        )

    def resnet(name: str, *, beyond: bool = False, **options: Any) -> Network:
        return Network(name=name, family="resnet", made_by="timm ResNet", make=ResNet, options=options, beyond=beyond)

    small: dict[str, Any] = {"channels": (16, 32, 64, 128), "layers": (1, 1, 1, 1), "block": BasicBlock}
    narrow: dict[str, Any] = {"channels": (12, 24, 48, 64), "layers": (1, 1, 2, 1), "block": Bottleneck}
    wide: dict[str, Any] = {"channels": (80, 80, 80, 80), "layers": (4, 4, 1, 1), "block": BasicBlock}
    dense = {"growth_rate": 12, "block_config": (3, 4, 4, 3), "num_init_features": 24, "bn_size": 2}
    stages = {"depth": 6, "w0": 16, "wa": 16.0, "wm": 2.0, "group_size": 8, "stem_width": 16}
    return (
        convnext("timm-convnext-24", (24, 48, 96, 192), (1, 1, 2, 1)),
        convnext("timm-convnext-32", (32, 48, 64, 96), (2, 1, 2, 1)),
        # Another stem than any in training: the hypernet fills less than half of it.
        convnext("timm-convnext-patch-2", (20, 40, 80, 160), (1, 1, 2, 1), patch=2),
        convnext("timm-convnext-80", (80, 80, 96, 128), (4, 4, 2, 2), beyond=True),
        resnet("timm-resnet-16", **small, stem_width=16),
        resnet("timm-bottleneck-12", **narrow, stem_width=16),
        resnet("timm-resnet-80", **wide, beyond=True),
        Network(
            name="own-cnn",
            family="plain cnn",
            made_by="benchmarks PlainCnn",
            make=PlainCnn,
            options={"widths": (12, 24, 48)},
        ),
        Network(
            name="torchvision-densenet", family="densenet", made_by="torchvision DenseNet", make=DenseNet, options=dense
        ),
        Network(name="timm-regnet", family="regnet", made_by="timm RegNetCfg", make=_regnet, options=stages),
    )


def _regnet(num_classes: int, **options: Any) -> nn.Module:
    from timm.models.regnet import RegNet, RegNetCfg

    return RegNet(RegNetCfg(**options), num_classes=num_classes)


def _mobile() -> tuple[Network, ...]:
    """Inverted residuals and what came of them."""
    from torchvision.models import MobileNetV2

    settings = {"inverted_residual_setting": ((1, 16, 1, 1), (6, 24, 1, 2), (6, 40, 2, 2), (6, 96, 1, 2))}
    blocks = {"blocks": ((1, 3, 2, 16, 16, 1), (4, 3, 1, 16, 24, 1), (4, 5, 2, 24, 40, 2), (4, 3, 2, 40, 80, 1))}
    return (
        Network(
            name="torchvision-mobilenetv2",
            family="mobilenet",
            made_by="torchvision MobileNetV2",
            make=MobileNetV2,
            options={"width_mult": 0.5, **settings},
        ),
        Network(
            name="torchvision-efficientnet",
            family="efficientnet",
            made_by="torchvision EfficientNet of MBConvConfig",
            make=_efficientnet,
            options=blocks,
        ),
        Network(name="timm-lcnet", family="mobilenet", made_by="timm lcnet_035", make=_lcnet, options={}),
    )


def _lcnet(num_classes: int) -> nn.Module:
    import timm

    return timm.create_model("lcnet_035", num_classes=num_classes)


def _efficientnet(blocks: tuple[tuple[int, ...], ...], num_classes: int) -> nn.Module:
    """Build from blocks of: expansion, kernel, stride, channels in and out, layers."""
    from torchvision.models.efficientnet import EfficientNet, MBConvConfig

    settings = [MBConvConfig(*block, 1.0, 1.0) for block in blocks]
    return EfficientNet(settings, dropout=0.0, num_classes=num_classes, last_channel=160)


def _tokens() -> tuple[Network, ...]:
    from timm.models.mlp_mixer import MlpMixer
    from timm.models.vision_transformer import VisionTransformer
    from torchvision.models import VisionTransformer as TorchvisionTransformer

    def vit(width: int, depth: int, heads: int, *, beyond: bool = False) -> Network:
        options = {"img_size": 32, "patch_size": 8, "embed_dim": width, "depth": depth, "num_heads": heads}
        name, made_by = f"timm-vit-{width}", "timm VisionTransformer"
        return Network(name=name, family="vit", made_by=made_by, make=VisionTransformer, options=options, beyond=beyond)

    def mixer(width: int, depth: int, *, beyond: bool = False) -> Network:
        options = {"img_size": 32, "patch_size": 8, "embed_dim": width, "num_blocks": depth}
        name, made_by = f"timm-mixer-{width}", "timm MlpMixer"
        return Network(name=name, family="mixer", made_by=made_by, make=MlpMixer, options=options, beyond=beyond)

    sizes = {"image_size": 32, "patch_size": 8, "num_layers": 4, "num_heads": 4, "hidden_dim": 96, "mlp_dim": 192}
    config = {"hidden_size": 64, "num_hidden_layers": 5, "num_attention_heads": 4, "intermediate_size": 256}
    return (
        vit(64, 6, 4),
        vit(160, 7, 5, beyond=True),
        mixer(80, 3),
        mixer(160, 7, beyond=True),
        Network(
            name="torchvision-vit-96",
            family="vit",
            made_by="torchvision VisionTransformer",
            make=TorchvisionTransformer,
            options=sizes,
        ),
        Network(
            name="transformers-vit-64",
            family="vit",
            made_by="transformers ViTConfig",
            make=_transformers_vit,
            options={**config, "image_size": 32, "patch_size": 8},
        ),
    )


def _transformers_vit(num_classes: int, **options: Any) -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    return ViTForImageClassification(ViTConfig(**{**options, "num_labels": num_classes}))
