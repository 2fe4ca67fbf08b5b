"""Which family a network is of, decided from the graph: networks of every library, hybrids, and a user's own."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from paramgen.graphs.analysis.model_families import FAMILY_LABELS, MODEL_FAMILIES
from paramgen.graphs.analysis.model_family import family_of
from paramgen.prediction import describe

SMALL = {"num_hidden_layers": 1, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}
TOKENS = {"vocab_size": 50} | dict.fromkeys(("pad_token_id", "cls_token_id", "bos_token_id"), 1)
TOKENS |= dict.fromkeys(("sep_token_id", "eos_token_id"), 2)
T5 = {"num_layers": 1, "num_heads": 2, "d_model": 32, "d_kv": 16, "d_ff": 48, "vocab_size": 50}
BART = {f"{side}_{what}": size for side in ("encoder", "decoder")
        for what, size in (("layers", 1), ("attention_heads", 2), ("ffn_dim", 48))} | {"d_model": 32}  # fmt: skip
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
    "torchvision:swin_t": "staged_transformer",
    "timm:cait_xxs24_224": "vision_transformer",
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
        ("transformers:BertForMaskedLM", {**SMALL, "vocab_size": 50}, "text_encoder"),
        pytest.param("transformers:ModernBertForMaskedLM", {**SMALL, **TOKENS}, "text_encoder", marks=pytest.mark.slow),
        ("transformers:T5ForConditionalGeneration", T5, "text_to_text"),
        pytest.param("transformers:BartForConditionalGeneration", BART, "text_to_text", marks=pytest.mark.slow),
        ("transformers:vit", {**SMALL, "image_size": 32, "patch_size": 8}, "vision_transformer"),
    ],
)
def test_transformers(arch: str, overrides: dict[str, int], family: str) -> None:
    assert family_of(describe(arch, overrides=overrides)[1]) == family


class Reader(nn.Module):
    """A user's own transformer for one text or, as an encoder and a decoder, for two."""

    def __init__(self, *, causal: bool, by_hand: bool = False, twice: bool = False) -> None:
        super().__init__()
        self.words, self.mix, self.head = nn.Embedding(20, 8), nn.Linear(8, 8), nn.Linear(8, 20)
        self.causal, self.by_hand, self.twice = causal, by_hand, twice

    def attend(self, states: Tensor, others: Tensor, *, causal: bool) -> Tensor:
        if not self.by_hand:
            return states + nn.functional.scaled_dot_product_attention(
                states, others, self.mix(others), None, 0, causal
            )
        weights = states @ others.transpose(1, 2)
        mask = torch.ones(weights.shape[1:], device=weights.device).tril() == 0
        return states + weights.masked_fill(mask, -1e9).softmax(-1) @ self.mix(others)

    def forward(self, text: Tensor, types: Tensor | None = None) -> Tensor:
        states = self.words(text)
        if types is not None and not self.twice:
            states = states + self.words(types)
        states = self.attend(states, states, causal=self.causal)
        if types is not None and self.twice:
            answer = self.words(types)
            states = self.attend(self.attend(answer, answer, causal=self.causal), states, causal=self.causal)
        return self.head(states)


@pytest.mark.parametrize(
    ("module", "texts", "family"),
    [
        (Reader(causal=True), 1, "text_transformer"),
        (Reader(causal=True, by_hand=True), 1, "text_transformer"),
        (Reader(causal=False), 1, "text_encoder"),
        (Reader(causal=False), 2, "text_encoder"),  # as BERT with its token types: two tables, one text
        (Reader(causal=True, twice=True), 2, "text_to_text"),
    ],
)
def test_texts_of_a_users_own(module: nn.Module, texts: int, family: str) -> None:
    given = tuple(torch.zeros(2, 6, dtype=torch.long) for _ in range(texts))
    assert family_of(describe(module, example_input=(given, {}))[1]) == family


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
    assert set(FAMILY_LABELS) == set(MODEL_FAMILIES)
