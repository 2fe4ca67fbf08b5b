"""Small random checkpoints with the keys and shapes of the published families, spelled out; nothing of ours in it."""

import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]
HID, LAYERS, HEADS, CLASSES, LARGEST, SIDE, RANK, WIDTH = 8, 2, 4, 10, 6, 11, 3, 64
CHANNEL_ROWS, LANGUAGE_CHANNEL_ROWS, SPATIAL_ROWS = 392, 395, 9


def linear(name: str, out: int, inputs: int) -> Shapes:
    return {f"{name}.weight": (out, inputs), f"{name}.bias": (out,)}


def norm(name: str) -> Shapes:
    return {f"{name}.weight": (HID,), f"{name}.bias": (HID,)}


def embedding(primitives: int, channels: int) -> Shapes:
    return {
        **norm("ln"),
        "embed.weight": (primitives, HID),
        "shape_enc.embed_spatial.weight": (SPATIAL_ROWS, HID // 4),
        "shape_enc.embed_channel.weight": (channels, HID // 4),
    }


def graphormer(*, pretrained: bool) -> Shapes:
    place = "" if pretrained else "gnn.0."
    shapes: Shapes = {
        f"{place}centrality_embed_in.weight": (101, HID),
        f"{place}centrality_embed_out.weight": (101, HID),
        f"{place}input_dist_embed.weight": (1001, HID),
        "gnn.0.attn.edge_embed.embed.weight": (257, HID),
        **linear("gnn.0.attn.proj_e.0", HID, 2 * HID),
        **linear("gnn.0.attn.proj_e.2", HEADS, HID),
    }
    for layer in range(LAYERS):
        at = f"gnn.{layer}"
        shapes |= {**norm(f"{at}.ln1"), **norm(f"{at}.ln2"), f"{at}.attn.to_qkv.weight": (3 * HID, HID)}
        shapes |= {**linear(f"{at}.attn.to_out.0", HID, HID), **linear(f"{at}.ff.net.0", 4 * HID, HID)}
        shapes |= linear(f"{at}.ff.net.3", HID, 4 * HID)
    return shapes


def conv() -> Shapes:
    return {
        **linear("decoder.fc.0", 4 * HID * SIDE**2, HID),
        **linear("decoder.conv.0", 8 * HID, 4 * HID),
        **linear("decoder.conv.2", LARGEST**2, 8 * HID),
        **linear("decoder.class_layer_predictor.1", CLASSES, LARGEST),
        **linear("decoder_1d.fc.0", 2 * HID, HID),
        **linear("decoder_1d.fc.2", 2 * LARGEST, 2 * HID),
        **linear("bias_class.1", CLASSES, LARGEST),
    }


def ghn3(*, pretrained: bool) -> Shapes:
    return {**embedding(15, CHANNEL_ROWS), **graphormer(pretrained=pretrained), **conv()}


def ghn2(*, virtual: bool) -> Shapes:
    inner = HID // 2 if virtual else HID
    gated = {**linear("gnn.mlp.fc.0", inner, HID), **linear("gnn.mlp.fc.2", HID, inner)}
    if virtual:
        gated |= {**linear("gnn.mlp_ve.fc.0", inner, HID), **linear("gnn.mlp_ve.fc.2", HID, inner)}
    gated |= {f"gnn.gru.weight_{end}": (3 * HID, HID) for end in ("ih", "hh")}
    gated |= {f"gnn.gru.bias_{end}": (3 * HID,) for end in ("ih", "hh")}
    shapes = {**embedding(15, CHANNEL_ROWS), **gated, **conv()}
    if not virtual:
        shapes = {key: shape for key, shape in shapes.items() if not key.startswith("ln.")}
    pixels = ("decoder.conv.0.weight", "decoder.conv.2.weight", "decoder.class_layer_predictor.1.weight")
    return {key: (*shape, 1, 1) if key in pixels else shape for key, shape in shapes.items()}


def logah(*, language: bool, vectors: bool = False) -> Shapes:
    rows = (18, LANGUAGE_CHANNEL_ROWS) if language else (15, CHANNEL_ROWS)
    decoder = {
        **linear("decoder.mlp.fc.0", 4 * HID, HID),
        **linear("decoder.mlp.fc.2", 8 * HID, 4 * HID),
        **linear("decoder.mlp.fc.4", 2 * RANK**2, 8 * HID),
        **linear("decoder.l1", RANK, RANK),
        **linear("decoder.l2", WIDTH, RANK),
        **linear("decoder.seq.1", WIDTH, RANK),
    }
    if vectors:
        decoder |= {**linear("decoder_1d.fc.0", 2 * HID, HID), **linear("decoder_1d.fc.2", HID, 2 * HID)}
        decoder |= linear("bias_class.1", CLASSES, HID // 2)
    else:
        decoder |= {**linear("decoder_1d.0", 1, 1), **linear("bias_class.1", 1, 1)}
    return {**embedding(*rows), **graphormer(pretrained=False), **decoder}


def drawn(shapes: Shapes) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    state = {key: 0.2 * torch.randn(shape, generator=generator) for key, shape in shapes.items()}
    for leaf in ("weight", "bias"):
        if f"decoder.l2.{leaf}" in state:
            state[f"decoder.l2.{leaf}"] = state[f"decoder.seq.1.{leaf}"]
    return state


CONFIG: dict[str, object] = {
    "max_shape": (LARGEST, LARGEST, SIDE, SIDE),
    "num_classes": CLASSES,
    "hypernet": "gatedgnn",
    "decoder": "conv",
    "weight_norm": True,
    "ve": True,
    "layernorm": True,
    "hid": HID,
    "layers": LAYERS,
    "heads": HEADS,
    "is_ghn2": False,
}
GHN2_CONFIG = {key: value for key, value in CONFIG.items() if key not in ("layers", "heads", "is_ghn2")}
GHN1_CONFIG = GHN2_CONFIG | {"weight_norm": False, "ve": False, "layernorm": False}
LOGAH_CONFIG = CONFIG | {
    "max_shape": (32, 32, SIDE, SIDE),
    "lora": True,
    "lora_r": RANK,
    "max_ck_lora": WIDTH,
    "use_1d_decoder": False,
}
