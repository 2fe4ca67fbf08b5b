"""GHN-1 and GHN-2 (Zhang et al., 2019, arXiv:1810.05749; Knyazev et al., 2021, arXiv:2110.13100).

Both have the gated graph network and the convolutional decoder. GHN-2 adds virtual edges, a last norm, and
normalization of what is predicted; which of them a file has, its tensors and its config say.
"""

from typing import Final

from paramgen.errors import ForeignError
from paramgen.hypernets.config import HypernetConfig
from paramgen.hypernets.encoders.gated_gnn import GatedGnnConfig
from paramgen.published.families import Fact, PublishedFamily, Settings, Shapes, dimension, dimension_fact, source
from paramgen.published.ghn3 import CONV, CUTOFF, EMBEDDING, composed, conv_facts
from paramgen.published.tables import KeyTable, Rename

_VIRTUAL: Final = "gnn.mlp_ve.fc.0.weight"
_GATED: Final = (
    Rename("gnn.mlp.fc.0", "encoder.near.0"),
    Rename("gnn.mlp.fc.2", "encoder.near.2"),
    Rename("gnn.mlp_ve.fc.0", "encoder.far.0"),
    Rename("gnn.mlp_ve.fc.2", "encoder.far.2"),
    Rename("gnn.gru", "encoder.gru"),
)


def _facts(shapes: Shapes) -> dict[str, Fact]:
    return conv_facts(shapes) | {
        "hid": dimension_fact(shapes, "embed.weight", -1),
        "layernorm": Fact("ln.weight" in shapes, source(shapes, "ln.weight")),
        "ve": Fact(_VIRTUAL in shapes, source(shapes, _VIRTUAL)),
        "is_ghn2": Fact(True, "the gated graph network in it"),
    }


def _config(settings: Settings, shapes: Shapes) -> HypernetConfig:
    if settings.hypernet != "gatedgnn":
        raise ForeignError(f"The config in the file says hypernet = {settings.hypernet!r}, its tensors say 'gatedgnn'.")
    encoder = GatedGnnConfig(
        hidden=settings.hid,
        primitives=dimension(shapes, "embed.weight", 0),
        channels=(settings.num_classes,),
        spatial=settings.max_shape[3],
        cutoff=CUTOFF if settings.ve else 1,
        final_norm=settings.layernorm,
    )
    return composed(settings, encoder, corner=True)


GHN2: Final = PublishedFamily(
    name="ghn2",
    mark="gnn.gru.weight_ih",
    facts=_facts,
    config=_config,
    table=lambda settings: KeyTable(EMBEDDING + _GATED + CONV),
    flat=True,
)
