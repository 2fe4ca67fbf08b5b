"""What a weight is for is read off the graph, alike in every library."""

from collections import Counter

import pytest
from torch import nn

from paramgen.graphs.analysis.roles import linear_maps_of
from paramgen.graphs.analysis.weight_roles import WeightPart, weight_roles_of
from paramgen.prediction import prepare

BLOCK = {"query": 1, "key": 1, "value": 1, "attention_output": 1, "pointwise": 1, "pointwise_last": 1}


def roles(arch: str | nn.Module, **overrides: int) -> dict[str, tuple[WeightPart, ...]]:
    prediction = prepare(arch, overrides=overrides)
    graph, manifest = prediction.graph, prediction.architecture.manifest
    return dict(weight_roles_of(graph, manifest, linear_maps_of(graph, manifest)))


def counted(found: dict[str, tuple[WeightPart, ...]]) -> Counter[str]:
    return Counter(part.role for parts in found.values() for part in parts)


@pytest.mark.parametrize(
    ("arch", "overrides", "also"),
    [
        ("timm:test_vit", {"depth": 2}, {"stem": 1, "head": 1, "position": 1, "class_token": 1}),
        (
            "transformers:ViTForImageClassification",
            {"num_hidden_layers": 2, "hidden_size": 48, "num_attention_heads": 3, "intermediate_size": 96},
            {"stem": 1, "head": 1, "position": 1, "class_token": 1},
        ),
        ("gpt2", {"n_layer": 2, "n_embd": 48, "n_head": 3}, {}),
    ],
)
def test_attention_is_taken_apart_whether_packed_separate_or_stored_in_columns(
    arch: str, overrides: dict[str, int], also: dict[str, int]
) -> None:
    assert counted(roles(arch, **overrides)) == {**{role: 2 * count for role, count in BLOCK.items()}, **also}


def test_the_rows_of_a_packed_weight_are_parts_and_the_depth_goes_from_the_first_map_to_the_last() -> None:
    found = roles("timm:test_vit", depth=2)
    packed = found["blocks.0.attn.qkv.weight"]
    width = packed[0].stop
    assert width is not None
    assert [(part.role, part.start, part.stop) for part in packed] == [
        ("query", 0, width), ("key", width, 2 * width), ("value", 2 * width, 3 * width)
    ]  # fmt: skip
    depths = [found[name][0].depth for name in ("patch_embed.proj.weight", "blocks.0.mlp.fc1.weight", "head.weight")]
    assert depths[0] == 0.0 and 0.0 < depths[1] < 1.0 and depths[2] == 1.0


def test_the_last_convolution_of_a_branch_is_told_from_the_others() -> None:
    found = roles("timm:resnet10t")
    assert found["layer1.0.conv1.weight"][0].role == "convolution"
    assert found["layer1.0.conv2.weight"][0].role == "convolution_last"
    assert found["conv1.0.weight"][0].role == "stem" and found["fc.weight"][0].role == "head"


def test_mobile_blocks_and_layer_scales() -> None:
    mobile = counted(roles("torchvision:mobilenet_v3_small"))
    assert mobile["depthwise"] == 11 and mobile["pointwise_last"] == 6  # the blocks with a skip
    assert mobile["pointwise"] > mobile["depthwise"] and mobile["stem"] == 1
    convnext = roles("timm:test_convnext")
    scales = [name for name, parts in convnext.items() if parts[0].role == "layer_scale"]
    assert scales and all(name.endswith("gamma") for name in scales)
