"""Products of attention weights near the identity."""

from typing import Any

import pytest
import torch
from timm.layers.attention import Attention
from torch import Tensor, nn

from paramgen.errors import OptionError
from paramgen.graphs.analysis.attention import Share, attentions_of
from paramgen.initializers import initializer_of
from paramgen.prediction import describe, prepare

LLAMA = {
    "num_hidden_layers": 1,
    "hidden_size": 64,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 50,
}
BERT = {"num_hidden_layers": 1, "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 96}


def block(state: dict[str, Tensor], share: Share, head: int, width: int) -> Tensor:
    """The math's own matrix of a head: inputs as rows."""
    weight = state[share.slot] if share.in_out else state[share.slot].T
    return weight[:, share.rows[head] : share.rows[head] + width]


@pytest.mark.parametrize(
    ("arch", "overrides"),
    [
        ("timm:test_vit", {}),
        pytest.param("torchvision:swin_t", {}, marks=pytest.mark.slow),
        ("transformers:bert", BERT),
        ("transformers:llama", LLAMA),
        ("gpt2", {"n_layer": 1, "n_embd": 64, "n_head": 4}),
    ],
)
def test_products_are_what_the_paper_asks_for(arch: str, overrides: dict[str, Any]) -> None:
    prediction = prepare(arch, init="mimetic", overrides=overrides, seed=1)
    groups = attentions_of(prediction.graph, prediction.architecture.manifest)[:3]
    assert groups
    shares = [share for group in groups for share in (group.query, group.key, group.value, group.project) if share]
    state = dict(prediction.only(list(dict.fromkeys(share.slot for share in shares))))
    for group in groups:
        width, shared = group.head_width, group.heads // len(group.key.rows)
        for head in range(group.heads):
            query, key = block(state, group.query, head, width), block(state, group.key, head // shared, width)
            product = query @ key.T
            values = torch.linalg.svdvals(product)
            assert bool((values[width:] < 1e-4).all())  # of rank head_width, by construction
            assert float(product.trace()) / width > 0.6  # along the identity
            if head % shared == 0:
                assert float(values[0]) > 1.0 and torch.allclose(query.norm(dim=0), key.norm(dim=0), rtol=1e-3)
        assert group.value is not None and group.project is not None
        value = torch.cat([block(state, group.value, head // shared, width) for head in range(group.heads)], dim=1)
        mixed = state[group.project.slot] if group.project.in_out else state[group.project.slot].T
        assert float((value @ mixed).trace()) / (width * len(group.key.rows)) < -0.3


def test_full_products_are_exact() -> None:
    """With as many values as channels nothing is cut off: noise and identity come back as they were weighed."""
    prediction = prepare("timm:test_vit", init="mimetic?alpha2=0.0&beta2=0.5")
    state = prediction.state_dict()
    group = attentions_of(prediction.graph, prediction.architecture.manifest)[0]
    assert group.value is not None and group.project is not None
    value = torch.cat([block(state, group.value, head, group.head_width) for head in range(group.heads)], dim=1)
    assert torch.allclose(value @ state[group.project.slot].T, -0.5 * torch.eye(group.width), atol=1e-5)


def test_heads_that_share_keys_differ() -> None:
    prediction = prepare("transformers:llama", init="mimetic", overrides=LLAMA)
    query = prediction.state_dict()["model.layers.0.self_attn.q_proj.weight"].view(4, 16, 64)
    assert not torch.allclose(query[0], query[1], atol=0.1)


def test_positions_are_sinusoids_and_the_class_token_has_none() -> None:
    prediction = prepare("timm:test_vit", init="mimetic")
    assert prediction.rules["pos_embed"] == "mimetic" and prediction.rules["head.weight"] == "library"
    table = prediction.state_dict()["pos_embed"][0]
    assert not table[0].any()
    grid = table[1:].view(10, 10, -1)
    quarter = table.shape[1] // 4
    assert torch.allclose(table[1:].square().sum(1), torch.full((100,), table.shape[1] / 2))
    assert torch.equal(grid[0, :, : 2 * quarter], grid[7, :, : 2 * quarter])  # columns first, then rows
    assert torch.equal(grid[:, 0, 2 * quarter :], grid[:, 5, 2 * quarter :])
    kept = prepare("timm:test_vit", init="mimetic?positions=false")
    assert kept.rules["pos_embed"] == "library"


def test_a_network_without_attention_is_refused() -> None:
    with pytest.raises(OptionError, match="'mimetic' fills nothing of 'timm:test_resnet': it has no rule"):
        prepare("timm:test_resnet", init="mimetic")


def test_mlps_have_a_mean_where_it_is_requested() -> None:
    prediction = prepare("timm:test_vit", init="mimetic?mlp_mean=0.5")
    rules, state = prediction.rules, prediction.state_dict()
    shifted = {name for name, rule in rules.items() if rule == "mimetic mean"}
    assert shifted == {f"blocks.{block}.mlp.fc1.weight" for block in range(6)}
    for name in shifted:
        assert float(state[name].mean() / state[name].std()) == pytest.approx(0.5, abs=0.05)
    assert "mimetic mean" not in prepare("timm:test_vit", init="mimetic").rules.values()


class WideHeads(nn.Module):
    """Heads that together are wider than the network, so its packed weight has values that mimetic does not fill."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention(16, num_heads=2, attn_head_dim=12)

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens + self.attention(tokens)


def test_what_it_builds_on_is_what_it_fills_in_part_or_adds_to() -> None:
    mimetic, shifting = initializer_of("mimetic"), initializer_of("mimetic?mlp_mean=0.5")
    wide = WideHeads()
    found = describe(wide, example_input=((torch.zeros(1, 5, 16),), {}))
    assert mimetic.rules(*found)["attention.qkv.weight"] == "mimetic"
    assert mimetic.builds_on(*found) == {"attention.qkv.weight"}
    state = dict(mimetic.tensors(*found, seed=0))
    assert torch.equal(state["attention.qkv.weight"][48:], wide.attention.qkv.weight[48:])  # its values, as they were
    assert not torch.equal(state["attention.qkv.weight"][:48], wide.attention.qkv.weight[:48])
    whole = prepare("timm:test_vit", init="mimetic")
    assert mimetic.builds_on(whole.architecture, whole.graph) == set()
    added = {f"blocks.{block}.mlp.fc1.weight" for block in range(6)}
    assert shifting.builds_on(whole.architecture, whole.graph) == added
    packed = prepare("gpt2", init="mimetic", overrides={"n_layer": 1, "n_embd": 64, "n_head": 4})
    assert mimetic.builds_on(packed.architecture, packed.graph) == set()
