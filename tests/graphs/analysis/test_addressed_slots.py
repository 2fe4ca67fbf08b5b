from dataclasses import replace

from paramgen.architectures import resolve
from paramgen.graphs.analysis.addressed_slots import AddressedSlot, addressed_slots_of
from paramgen.graphs.analysis.neighbours import Neighbours
from paramgen.graphs.tracing.trace import trace


def addressed(spec: str) -> dict[str, AddressedSlot]:
    architecture = resolve(spec)
    assert architecture.module is not None and architecture.example is not None
    return addressed_slots_of(
        trace(architecture.module, architecture.manifest, architecture.example), architecture.manifest
    )


def names(found: dict[str, AddressedSlot], slot: str) -> list[str]:
    return [str(part.address).partition("/")[0] for part in found[slot].slices]


def test_a_residual_network_has_an_address_for_every_slot() -> None:
    found = addressed("timm:resnet18")
    assert names(found, "conv1.weight") == ["stem7by2"]
    assert names(found, "layer1.0.conv1.weight") == ["stream>conv3>conv@2"]
    assert names(found, "layer1.0.conv2.weight") == ["conv>conv3>stream@2"]
    assert names(found, "layer2.0.conv1.weight") == ["stream>conv3s>conv@3"]
    assert names(found, "layer2.0.downsample.0.weight") == ["stream>pws>stream@3"]
    assert names(found, "fc.weight") == ["head1000"]
    assert str(found["layer1.1.conv1.weight"].address) == "stream>conv3>conv@2/1:weight"
    assert found["layer1.1.conv1.weight"].depth_count == 2
    assert (
        found["layer1.0.bn1.weight"].address.part == "post_scale"
        and found["layer1.0.bn1.bias"].address.part == "post_bias"
    )
    assert len(found) == 62


def test_a_network_of_grey_images_has_the_addresses_of_one_of_coloured_images() -> None:
    found, coloured = addressed("timm:resnet18?in_chans=1"), addressed("timm:resnet18")
    assert {slot: each.slices for slot, each in found.items()} == {slot: each.slices for slot, each in coloured.items()}
    assert found["conv1.weight"].grey and not coloured["conv1.weight"].grey


def test_inverted_residuals_with_gates_are_told_apart() -> None:
    found = addressed("timm:mobilenetv3_small_050")
    assert names(found, "blocks.1.1.conv_pw.weight") == ["stream>pw>dw@3"]
    assert names(found, "blocks.1.1.conv_dw.weight") == ["pw>dw3>pw@3"]
    assert names(found, "blocks.1.1.conv_pwl.weight") == ["dw>pw>stream@3"]
    assert names(found, "blocks.0.0.se.conv_reduce.weight") == ["pool>pw>pw@2"]
    assert names(found, "blocks.0.0.se.conv_expand.weight") == ["pw>pw>gate@2"]
    assert len(found) == 142


def test_fused_and_separate_projections_are_cut_from_the_same_weights() -> None:
    fused, split = addressed("timm:vit_tiny_patch16_224?depth=2"), addressed("transformers:ViTForImageClassification")
    whole = fused["blocks.1.attn.qkv.weight"]
    assert [(part.start, part.stop) for part in whole.slices] == [(0, 192), (192, 384), (384, 576)]
    parts = [f"vit.layers.11.attention.{part}_proj.weight" for part in "qkv"]
    assert names(fused, "blocks.1.attn.qkv.weight") == [name for part in parts for name in names(split, part)]
    assert whole.depth == split[parts[0]].depth == 1.0
    assert names(fused, "blocks.1.norm1.weight") == ["stream>pw>attention@tokens"]
    assert fused["pos_embed"].form == "position" and fused["cls_token"].address.part == "class_token"


def test_layer_scales_have_the_address_of_the_weight_in_front_of_them() -> None:
    found = addressed("timm:convnext_atto")
    assert str(found["stages.0.blocks.1.gamma"].address) == "pw>pw>stream@2/1:layer_scale"


def test_what_mixes_tokens_has_no_address() -> None:
    found = addressed("timm:mixer_s32_224")
    assert not any("mlp_tokens" in slot for slot in found)
    assert names(found, "blocks.1.mlp_channels.fc1.weight") == ["stream>pw>pw@tokens"]


SMALL = "hidden_size=32&num_hidden_layers=2&num_attention_heads=4&intermediate_size=64&vocab_size=256"


def test_language_models_have_an_address_for_every_slot() -> None:
    gpt2 = addressed("transformers:GPT2LMHeadModel?n_layer=2&n_embd=32&n_head=2&n_positions=64&vocab_size=256")
    assert names(gpt2, "transformer.wte.weight") == ["words@absolute"]
    assert names(gpt2, "transformer.wpe.weight") == ["positions@absolute"]
    assert names(gpt2, "transformer.h.1.mlp.c_fc.weight") == ["stream>pw>pw@absolute"]  # by a GELU that is written out
    assert names(gpt2, "transformer.h.1.mlp.c_proj.weight") == ["pw>pw>stream@absolute"]
    fused = gpt2["transformer.h.1.attn.c_attn.weight"]
    assert fused.in_out and [part.address.projection for part in fused.slices] == ["query", "key", "value"]
    assert len(gpt2) == 2 + 2 * 12 + 2
    llama = addressed(f"transformers:LlamaForCausalLM?{SMALL}&num_key_value_heads=2")
    assert names(llama, "lm_head.weight") == ["head@rotary"] and llama["lm_head.weight"].form == "table"
    assert names(llama, "model.layers.1.mlp.gate_proj.weight") == ["stream>pw>pw@rotary"]
    assert names(llama, "model.layers.1.mlp.up_proj.weight") == ["stream>pw>stream@rotary"]
    assert llama["model.layers.0.input_layernorm.weight"].address.part == "pre_scale"
    assert len(llama) == 2 + 2 * 9 + 1


def test_blocks_that_normalize_behind_their_sums_have_addresses_of_their_own() -> None:
    found = addressed(f"transformers:BertForMaskedLM?{SMALL}")
    assert {part.address.scale for slot in found.values() for part in slot.slices} == {"postnorm"}


def test_a_linear_weight_without_columns_mixes_nothing() -> None:
    architecture = resolve("timm:resnet18")
    assert architecture.module is not None and architecture.example is not None
    graph = trace(architecture.module, architecture.manifest, architecture.example)
    index = graph.nodes_of_slot()["bn1.weight"]
    nodes = (*graph.nodes[:index], replace(graph.nodes[index], op="linear"), *graph.nodes[index + 1 :])
    assert not Neighbours(replace(graph, nodes=nodes)).mixes_tokens(index)
