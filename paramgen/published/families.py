"""Families of published hypernets, and the settings of a file: from the config in it, or from its tensors' shapes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, final

from paramgen.errors import ForeignError
from paramgen.hypernets.config import HypernetConfig
from paramgen.published.cursor import shown
from paramgen.published.tables import KeyTable

Shapes = Mapping[str, tuple[int, ...]]
"""The tensors of a file."""


@final
@dataclass(frozen=True, slots=True)
class Fact:
    """What the shapes say about a setting, and which tensor says it."""

    value: Any
    source: str


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """The arguments of the published constructors, under their names and with their defaults."""

    hid: int
    max_shape: tuple[int, ...]
    num_classes: int = 10
    layers: int = 3
    heads: int = 8
    weight_norm: bool = False
    ve: bool = False
    layernorm: bool = False
    is_ghn2: bool = False
    pretrained: bool = False
    hypernet: str = "gatedgnn"
    decoder: str = "conv"
    lora: bool = False
    lora_r: int = 16
    max_ck_lora: int = 32
    use_1d_decoder: bool = False
    debug_level: int = 0


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedFamily:
    """One family of published hypernets: what identifies its files, its settings, and its key table."""

    name: str
    mark: str  # a tensor that files of this family have, and no others
    facts: Callable[[Shapes], dict[str, Fact]]
    config: Callable[[Settings, Shapes], HypernetConfig]
    table: Callable[[Settings], KeyTable]
    flat: bool = False  # linear layers may be stored as convolutions of 1x1 pixels


_TYPES: Final[dict[str, type]] = {
    name: annotation for name, annotation in Settings.__annotations__.items() if isinstance(annotation, type)
}


def resolve_settings(stated: Mapping[str, object] | None, facts: Mapping[str, Fact]) -> Settings:
    """Return the settings of a file from the configuration in it, if it has one, and from its shapes.

    Without one, virtual edges and normalization are taken as given, as the published loader does.

    Raises:
        ForeignError: Config and shapes contradict each other, or neither has the largest shape.
    """
    values: dict[str, Any] = {"weight_norm": True, "ve": True} if stated is None else _checked(stated)
    for name, fact in facts.items():
        if stated is not None and name in values and values[name] != fact.value:
            raise ForeignError(
                f"The file contradicts itself: its config says {name} = {_brief(values[name])}, {fact.source} says "
                f"{_brief(fact.value)}."
            )
        values[name] = fact.value
    if "max_shape" not in values:
        raise ForeignError("The file has no config, and max_shape cannot be read off this family's tensors.")
    return Settings(**values)


def _checked(stated: Mapping[str, object]) -> dict[str, Any]:
    """Return the configuration of a file if it has known names and values of their types."""
    values: dict[str, Any] = {}
    for name, value in stated.items():
        if name == "max_shape":
            values[name] = _max_shape(value)
        elif name not in _TYPES:
            raise ForeignError(f"The config in the file has {shown(name)}, which no published hypernet has.")
        elif type(value) is not _TYPES[name]:
            raise ForeignError(
                f"The config in the file says {name} = {shown(value)}; it must be of type {_TYPES[name].__name__}."
            )
        else:
            values[name] = value
    return values


def _max_shape(value: object) -> tuple[int, ...]:
    if not isinstance(value, (list, tuple)) or len(value) != 4 or not all(type(size) is int for size in value):
        raise ForeignError("The config in the file says max_shape is not four whole numbers.")
    return tuple(value)


def _brief(value: object) -> str:
    return str(value) if isinstance(value, tuple) and len(value) <= 4 else shown(value)


def dimension(shapes: Shapes, key: str, axis: int) -> int:
    """Return one dimension of a tensor that the family must have.

    Raises:
        ForeignError: The tensor or the dimension is not there.
    """
    if key not in shapes:
        raise ForeignError(f"The file lacks the tensor {shown(key)}, which its family has.")
    shape = shapes[key]
    if not -len(shape) <= axis < len(shape):
        raise ForeignError(f"The file's {shown(key)} is of shape {shape}, which has too few dimensions.")
    return shape[axis]


def dimension_fact(shapes: Shapes, key: str, axis: int) -> Fact:
    """Return one dimension of a tensor as a fact."""
    return Fact(dimension(shapes, key, axis), source(shapes, key))


def source(shapes: Shapes, *keys: str) -> str:
    """Return a phrase for the shapes of some tensors."""
    return " with ".join(f"{key} of shape {shapes[key]}" if key in shapes else f"no {key}" for key in keys)
