"""The published models that others may inherit from, as `catalog.toml` lists them: where they are, what they are."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final, final

from paramgen.initializers.inheritance.profile import NetworkProfile

CATALOG: Final = "catalog.toml"
_BYTES: Final = {"float32": 4, "bfloat16": 2, "float16": 2}


@final
@dataclass(frozen=True, kw_only=True)
class PublishedModel:
    """A trained model on the Hub."""

    repo: str
    revision: str  # the branch; its commit is recorded when the model is downloaded
    spec: str  # the network, as --arch takes it
    license: str
    profile: NetworkProfile
    data: tuple[str, ...] = ()  # what it was trained on; empty where that is not known
    dtype: str = ""  # of its weights; empty where that is not known

    @property
    def bytes(self) -> int:
        """About how large its weights are."""
        return self.profile.parameters * _BYTES.get(self.dtype, 4)

    def to_json(self) -> dict[str, Any]:
        """Return what a row of the catalog says, and the size."""
        known: dict[str, Any] = {"repo": self.repo, "revision": self.revision, "spec": self.spec}
        known |= {"license": self.license, "data": list(self.data), "bytes": self.bytes}
        return known | self.profile.to_json()


@cache
def catalog() -> tuple[PublishedModel, ...]:
    """Return every model of the catalog, in its order."""
    text = (files("paramgen.initializers.inheritance") / CATALOG).read_text(encoding="utf-8")
    return tuple(_model(row) for row in tomllib.loads(text)["donors"])


def _model(row: Mapping[str, Any]) -> PublishedModel:
    first, last = row["widths"]
    profile = NetworkProfile(
        family=row["family"],
        parameters=row["parameters"],
        widths=(first, last),
        depth=row["depth"],
        patch=row.get("patch", 0),
        input=row.get("input", 0),
        operations=row["operations"],
    )
    return PublishedModel(
        repo=row["repo"],
        revision=row["revision"],
        spec=row["spec"],
        license=row["license"],
        profile=profile,
        data=tuple(row.get("data", ())),
        dtype=row.get("dtype", ""),
    )
