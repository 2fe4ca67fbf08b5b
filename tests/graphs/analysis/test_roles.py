"""What each weight is, on the networks of the libraries and on small ones where the answer is plain."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from paramgen.graphs.analysis.roles import GAINS, KINDS, biases_of, linear_maps_of
from paramgen.prediction import Prediction, prepare


def parts(prediction: Prediction) -> Any:
    return linear_maps_of(prediction.graph, prediction.architecture.manifest)


def test_the_tables_name_only_what_a_graph_can_hold() -> None:
    from paramgen.graphs.ops import VOCABULARY, WEIGHT_OPS

    assert set(KINDS) | {"embedding", "recurrent"} == WEIGHT_OPS
    assert set(GAINS) - {""} <= set(VOCABULARY)


@pytest.mark.parametrize(("activation", "gain"), [("relu", torch.relu), ("gelu", nn.GELU()), ("silu", nn.SiLU())])
def test_gains_keep_the_second_moment(activation: str, gain: Callable[[Tensor], Tensor]) -> None:
    normal = torch.randn(2_000_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert GAINS[activation] == pytest.approx(float(gain(normal).square().mean()) ** -0.5, rel=0.003)


def test_residual_network() -> None:
    found = parts(prepare("timm:test_resnet", init="library"))
    last = {name for name, part in found.items() if part.last_of_branch}
    assert last and {name.split(".")[-2] for name in last} <= {"conv2", "conv3"}
    assert {name for name, part in found.items() if part.output} == {"fc.weight"}
    assert all(part.followed_by == "relu" for name, part in found.items() if name != "fc.weight")


def test_inverted_residuals() -> None:
    found = parts(prepare("timm:test_efficientnet", init="library"))
    kinds = {part.kind for part in found.values()}
    assert kinds == {"conv", "depthwise", "linear"}
    depthwise = next(part for part in found.values() if part.kind == "depthwise")
    assert depthwise.out == depthwise.fan == 1 and depthwise.groups > 1 and depthwise.fan_in == depthwise.taps == 9
    assert all(part.followed_by == "" for name, part in found.items() if name.endswith("conv_pwl.weight"))


def test_transformers() -> None:
    found = parts(prepare("timm:test_vit", init="library"))
    assert {name for name, part in found.items() if part.last_of_branch} == {
        f"blocks.{index}.{word}.weight" for index in range(len(found) // 4) for word in ("attn.proj", "mlp.fc2")
        if f"blocks.{index}.{word}.weight" in found
    }  # fmt: skip
    assert found["blocks.0.mlp.fc1.weight"].followed_by == "gelu"
    assert not found["patch_embed.proj.weight"].last_of_branch  # a position table is no shortcut
    assert found["head.weight"].output
    gpt2 = parts(prepare("gpt2", init="library", overrides={"n_layer": 1, "n_embd": 32, "n_head": 2}))
    assert "transformer.wte.weight" not in gpt2  # a table, also where it is used as a matrix
    inner = gpt2["transformer.h.0.mlp.c_fc.weight"]
    assert inner.in_out and (inner.out, inner.fan) == (128, 32)
    assert inner.followed_by == "gelu"  # written out with tanh
    assert gpt2["transformer.h.0.mlp.c_proj.weight"].last_of_branch


def test_a_time_embedding_is_no_shortcut() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.time = nn.Linear(4, 8)
            self.first, self.second, self.shortcut = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(3, 8, 1)
            self.third, self.fourth = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
            self.shift, self.later = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, images: Tensor, time: Tensor) -> Tensor:
            time = self.time(time).sigmoid()
            inner = self.second((self.first(images) + self.shift(time)[..., None, None]).relu())
            images = self.shortcut(images) + inner
            return images + self.fourth((self.third(images) + self.later(time)[..., None, None]).relu())

    inputs: Any = ((torch.zeros(2, 3, 5, 5), torch.zeros(2, 4)), {})
    found = parts(prepare(Block(), init="library", example_input=inputs))
    assert {name for name, part in found.items() if part.last_of_branch} == {"second.weight", "fourth.weight"}


def test_gates_multiply_and_do_not_follow() -> None:
    overrides = {"num_hidden_layers": 1, "hidden_size": 32, "intermediate_size": 48, "vocab_size": 50}
    found = parts(prepare("transformers:llama", init="library", overrides={**overrides, "num_attention_heads": 4}))
    mlp = "model.layers.0.mlp"
    assert [found[f"{mlp}.{word}_proj.weight"].followed_by for word in ("gate", "up", "down")] == ["silu", "", ""]
    assert found[f"{mlp}.down_proj.weight"].last_of_branch and not found[f"{mlp}.up_proj.weight"].last_of_branch
    assert found["lm_head.weight"].output


def test_stored_puts_matrices_into_every_layout() -> None:
    class Layouts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rows = nn.Linear(6, 4)
            self.columns = nn.Parameter(torch.randn(4, 8))
            self.up = nn.ConvTranspose1d(8, 6, 3, stride=2, groups=2)
            self.grouped = nn.Conv1d(6, 9, 3, groups=3)

        def forward(self, states: Tensor) -> Tensor:
            states = self.rows(states) @ self.columns
            return self.grouped(self.up(states.mT))

    prediction = prepare(Layouts(), init="library", example_input=((torch.zeros(2, 5, 6),), {}))
    manifest, found = prediction.architecture.manifest, parts(prediction)
    assert {name: (part.kind, part.groups, part.out, part.fan, part.kernel) for name, part in found.items()} == {
        "rows.weight": ("linear", 1, 4, 6, ()),
        "columns": ("linear", 1, 8, 4, ()),
        "up.weight": ("transposed_conv", 2, 3, 4, (3,)),
        "grouped.weight": ("conv", 3, 3, 2, (3,)),
    }
    assert found["up.weight"].fan_in == 4 * 3 / 2
    for name, part in found.items():
        weights = torch.arange(float(manifest[name].elements)).view(part.groups, part.out, part.fan, *part.kernel)
        stored = part.stored(weights, manifest[name])
        assert stored.shape == manifest[name].shape
        if name == "columns":
            assert torch.equal(stored, weights[0].T)
        if name == "up.weight":
            assert torch.equal(stored[5, 2], weights[1, 2, 1])  # input 1 and output 2 of the second group
    assert biases_of(prediction.graph, manifest, found) == {"rows.bias", "up.bias", "grouped.bias"}
