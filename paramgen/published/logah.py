"""LoGAH (Zhou et al., 2024, arXiv:2405.16287): its two classes, for vision and language, distinguished by shapes."""

from typing import Final

from paramgen.errors import ForeignError
from paramgen.graphs.analysis.slot_roles import Role
from paramgen.hypernets.config import HypernetConfig
from paramgen.hypernets.decoders.low_rank import LowRankConfig
from paramgen.hypernets.decoders.low_rank_vectors import LowRankVectorsConfig
from paramgen.hypernets.encoders.shape_tables import channel_sizes
from paramgen.hypernets.normalization import AsDecoded, FanIn, InitializerRange
from paramgen.published.families import Fact, PublishedFamily, Settings, Shapes, dimension, dimension_fact, source
from paramgen.published.ghn3 import CUTOFF, EMBEDDING, GHN3_ROLES, GRAPHORMER, graphormer, graphormer_facts, node_tables
from paramgen.published.tables import Dropped, KeyTable, Rename

LANGUAGE_CUTOFF: Final = 250
VOCABULARIES: Final = (32000, 50257, 128256)  # numbers of tokens with a row of their own in the language class
_LOGAH_ROLES: Final[tuple[Role, ...]] = (*GHN3_ROLES, "embedding")
_INITIALIZER_RANGE: Final = 0.02  # of GPT-2, where the target names none
_SPATIAL_ROWS: Final = {9: 11, 11: 16}
_CHANNELS: Final = "shape_enc.embed_channel.weight"
_SPATIAL: Final = "shape_enc.embed_spatial.weight"
_EXPAND: Final = "decoder.seq.1.weight"
_VECTOR: Final = "decoder_1d.fc.0.weight"

_UNUSED: Final = (
    Dropped("decoder.l1", "the published decoder does not use it"),
    Dropped("decoder.l2", "the same tensor as decoder.seq.1", copy_of="decoder.seq.1"),
)
_PLACEHOLDERS: Final = (
    Dropped("decoder_1d.0", "a placeholder of one element"),
    Dropped("bias_class.1", "a placeholder of one element"),
)


def _facts(shapes: Shapes) -> dict[str, Fact]:
    return graphormer_facts(shapes) | {
        "lora": Fact(True, "the low-rank decoder in it"),
        "lora_r": dimension_fact(shapes, _EXPAND, 1),
        "max_ck_lora": dimension_fact(shapes, _EXPAND, 0),
        "use_1d_decoder": Fact(_VECTOR in shapes, source(shapes, _VECTOR)),
    }


def is_language(settings: Settings, shapes: Shapes) -> bool:
    """Say whether a file is of the language class: its channel table has rows for numbers of tokens.

    Raises:
        ForeignError: The table is of neither class.
    """
    rows = dimension(shapes, _CHANNELS, 0)
    vision, language = (len(channel_sizes((settings.num_classes, *extra))) + 1 for extra in ((), VOCABULARIES))
    if rows not in (vision, language):
        raise ForeignError(
            f"The file contradicts itself: num_classes = {settings.num_classes} asks for {vision} or {language} rows, "
            f"{source(shapes, _CHANNELS)}."
        )
    return rows == language


def _config(settings: Settings, shapes: Shapes) -> HypernetConfig:
    rows = dimension(shapes, _SPATIAL, 0)
    if _SPATIAL_ROWS.get(rows) != settings.max_shape[3]:
        raise ForeignError(
            f"The file contradicts itself: its config says max_shape = {settings.max_shape}, but it has "
            f"{source(shapes, _SPATIAL)}."
        )
    language = is_language(settings, shapes)
    channels = (settings.num_classes, *(VOCABULARIES if language else ()))
    normalized = InitializerRange(otherwise=_INITIALIZER_RANGE) if language else FanIn(spare_tables=True)
    return HypernetConfig(
        encoder=graphormer(settings, shapes, channels=channels, cutoff=LANGUAGE_CUTOFF if language else CUTOFF),
        decoder=_decoder(settings),
        normalization=normalized if settings.weight_norm else AsDecoded(),
        vocabulary="published",
        roles=_LOGAH_ROLES,
        residual=False,
    )


def _decoder(settings: Settings) -> LowRankConfig | LowRankVectorsConfig:
    rank, width, (out, inputs, *_) = settings.lora_r, settings.max_ck_lora, settings.max_shape
    if settings.use_1d_decoder:
        return LowRankVectorsConfig(rank=rank, width=width, max_out=out, max_in=inputs, classes=settings.num_classes)
    return LowRankConfig(rank=rank, width=width, max_out=out, max_in=inputs, scaled=False)


def _table(settings: Settings) -> KeyTable:
    at = "decoder.matrix" if settings.use_1d_decoder else "decoder"
    decoder = (
        *(Rename(f"decoder.mlp.fc.{layer}", f"{at}.mlp.{layer}") for layer in (0, 2, 4)),
        Rename("decoder.seq.1", f"{at}.expand"),
    )
    vectors = (
        Rename("decoder_1d.fc.0", "decoder.vector.0"),
        Rename("decoder_1d.fc.2", "decoder.vector.2"),
        Rename("bias_class.1", "decoder.class_vector"),
    )
    shared = EMBEDDING + node_tables(settings) + GRAPHORMER + decoder
    if settings.use_1d_decoder:
        return KeyTable(shared + vectors, _UNUSED)
    return KeyTable(shared, _UNUSED + _PLACEHOLDERS)


LOGAH: Final = PublishedFamily(name="logah", mark="decoder.mlp.fc.0.weight", facts=_facts, config=_config, table=_table)
