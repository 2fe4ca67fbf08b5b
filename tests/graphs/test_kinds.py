"""Which family a network is of, decided from the graph: networks of every library, hybrids, and a user's own."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from paramgen.graphs.kinds import FAMILIES, WORDS, family_of
from paramgen.prediction import describe

SMALL = {"num_hidden_layers": 1, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}
NETWORKS = {
    "timm:test_vit": "vision_transformer",
    "timm:test_resnet": "residual_cnn",
    "timm:test_efficientnet": "depthwise_cnn",
    "timm:test_convnext": "convnext",
    "timm:mixer_s32_224": "mixer",
    "torchvision:alexnet": "plain_cnn",
    "torchvision:squeezenet1_1": "other",  # joined by concatenation
}
SLOW = {
    "torchvision:resnet18": "residual_cnn",
    "timm:poolformer_s12": "other",  # residual, but its pixels meet by pooling
    "torchvision:vgg11": "plain_cnn",
    "timm:mobilenetv1_100": "depthwise_cnn",
    "timm:mobilenetv2_035": "depthwise_cnn",
    "timm:deit_tiny_distilled_patch16_224": "vision_transformer",
    "torchvision:swin_t": "vision_transformer",
    "timm:seresnet50": "residual_cnn",
    "torchvision:resnext50_32x4d": "residual_cnn",
    "torchvision:mobilenet_v3_small": "depthwise_cnn",
    "timm:efficientnet_b0": "depthwise_cnn",
    "torchvision:convnext_tiny": "convnext",
    "timm:resmlp_12_224": "mixer",
    "torchvision:densenet121": "other",
    "timm:coatnet_0_rw_224": "other",  # convolution and attention
    "timm:mobilevit_xxs": "other",
    "torchvision:fcn_resnet50": "other",  # a map for every pixel
}


@pytest.mark.parametrize(
    ("arch", "family"), [*NETWORKS.items(), *(pytest.param(*pair, marks=pytest.mark.slow) for pair in SLOW.items())]
)
def test_image_classifiers(arch: str, family: str) -> None:
    assert family_of(describe(arch)[1]) == family


@pytest.mark.parametrize(
    ("arch", "overrides", "family"),
    [
        ("gpt2", {"n_layer": 1, "n_embd": 32, "n_head": 2}, "text_transformer"),
        pytest.param("transformers:llama", {**SMALL, "vocab_size": 50}, "text_transformer", marks=pytest.mark.slow),
        pytest.param("transformers:bert", {**SMALL, "vocab_size": 50}, "text_transformer", marks=pytest.mark.slow),
        ("transformers:vit", {**SMALL, "image_size": 32, "patch_size": 8}, "vision_transformer"),
    ],
)
def test_transformers(arch: str, overrides: dict[str, int], family: str) -> None:
    assert family_of(describe(arch, overrides=overrides)[1]) == family


class Branches(nn.Module):
    """A residual branch of one of the layers that positions may talk by."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.stem, self.layer, self.head = nn.Conv2d(3, 8, 4, 4), layer, nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        states = self.stem(images)
        return self.head((states + self.layer(states)).mean((2, 3)))


OWN: list[tuple[Callable[[], nn.Module], tuple[int, ...], str]] = [
    (lambda: nn.Sequential(nn.Flatten(), nn.Linear(48, 9), nn.ReLU(), nn.Linear(9, 3)), (2, 3, 4, 4), "mlp"),
    (lambda: nn.Sequential(nn.Linear(48, 9), nn.ReLU(), nn.Linear(9, 3)), (2, 48), "mlp"),
    (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)), (2, 3, 4, 4), "plain_cnn"),
    (lambda: Branches(nn.Conv2d(8, 8, 3, padding=1)), (2, 3, 16, 16), "residual_cnn"),
    (lambda: Branches(nn.Conv2d(8, 8, 3, padding=1, groups=8)), (2, 3, 16, 16), "depthwise_cnn"),
    (lambda: Branches(nn.Conv2d(8, 8, 1)), (2, 3, 16, 16), "other"),
    (lambda: nn.Conv2d(3, 3, 3), (2, 3, 8, 8), "other"),  # no classifier
    (lambda: nn.LSTM(4, 5), (2, 6, 4), "other"),
]


@pytest.mark.parametrize(("build", "shape", "family"), OWN)
def test_a_users_own(build: Callable[[], nn.Module], shape: tuple[int, ...], family: str) -> None:
    with torch.device("meta"):
        module = build()
    assert family_of(describe(module, example_input=((torch.zeros(shape),), {}))[1]) == family


def test_every_family_has_a_name_for_sentences() -> None:
    assert set(WORDS) == set(FAMILIES)
