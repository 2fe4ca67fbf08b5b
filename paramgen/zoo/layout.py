"""zoo.json describes what all checkpoints of a zoo have in common; it is validated, as it may be anybody's."""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, final, get_args

from paramgen.errors import ZooError
from paramgen.storage.json_file import read_json_object

ZOO_FILE: Final = "zoo.json"
ZOO_VERSION: Final = 1
MAX_LAYOUT_BYTES: Final = 4_000_000
MAX_RANK: Final = 4_096
MAX_ZOO_TEXT: Final = 10_000
FILE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}\.safetensors")

ZooForm = Literal["full", "low_rank"]
ZooKind = Literal["translation", "classification", "collected"]
Output = Literal["direct", "residual"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ZooLayout:
    """The contents of zoo.json.

    In the form `low_rank` a checkpoint stores `targets` as two factors and `trained` slots as they are; all others are
    the base checkpoint's. In the form `full` it stores all slots, and `base` is None where there is none. `output` says
    what the network returns: the image itself, or a residual that is added to the input.
    """

    spec: str
    config: Mapping[str, Any]
    kind: ZooKind
    form: ZooForm
    base: str | None = "base.safetensors"
    rank: int = 4
    alpha: float = 4.0
    output: Output = "direct"
    targets: tuple[str, ...] = ()
    trained: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise ZooError for invalid values."""
        if not 1 <= self.rank <= MAX_RANK:
            raise ZooError(f"{ZOO_FILE}: rank is {self.rank}; allowed are 1 to {MAX_RANK:,}.")
        if not (math.isfinite(self.alpha) and self.alpha > 0):
            raise ZooError(f"{ZOO_FILE}: alpha is {self.alpha}; it must be a positive number.")
        if self.base is not None and not FILE.fullmatch(self.base):
            raise ZooError(f"{ZOO_FILE}: base is {self.base[:100]!r}; it must name a safetensors file of the folder.")
        if self.form == "low_rank" and (self.base is None or not self.targets):
            raise ZooError(f"{ZOO_FILE}: the form low_rank needs a base and a list of targets; write the zoo again.")
        both = sorted(set(self.targets) & set(self.trained))
        if both or len({*self.targets, *self.trained}) < len(self.targets) + len(self.trained):
            raise ZooError(
                f"{ZOO_FILE}: a slot stands twice among targets and trained, such as {(both or ['?'])[0]!r}."
            )

    @property
    def scale(self) -> float:
        """The factor of the low-rank product: alpha / rank."""
        return self.alpha / self.rank

    @property
    def architecture_sha256(self) -> str:
        """Return the hash of the architecture: the same for two zoos only if their spec and config are the same."""
        text = json.dumps({"spec": self.spec, "config": self.config}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return the contents of zoo.json."""
        return {
            "format_version": ZOO_VERSION,
            "architecture": {"spec": self.spec, "config": dict(self.config)},
            "kind": self.kind,
            "base": self.base,
            "form": self.form,
            "rank": self.rank,
            "alpha": self.alpha,
            "output": self.output,
            "targets": list(self.targets),
            "trained": list(self.trained),
        }

    @classmethod
    def from_json(cls, given: Any) -> "ZooLayout":
        """Return the layout of a zoo.json; raise ZooError if it is invalid."""
        if not isinstance(given, dict) or given.get("format_version") != ZOO_VERSION:
            found = given.get("format_version") if isinstance(given, dict) else None
            raise ZooError(
                f"{ZOO_FILE} has the format_version {found!r}; paramgen reads {ZOO_VERSION}. Make the zoo again."
            )
        architecture = _typed(given, "architecture", dict)
        return cls(
            spec=_typed(architecture, "spec", str),
            config=_typed(architecture, "config", dict),
            kind=_one_of(given, "kind", get_args(ZooKind)),
            form=_one_of(given, "form", get_args(ZooForm)),
            base=None if given.get("base") is None else _typed(given, "base", str),
            rank=_typed(given, "rank", int),
            alpha=float(_typed(given, "alpha", (int, float))),
            output=_one_of(given, "output", get_args(Output)),
            targets=_names(given, "targets"),
            trained=_names(given, "trained"),
        )


def read_layout(folder: Path) -> ZooLayout:
    """Read the zoo.json of `folder`."""
    path = folder / ZOO_FILE
    if not path.exists():
        raise ZooError(f"{str(folder)!r} is no zoo: it has no {ZOO_FILE}. Type: python -m checkpoints train-zoo --help")
    return ZooLayout.from_json(
        read_json_object(path, most=MAX_LAYOUT_BYTES, error=ZooError, advice="Get the zoo again.")
    )


def _typed(given: Mapping[str, Any], key: str, kind: type | tuple[type, ...]) -> Any:
    value = given.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ZooError(f"{ZOO_FILE}: {key} is {type(value).__name__}, which is not what a zoo has there. Get it again.")
    if isinstance(value, str) and len(value) > MAX_ZOO_TEXT:
        raise ZooError(f"{ZOO_FILE}: {key} has {len(value):,} characters; allowed are {MAX_ZOO_TEXT:,}.")
    return value


def _names(given: Mapping[str, Any], key: str) -> tuple[str, ...]:
    names = _typed(given, key, list)
    if not all(isinstance(name, str) and 0 < len(name) <= 1_000 for name in names):
        raise ZooError(f"{ZOO_FILE}: {key} must be a list of names.")
    return tuple(names)


def _one_of(given: Mapping[str, Any], key: str, allowed: tuple[str, ...]) -> Any:
    value = _typed(given, key, str)
    if value not in allowed:
        raise ZooError(f"{ZOO_FILE}: {key} is {value[:100]!r}; allowed are {', '.join(allowed)}.")
    return value
