from dataclasses import replace

from paramgen.architectures import resolve
from paramgen.graphs.analysis.neighbours import Neighbours
from paramgen.graphs.analysis.places import Place, places_of
from paramgen.graphs.tracing.trace import trace


def places(spec: str) -> dict[str, Place]:
    architecture = resolve(spec)
    assert architecture.module is not None and architecture.example is not None
    return places_of(trace(architecture.module, architecture.manifest, architecture.example), architecture.manifest)


def names(found: dict[str, Place], slot: str) -> list[str]:
    return [piece.name for piece in found[slot].pieces]


def test_a_residual_network_has_a_place_for_every_slot() -> None:
    found = places("timm:resnet18")
    assert names(found, "conv1.weight") == ["stem7by2"]
    assert names(found, "layer1.0.conv1.weight") == ["stream>conv3>conv@2"]
    assert names(found, "layer1.0.conv2.weight") == ["conv>conv3>stream@2"]
    assert names(found, "layer2.0.conv1.weight") == ["stream>conv3s>conv@3"]
    assert names(found, "layer2.0.downsample.0.weight") == ["stream>pws>stream@3"]
    assert names(found, "fc.weight") == ["head1000"]
    assert (found["layer1.1.conv1.weight"].turn, found["layer1.1.conv1.weight"].turns) == (1, 2)
    assert found["layer1.0.bn1.weight"].part == "post_scale" and found["layer1.0.bn1.bias"].part == "post_bias"
    assert len(found) == 62


def test_a_network_of_grey_images_has_the_places_of_one_of_coloured_images() -> None:
    found, coloured = places("timm:resnet18?in_chans=1"), places("timm:resnet18")
    assert {slot: place.pieces for slot, place in found.items()} == {
        slot: place.pieces for slot, place in coloured.items()
    }
    assert found["conv1.weight"].grey and not coloured["conv1.weight"].grey


def test_inverted_residuals_with_gates_are_told_apart() -> None:
    found = places("timm:mobilenetv3_small_050")
    assert names(found, "blocks.1.1.conv_pw.weight") == ["stream>pw>dw@3"]
    assert names(found, "blocks.1.1.conv_dw.weight") == ["pw>dw3>pw@3"]
    assert names(found, "blocks.1.1.conv_pwl.weight") == ["dw>pw>stream@3"]
    assert names(found, "blocks.0.0.se.conv_reduce.weight") == ["pool>pw>pw@2"]
    assert names(found, "blocks.0.0.se.conv_expand.weight") == ["pw>pw>gate@2"]
    assert len(found) == 142


def test_fused_and_separate_projections_are_cut_from_the_same_weights() -> None:
    fused, split = places("timm:vit_tiny_patch16_224?depth=2"), places("transformers:ViTForImageClassification")
    whole = fused["blocks.1.attn.qkv.weight"]
    assert [(piece.start, piece.stop) for piece in whole.pieces] == [(0, 192), (192, 384), (384, 576)]
    parts = [f"vit.layers.11.attention.{part}_proj.weight" for part in "qkv"]
    assert [piece.name for piece in whole.pieces] == [name for part in parts for name in names(split, part)]
    assert whole.depth == split[parts[0]].depth == 1.0
    assert fused["blocks.1.norm1.weight"].pieces[0].name == "stream>pw>attention@tokens"
    assert fused["pos_embed"].form == "position" and fused["cls_token"].part == "class_token"


def test_layer_scales_stand_with_the_weight_in_front_of_them() -> None:
    found = places("timm:convnext_atto")
    gamma = found["stages.0.blocks.1.gamma"]
    assert (gamma.part, gamma.pieces[0].name, gamma.turn) == ("layer_scale", "pw>pw>stream@2", 1)


def test_what_mixes_tokens_has_no_place() -> None:
    found = places("timm:mixer_s32_224")
    assert not any("mlp_tokens" in slot for slot in found)
    assert names(found, "blocks.1.mlp_channels.fc1.weight") == ["stream>pw>pw@tokens"]


SMALL = "hidden_size=32&num_hidden_layers=2&num_attention_heads=4&intermediate_size=64&vocab_size=256"


def test_language_models_have_a_place_for_every_slot() -> None:
    gpt2 = places("transformers:GPT2LMHeadModel?n_layer=2&n_embd=32&n_head=2&n_positions=64&vocab_size=256")
    assert names(gpt2, "transformer.wte.weight") == ["words@absolute"]
    assert names(gpt2, "transformer.wpe.weight") == ["positions@absolute"]
    assert names(gpt2, "transformer.h.1.mlp.c_fc.weight") == ["stream>pw>pw@absolute"]  # by a GELU that is written out
    assert names(gpt2, "transformer.h.1.mlp.c_proj.weight") == ["pw>pw>stream@absolute"]
    fused = gpt2["transformer.h.1.attn.c_attn.weight"]
    assert fused.in_out and [piece.name.rpartition(":")[2] for piece in fused.pieces] == ["query", "key", "value"]
    assert len(gpt2) == 2 + 2 * 12 + 2
    llama = places(f"transformers:LlamaForCausalLM?{SMALL}&num_key_value_heads=2")
    assert names(llama, "lm_head.weight") == ["head@rotary"] and llama["lm_head.weight"].form == "table"
    assert names(llama, "model.layers.1.mlp.gate_proj.weight") == ["stream>pw>pw@rotary"]
    assert names(llama, "model.layers.1.mlp.up_proj.weight") == ["stream>pw>stream@rotary"]
    assert llama["model.layers.0.input_layernorm.weight"].part == "pre_scale"
    assert len(llama) == 2 + 2 * 9 + 1


def test_blocks_that_normalize_behind_their_sums_are_places_of_their_own() -> None:
    found = places(f"transformers:BertForMaskedLM?{SMALL}")
    assert {
        name.rpartition("@")[2].partition(":")[0]
        for place in found.values()
        for name in (piece.name for piece in place.pieces)
    } == {"postnorm"}


def test_a_linear_weight_without_columns_mixes_nothing() -> None:
    architecture = resolve("timm:resnet18")
    assert architecture.module is not None and architecture.example is not None
    graph = trace(architecture.module, architecture.manifest, architecture.example)
    index = graph.nodes_of_slot()["bn1.weight"]
    nodes = (*graph.nodes[:index], replace(graph.nodes[index], op="linear"), *graph.nodes[index + 1 :])
    assert not Neighbours(replace(graph, nodes=nodes)).mixes_tokens(index)
