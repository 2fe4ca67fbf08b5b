"""Where networks attend to themselves, over the libraries."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from paramgen.graphs.analysis.attention import Attention, attentions_of
from paramgen.prediction import prepare

TEXT = {"num_hidden_layers": 1, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "vocab_size": 50}


def found(arch: Any, **options: Any) -> list[Attention]:
    prediction = prepare(arch, init="library", **options)
    return attentions_of(prediction.graph, prediction.architecture.manifest)


@pytest.mark.parametrize(
    ("arch", "overrides", "query", "key", "value", "project"),
    [
        ("timm:test_vit", {}, "qkv", "qkv", "qkv", "proj"),
        ("gpt2", {"n_layer": 1, "n_embd": 32, "n_head": 2}, "c_attn", "c_attn", "c_attn", "c_proj"),
        ("transformers:bert", TEXT, "query", "key", "value", "dense"),
        ("transformers:llama", {**TEXT, "num_key_value_heads": 2}, "q_proj", "k_proj", "v_proj", "o_proj"),
        ("transformers:vit", {**TEXT, "image_size": 32} | {"vocab_size": 2}, "q_proj", "k_proj", "v_proj", "o_proj"),
        ("transformers:gpt_neox", TEXT, "query_key_value", "query_key_value", "query_key_value", "dense"),
    ],
)
def test_libraries(arch: str, overrides: dict[str, Any], query: str, key: str, value: str, project: str) -> None:
    if arch == "transformers:vit":
        overrides = {name: each for name, each in overrides.items() if name != "vocab_size"}
    groups = found(arch, overrides=overrides)
    assert groups
    for group in groups:
        assert group.value is not None and group.project is not None
        shares = (group.query, group.key, group.value, group.project)
        assert [share.slot.split(".")[-2] for share in shares] == [query, key, value, project]
        assert len(set(group.query.rows)) * group.head_width == group.width


def test_rows_of_fused_weights() -> None:
    (group,) = found("gpt2", overrides={"n_layer": 1, "n_embd": 32, "n_head": 2})
    assert group.query.in_out and group.value is not None
    assert (group.query.rows, group.key.rows, group.value.rows) == ((0, 16), (32, 48), (64, 80))
    (by_head,) = found("transformers:gpt_neox", overrides=TEXT)
    assert by_head.value is not None
    assert (by_head.query.rows, by_head.value.rows) == ((0, 24, 48, 72), (16, 40, 64, 88))
    shared = {**TEXT, "num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    (grouped,) = found("transformers:phi3", overrides=shared)
    assert (grouped.query.rows, grouped.key.rows) == ((0, 8, 16, 24), (32, 40))


class Own(nn.Module):
    """Written by hand, with names that say nothing, values first."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third, self.last = (nn.Linear(12, 12) for _ in range(4))

    def forward(self, states: Tensor) -> Tensor:
        third, first, second = (
            layer(states).unflatten(-1, (3, 4)).transpose(1, 2) for layer in (self.third, self.first, self.second)
        )
        scores = (first @ second.mT / 2).softmax(-1)
        return states + self.last((scores @ third).transpose(1, 2).flatten(2))


def test_structure_tells_values_where_names_do_not() -> None:
    (group,) = found(Own(), example_input=((torch.zeros(2, 5, 12),), {}))
    assert group.value is not None and group.project is not None
    assert {group.query.slot, group.key.slot} == {"first.weight", "second.weight"}
    assert (group.value.slot, group.project.slot) == ("third.weight", "last.weight")
    assert (group.width, group.head_width, group.heads) == (12, 4, 3)


@pytest.mark.parametrize("need_weights", [True, False])
def test_multihead_attention_of_torch(need_weights: bool) -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.MultiheadAttention(32, 4, batch_first=True)

        def forward(self, states: Tensor) -> Tensor:
            return self.inner(states, states, states, need_weights=need_weights)[0]

    (group,) = found(Wrapped(), example_input=((torch.zeros(2, 5, 32),), {}))
    assert group.key.slot == "inner.in_proj_weight" and group.key.rows == (32, 40, 48, 56)


def test_attention_to_something_else_is_left_out() -> None:
    class Cross(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.MultiheadAttention(32, 4, batch_first=True)

        def forward(self, states: Tensor, memory: Tensor) -> Tensor:
            return self.inner(states, memory, memory)[0]

    assert found(Cross(), example_input=((torch.zeros(2, 5, 32), torch.zeros(2, 7, 32)), {})) == []
    assert found("timm:test_resnet") == []


@pytest.mark.slow
def test_shifted_windows_and_decoders() -> None:
    assert len(found("torchvision:swin_t")) == 12
    groups = found("transformers:t5", overrides={"num_layers": 1, "num_decoder_layers": 1})
    assert ["SelfAttention" in group.query.slot for group in groups] == [True, True]
