"""Compare a prediction with the published one, by the norm of its parameters.

GHN-3 (Knyazev et al., 2023, arXiv:2303.04143) publishes for 74 networks of torchvision the norm of all parameters that
a file predicts. `published.json` has them, and how each file is identified; it is made from `checkpoints/catalog.toml`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Any, Final, Literal, final

from paramgen.published.origin import Origin

Verdict = Literal["the same", "differs", "unknown"]
_SOURCE: Final = "torchvision:"


@final
@dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """A published file, what identifies it, and its `norms` by torchvision's names."""

    file: str
    family: str
    repo: str | None = None
    sha256: str | None = None
    parameters: int | None = None
    norms: Mapping[str, float] = field(default_factory=dict)


@final
@dataclass(frozen=True, kw_only=True)
class Catalog:
    """All published files; a norm is reached if it is off by less than `tolerance`."""

    files: tuple[PublishedFile, ...]
    tolerance: float


@final
@dataclass(frozen=True, kw_only=True)
class Identification:
    """Which published file it is, by what it was identified, and whether that is certain."""

    entry: PublishedFile
    by: str
    sure: bool


@final
@dataclass(frozen=True, kw_only=True)
class NormComparison:
    """The result of a comparison; for a file that is only guessed, it is `the same` or `unknown`, never `differs`."""

    file: str
    identified_by: str | None
    verdict: Verdict
    reason: str
    architecture: str | None = None
    norm: float | None = None
    published: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what is known."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def __str__(self) -> str:
        if self.norm is None or self.published is None:
            return f"{self.file}: not compared, {self.reason}"
        norms = f"parameter norm {self.norm:.4f} (published {self.published:.4f})"
        verdict = self.verdict if self.verdict != "unknown" else "not the same"
        return f"{self.file} on {self.architecture}, {norms}: {verdict}; {self.reason}"


@cache
def catalog() -> Catalog:
    """Return what the package knows of published files."""
    data = json.loads((files("paramgen") / "published" / "published.json").read_text(encoding="utf-8"))
    found = (
        PublishedFile(**entry, norms=data["norms"].get(entry["file"], {}) if entry.get("repo") == data["repo"] else {})
        for entry in data["files"]
    )
    return Catalog(files=tuple(found), tolerance=data["tolerance"])


def identify(origin: Origin) -> Identification | None:
    """Return which published file an origin is; None if it resembles none.

    A file whose sha256 is known is identified by it alone.
    """
    known = catalog().files
    for entry in known:
        if entry.sha256 == origin.sha256:
            return Identification(entry=entry, by="its sha256", sure=True)
    alike = [
        entry
        for entry in known
        if entry.sha256 is None and entry.family == origin.family and entry.parameters in (None, origin.parameters)
    ]
    for entry in alike:
        if origin.repo is not None and (entry.repo, entry.file) == (origin.repo, origin.file):
            return Identification(entry=entry, by="its repository and name", sure=True)
        same_name = PurePosixPath(entry.file).name == origin.file
        if origin.repo is None and same_name and entry.parameters is not None:
            return Identification(entry=entry, by="its name and size", sure=True)
    guess = next((entry for entry in alike if entry.norms), None)
    return (
        None
        if guess is None
        else Identification(
            entry=guess, by="its family" if guess.parameters is None else "its family and size", sure=False
        )
    )


def compare(record: Mapping[str, Any], norm: Callable[[], float]) -> NormComparison | None:
    """Compare a prediction with the published one; None if no published file made it.

    Args:
        record: The content of its paramgen.json.
        norm: Returns the norm of all its parameters; called only if there is something to compare with.

    """
    described = record.get("initializer")
    if not isinstance(described, dict) or "published" not in described:
        return None
    origin = Origin.from_json(described["published"])
    found = identify(origin)
    if found is None:
        reason = "no published file is known with its sha256, name or size"
        return NormComparison(file=origin.file, identified_by=None, verdict="unknown", reason=reason)
    file, (architecture, why) = found.entry.file, _comparable(record, described, found.entry)
    if why is not None:
        return NormComparison(file=file, identified_by=found.by, verdict="unknown", reason=why)
    reached, wanted = norm(), found.entry.norms[architecture]
    same = abs(reached - wanted) < catalog().tolerance
    reason = f"the file was identified by {found.by}"
    if not found.sure:
        reason += ", and the norm confirms it" if same else " alone, so it can be another one"
    return NormComparison(
        file=file,
        identified_by=found.by,
        verdict="the same" if same else "differs" if found.sure else "unknown",
        reason=reason,
        architecture=architecture,
        norm=round(reached, 4),
        published=wanted,
    )


def _comparable(
    record: Mapping[str, Any], described: Mapping[str, Any], entry: PublishedFile
) -> tuple[str, str | None]:
    """Return torchvision's name of the network, and why there is nothing to compare with, if so."""
    spec = str(record.get("spec"))
    architecture = spec.removeprefix(_SOURCE)
    if not entry.norms:
        return architecture, "no norms of its predictions are published"
    if not spec.startswith(_SOURCE) or architecture not in entry.norms:
        return architecture, f"no norm is published for {spec}"
    if described.get("softmax") == "fused":
        return architecture, "the published norms are of graphs with explicit softmax"
    if record.get("dtype") not in (None, "float32"):
        return architecture, f"the published norms are of float32, not of {record.get('dtype')}"
    return architecture, None
