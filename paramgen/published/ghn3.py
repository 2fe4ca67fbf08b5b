"""GHN-3 (Knyazev et al., 2023, arXiv:2303.04143), as on the Hub and as its training code saves it."""

from math import isqrt
from typing import Final

from paramgen.errors import ForeignError
from paramgen.graphs.analysis.slot_roles import Role
from paramgen.hypernets.config import HypernetConfig
from paramgen.hypernets.decoders.conv import ConvConfig
from paramgen.hypernets.encoders.gated_gnn import GatedGnnConfig
from paramgen.hypernets.encoders.graphormer import GraphormerConfig
from paramgen.hypernets.normalization import AsDecoded, FanIn
from paramgen.published.families import Fact, PublishedFamily, Settings, Shapes, dimension, dimension_fact, source
from paramgen.published.tables import KeyTable, Rename

CUTOFF: Final = 50  # the longest virtual edge of the published graphs
GHN3_ROLES: Final[tuple[Role, ...]] = ("weight", "scale", "bias", "position", "class_weight", "class_bias")
_HEADS: Final = "gnn.0.attn.proj_e.2.weight"
_INCOMING: Final = "centrality_embed_in.weight"

EMBEDDING: Final = (
    Rename("embed", "encoder.primitive"),
    Rename("shape_enc.embed_spatial", "encoder.spatial"),
    Rename("shape_enc.embed_channel", "encoder.channel"),
    Rename("ln", "encoder.norm"),
)
GRAPHORMER: Final = (
    Rename("gnn.0.attn.edge_embed.embed", "encoder.edges.code"),
    Rename("gnn.0.attn.proj_e.0", "encoder.edges.mlp.0"),
    Rename("gnn.0.attn.proj_e.2", "encoder.edges.mlp.2"),
    Rename("gnn.{layer}.ln1", "encoder.layers.{layer}.attention_norm"),
    Rename("gnn.{layer}.attn.to_qkv", "encoder.layers.{layer}.attention.qkv"),
    Rename("gnn.{layer}.attn.to_out.0", "encoder.layers.{layer}.attention.out"),
    Rename("gnn.{layer}.ln2", "encoder.layers.{layer}.feed_forward_norm"),
    Rename("gnn.{layer}.ff.net.0", "encoder.layers.{layer}.feed_forward.0"),
    Rename("gnn.{layer}.ff.net.3", "encoder.layers.{layer}.feed_forward.2"),
)
CONV: Final = (
    Rename("decoder.fc.0", "decoder.image"),
    Rename("decoder.conv.0", "decoder.pixel.0"),
    Rename("decoder.conv.2", "decoder.pixel.2"),
    Rename("decoder.class_layer_predictor.1", "decoder.class_weight"),
    Rename("decoder_1d.fc.0", "decoder.vector.0"),
    Rename("decoder_1d.fc.2", "decoder.vector.2"),
    Rename("bias_class.1", "decoder.class_vector"),
)


def node_tables(settings: Settings) -> tuple[Rename, ...]:
    """Return the tables of degrees and depth: at the top in the "pretrained" layout, else in the first layer."""
    prefix = "" if settings.pretrained else "gnn.0."
    return (
        Rename(f"{prefix}centrality_embed_in", "encoder.incoming"),
        Rename(f"{prefix}centrality_embed_out", "encoder.outgoing"),
        Rename(f"{prefix}input_dist_embed", "encoder.depth"),
    )


def graphormer_facts(shapes: Shapes) -> dict[str, Fact]:
    """Return what the tensors of the encoder say."""
    layers = [key for key in shapes if key.startswith("gnn.") and key.endswith(".ln1.weight")]
    return {
        "hid": dimension_fact(shapes, "embed.weight", -1),
        "layers": Fact(len(layers), "the number of layers in it"),
        "heads": dimension_fact(shapes, _HEADS, 0),
        "layernorm": Fact("ln.weight" in shapes, source(shapes, "ln.weight")),
        "pretrained": Fact(_INCOMING in shapes, source(shapes, _INCOMING)),
        "is_ghn2": Fact(False, "the Graphormer in it"),
    }


def conv_facts(shapes: Shapes) -> dict[str, Fact]:
    """Return what the tensors of the convolutional decoder say."""
    classes, last, image = "decoder.class_layer_predictor.1.weight", "decoder.conv.2.weight", "decoder.fc.0.weight"
    out, products = dimension(shapes, classes, 1), dimension(shapes, last, 0)
    side = isqrt(dimension(shapes, image, 0) // max(1, dimension(shapes, "decoder.conv.0.weight", 1)))
    largest = (out, products // max(1, out), side, side)
    return {
        "num_classes": dimension_fact(shapes, classes, 0),
        "max_shape": Fact(largest, source(shapes, classes, last, image)),
        "lora": Fact(False, "the convolutional decoder in it"),
    }


def graphormer(settings: Settings, shapes: Shapes, *, channels: tuple[int, ...], cutoff: int) -> GraphormerConfig:
    """Return the configuration of the encoder."""
    return GraphormerConfig(
        hidden=settings.hid,
        layers=settings.layers,
        heads=settings.heads,
        primitives=dimension(shapes, "embed.weight", 0),
        channels=channels,
        spatial=settings.max_shape[3],
        cutoff=cutoff if settings.ve else 1,
        final_norm=settings.layernorm,
    )


def composed(settings: Settings, encoder: GraphormerConfig | GatedGnnConfig, *, corner: bool) -> HypernetConfig:
    """Return the configuration of a hypernet with this encoder and the convolutional decoder."""
    return HypernetConfig(
        encoder=encoder,
        decoder=_conv(settings, corner=corner),
        normalization=FanIn(spare_tables=True) if settings.weight_norm else AsDecoded(),
        vocabulary="published",
        roles=GHN3_ROLES,
        residual=False,
    )


def _conv(settings: Settings, *, corner: bool) -> ConvConfig:
    out, inputs, height, width = settings.max_shape
    if height != width or settings.decoder != "conv":
        raise ForeignError(
            f"The file's decoder is {settings.decoder!r} with kernels of {height}x{width}; 'conv' with square ones is "
            "converted."
        )
    return ConvConfig(max_out=out, max_in=inputs, kernel=height, classes=settings.num_classes, corner=corner)


def _config(settings: Settings, shapes: Shapes) -> HypernetConfig:
    return composed(
        settings, graphormer(settings, shapes, channels=(settings.num_classes,), cutoff=CUTOFF), corner=False
    )


GHN3: Final = PublishedFamily(
    name="ghn3",
    mark="decoder.conv.2.weight",
    facts=lambda shapes: graphormer_facts(shapes) | conv_facts(shapes),
    config=_config,
    table=lambda settings: KeyTable(EMBEDDING + node_tables(settings) + GRAPHORMER + CONV),
)
