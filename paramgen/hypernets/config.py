"""The configuration of a hypernet: a tree of frozen dataclasses, written to and read from `config.json`."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import UnionType
from typing import Any, Final, Literal, cast, final, get_args, get_origin

from paramgen.errors import HypernetError
from paramgen.graphs.analysis.slot_roles import Role
from paramgen.graphs.ops import VOCABULARY
from paramgen.graphs.views.view import Vocabulary
from paramgen.hypernets.checks import within
from paramgen.hypernets.decoders.conv import ConvConfig
from paramgen.hypernets.decoders.low_rank import LowRankConfig
from paramgen.hypernets.decoders.low_rank_vectors import LowRankVectorsConfig
from paramgen.hypernets.encoders.gated_gnn import GatedGnnConfig
from paramgen.hypernets.encoders.graphormer import GraphormerConfig
from paramgen.hypernets.normalization import AsDecoded, FanIn, InitializerRange

HYPERNET_VERSION: Final = 1
_KINDS: Final[dict[str, type]] = {
    "graphormer": GraphormerConfig,
    "gated_gnn": GatedGnnConfig,
    "conv": ConvConfig,
    "low_rank": LowRankConfig,
    "low_rank_vectors": LowRankVectorsConfig,
    "fan_in": FanIn,
    "initializer_range": InitializerRange,
    "as_decoded": AsDecoded,
}
_RESIDUAL_ROLES: Final[frozenset[Role]] = frozenset(("weight", "scale", "bias"))


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class HypernetConfig:
    """What a hypernet is composed of, and which slots it fills."""

    encoder: GraphormerConfig | GatedGnnConfig
    decoder: ConvConfig | LowRankConfig | LowRankVectorsConfig
    normalization: FanIn | InitializerRange | AsDecoded
    vocabulary: Vocabulary
    roles: tuple[Role, ...]
    residual: bool  # predict a change of the default initialization, instead of the weight itself
    format_version: int = HYPERNET_VERSION

    def __post_init__(self) -> None:
        if self.format_version != HYPERNET_VERSION:
            raise HypernetError(
                f"format_version is {self.format_version}; this version of paramgen reads {HYPERNET_VERSION}. "
                "Type in a clone of its repository: git pull && pip install ."
            )
        if not self.roles or len(set(self.roles)) != len(self.roles):
            raise HypernetError(f"roles are {list(self.roles)}; name at least one, none twice.")
        if self.residual and not _RESIDUAL_ROLES.issuperset(self.roles):
            raise HypernetError(
                f"roles are {list(self.roles)}; with 'residual', allowed are {sorted(_RESIDUAL_ROLES)}."
            )
        if self.vocabulary == "native":
            within("encoder.primitives of the native vocabulary", self.encoder.primitives, 1, len(VOCABULARY))

    def to_json(self) -> dict[str, Any]:
        """Return the tree as JSON values; every branch names its `kind`."""
        return cast(dict[str, Any], _plain(self))

    @classmethod
    def from_json(cls, data: object) -> "HypernetConfig":
        """Return the configuration of such a tree. Nothing is guessed: a missing or an unknown key is an error.

        Raises:
            HypernetError: `data` is no such tree.
        """
        return _build(cls, data, "config.json")


def first_light() -> HypernetConfig:
    """Return the configuration of the hypernet that comes with the package."""
    return HypernetConfig(
        encoder=GraphormerConfig(
            hidden=64,
            layers=3,
            heads=8,
            primitives=len(VOCABULARY),
            channels=(),
            spatial=16,
            cutoff=50,
            final_norm=True,
        ),
        decoder=LowRankConfig(rank=32, width=4096, max_out=4096, max_in=4096, scaled=True),
        normalization=FanIn(spare_tables=False),
        vocabulary="native",
        roles=("weight", "scale", "bias"),
        residual=True,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    kind = next((name for name, known in _KINDS.items() if type(value) is known), None)
    if kind is None and not isinstance(value, HypernetConfig):
        return value
    own = {} if kind is None else {"kind": kind}
    return own | {field.name: _plain(getattr(value, field.name)) for field in fields(value)}


def _build(cls: type, data: object, path: str) -> Any:
    """Return the dataclass `cls` of a JSON object that has exactly its fields."""
    if not isinstance(data, Mapping):
        raise HypernetError(f"{path} is {_shown(data)}; it must be an object.")
    annotations = {field.name: field.type for field in fields(cls)}
    for name in (*annotations, *data):
        if name not in data:
            raise HypernetError(f"{path} has no {name!r}. It needs: {', '.join(annotations)}.")
        if name not in annotations:
            raise HypernetError(f"{path} has the unknown key {_shown(name)}. Known: {', '.join(annotations)}.")
    return cls(**{name: _value(kind, data[name], f"{path}: {name}") for name, kind in annotations.items()})


def _value(annotation: Any, value: object, path: str) -> Any:
    classes = get_args(annotation) if get_origin(annotation) is UnionType else (annotation,)
    kinds = {name: known for name, known in _KINDS.items() if known in classes}
    if kinds:
        kind = value.get("kind") if isinstance(value, Mapping) else None
        if not isinstance(value, Mapping) or not isinstance(kind, str) or kind not in kinds:
            raise HypernetError(
                f"{path} is {_shown(value)}; it must be an object whose 'kind' is {' or '.join(kinds)}."
            )
        return _build(kinds[kind], {name: item for name, item in value.items() if name != "kind"}, path)
    if get_origin(annotation) is tuple:
        if not isinstance(value, list):
            raise HypernetError(f"{path} is {_shown(value)}; it must be a list.")
        return tuple(_value(get_args(annotation)[0], item, f"{path}[{index}]") for index, item in enumerate(value))
    return _scalar(annotation, value, path)


def _scalar(annotation: Any, value: object, path: str) -> Any:
    if get_origin(annotation) is Literal:
        if not isinstance(value, str) or value not in get_args(annotation):
            raise HypernetError(f"{path} is {_shown(value)}; allowed are {', '.join(get_args(annotation))}.")
        return value
    if annotation is float and type(value) is int:
        return float(value)
    if type(value) is not annotation:  # not isinstance: true is no number here
        raise HypernetError(f"{path} is {_shown(value)}; it must be of type {annotation.__name__}.")
    return value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
