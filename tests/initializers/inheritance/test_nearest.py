"""The published models that a network may inherit from: the nearest first, of its family, under allowed licences."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import paramgen
from paramgen.errors import ParamgenError, UnknownNameError
from paramgen.initializers.inheritance.catalog import catalog
from paramgen.initializers.inheritance.licences import PERMISSIVE


class Residual(nn.Module):
    """What adds to its input what a branch makes of it."""

    def __init__(self, *branch: nn.Module) -> None:
        super().__init__()
        self.branch = nn.Sequential(*branch)

    def forward(self, images: Tensor) -> Tensor:
        return torch.add(images, self.branch(images))


class Attention(nn.Module):
    """A block of a transformer, with projections of its own."""

    def __init__(self, width: int, heads: int, *, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)

    def forward(self, states: Tensor) -> Tensor:
        normal = self.first(states)
        query, key, value = (
            each(normal).unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        states = states + self.out(mixed.transpose(1, 2).flatten(2))
        return states + self.down(functional.gelu(self.up(self.second(states))))


class Patches(nn.Module):
    """A vision transformer with patches of 12."""

    def __init__(self) -> None:
        super().__init__()
        self.cut, self.where = nn.Conv2d(3, 200, 12, 12), nn.Parameter(torch.zeros(1, 64, 200))
        self.blocks = nn.Sequential(*(Attention(200, 5, causal=False) for _ in range(4)))
        self.norm, self.head = nn.LayerNorm(200), nn.Linear(200, 11)

    def forward(self, images: Tensor) -> Tensor:
        states = self.cut(images).flatten(2).transpose(1, 2) + self.where
        return torch.as_tensor(self.head(self.norm(self.blocks(states)).mean(1)))


class Writer(nn.Module):
    """A decoder of bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.where = nn.Embedding(300, 160), nn.Embedding(64, 160)
        self.blocks = nn.Sequential(*(Attention(160, 4, causal=True) for _ in range(3)))
        self.norm, self.head = nn.LayerNorm(160), nn.Linear(160, 300, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        states = self.tokens(tokens) + self.where(torch.arange(tokens.shape[1]))
        return torch.as_tensor(self.head(self.norm(self.blocks(states))))


class LastNorm(nn.Module):
    """A layer norm over the channels of an image."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, images: Tensor) -> Tensor:
        return torch.as_tensor(self.norm(images.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))


def normed(inputs: int, outputs: int, kernel: int, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs)]


def classifier(stem: nn.Module, blocks: list[nn.Module], width: int) -> nn.Module:
    return nn.Sequential(stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 7))


def narrow() -> nn.Module:
    blocks: list[nn.Module] = [Residual(*normed(24, 24, 3), nn.ReLU(), *normed(24, 24, 3)) for _ in range(4)]
    return classifier(nn.Conv2d(3, 24, 3, padding=1), blocks, 24)


def wide_kernels() -> nn.Module:
    layers = (
        (nn.Conv2d(72, 72, 9, padding=4, groups=72), LastNorm(72), nn.Conv2d(72, 200, 1), nn.GELU()) for _ in range(6)
    )
    return classifier(nn.Conv2d(3, 72, 8, 8), [Residual(*each, nn.Conv2d(200, 72, 1)) for each in layers], 72)


def inverted() -> nn.Module:
    def branch() -> list[nn.Module]:
        return [*normed(20, 100, 1), nn.ReLU6(), *normed(100, 100, 3, 100), nn.ReLU6(), *normed(100, 20, 1)]

    stem = nn.Sequential(nn.Conv2d(3, 20, 3, 2, 1), nn.BatchNorm2d(20), nn.ReLU6())
    return classifier(stem, [Residual(*branch()) for _ in range(4)], 20)


ODD: dict[str, tuple[Callable[[], nn.Module], Tensor, str]] = {
    "a ResNet of width 24": (narrow, torch.zeros(2, 3, 32, 32), "timm/test_resnet.r160_in1k"),
    "patches of 12": (Patches, torch.zeros(2, 3, 96, 96), "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k"),
    "a decoder of bytes": (Writer, torch.zeros(2, 32, dtype=torch.long), "distilbert/distilgpt2"),
    "depthwise 9x9 kernels": (wide_kernels, torch.zeros(2, 3, 64, 64), "timm/test_convnext.r160_in1k"),
    "inverted bottlenecks": (inverted, torch.zeros(2, 3, 64, 64), "timm/mobilenetv2_050.lamb_in1k"),
}


@pytest.mark.parametrize("name", ODD)
def test_networks_of_nobodys_library_have_a_sensible_donor(name: str) -> None:
    build, example, wanted = ODD[name]
    found = paramgen.donors(build(), example_input=example)
    assert next(iter(found)).model.repo == wanted
    distances = [donor.distance for donor in found]
    assert distances == sorted(distances) and distances[0] > 0 and len(found) > 3
    assert {donor.model.profile.family for donor in found} == {found.profile.family}


def test_a_network_that_was_published_is_the_nearest_to_itself_and_the_next_size_comes_next() -> None:
    first, second, *_ = paramgen.donors("timm:resnet18")
    assert (first.model.repo, first.distance) == ("timm/resnet18.a1_in1k", 0.0)
    assert second.model.repo == "timm/resnet34.a1_in1k"
    assert first.model.bytes == 4 * 11_689_512 and "47 MB" in str(first) and "apache-2.0" in str(first)


def test_the_distance_follows_each_size() -> None:
    profile = next(model.profile for model in catalog() if model.spec == "timm:vit_small_patch16_224")
    changed = {"widths": (768, 768), "depth": 48, "patch": 32, "input": 448}
    by = [profile.distance(replace(profile, **{name: value})) for name, value in changed.items()]  # type: ignore[arg-type]
    assert by == sorted(by, reverse=True) == [1.0, 0.5, 0.25, 0.125]
    others = replace(profile, operations={"conv3": 1.0})
    assert profile.distance(others) == others.distance(profile) == pytest.approx(2.0)
    assert profile.distance(profile) == 0


@pytest.mark.parametrize(
    ("module", "example", "said"),
    [
        (
            nn.Sequential(nn.Linear(20, 9), nn.ReLU(), nn.Linear(9, 3)),
            torch.zeros(2, 20),
            "a plain MLP, and no published",
        ),
        (nn.LSTM(4, 5), torch.zeros(2, 3, 4), "network of another kind, and no published"),
    ],
)
def test_a_family_without_donors_says_so_in_a_line(module: nn.Module, example: Tensor, said: str) -> None:
    found = paramgen.donors(module, example_input=example)
    assert len(found) == 0 and said in found.reason and "\n" not in found.reason
    assert "--init inherit:FOLDER_OR_REPO" in found.reason and found.to_json()["donors"] == []


def test_licences_decide() -> None:
    free = paramgen.donors("timm:test_vit")
    assert {donor.model.license for donor in free} <= set(PERMISSIVE) and free.refused == ("cc-by-nc-4.0",)
    only = paramgen.donors("timm:test_resnet", license_allow=["mit"])
    assert len(only) == 1 and only.found[0].model.license == "mit"
    bound = paramgen.donors("timm:test_vit", license_allow=["cc-by-nc-4.0"])
    assert [donor.model.repo for donor in bound] == ["timm/vit_base_patch16_224.mae"]
    none = paramgen.donors("timm:test_convnext", license_allow=["mit"])
    assert not none.found and "are under apache-2.0" in none.reason and "--license-allow apache-2.0" in none.reason


def test_an_unknown_licence_is_refused_before_anything_is_built() -> None:
    with pytest.raises(UnknownNameError, match="Unknown licence 'apache'. Did you mean 'apache-2.0'") as caught:
        paramgen.donors("timm:no_such_network", license_allow=["apache"])
    assert "\n" not in str(caught.value)
    with pytest.raises(ParamgenError, match="no_such_network"):
        paramgen.donors("timm:no_such_network")
