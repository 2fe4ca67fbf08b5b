"""Collect trained checkpoints from folders, the Hub, and the names that timm and transformers have, into zoos.

A zoo has one architecture, so each architecture gets a folder of its own. Only safetensors are read, nothing of a
checkpoint is executed, and what cannot be taken is skipped by name: no licence, pickles, NaN, other shapes, damage.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from checkpoints.index import index
from checkpoints.writing import finite, read_shard_rows, write_bytes, write_layout, write_shard
from paramgen._optional import require
from paramgen.architectures import Architecture, read_config, resolve
from paramgen.errors import CheckError, ParamgenError, ZooError
from paramgen.hub.download import COMMIT, FAILURES, commit_of, fetch_folder, reason
from paramgen.modelcard.card_data import known_of
from paramgen.storage.reading import Stored, stored, weight_files
from paramgen.zoo.hashes import content_sha256
from paramgen.zoo.layout import ZooLayout
from paramgen.zoo.reading import SHARDS, Skipped
from paramgen.zoo.table import Row

PATTERNS: Final = ["*.safetensors", "*.safetensors.index.json", "config.json", "README.md"]
CARDS: Final = "cards"
MAX_CHECKPOINT_BYTES: Final = 5_000_000_000  # of weights
MAX_CARD_CHARACTERS: Final = 1_000_000
PICKLES: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_PASSING: Final = ("_name_or_path", "_diffusers_version", "transformers_version", "torch_dtype", "dtype")
_PLAIN: Final = re.compile(r"[^A-Za-z0-9._-]+")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FoundCheckpoint:
    """A checkpoint's folder, and where it comes from."""

    folder: Path
    source: str
    revision: str


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """The zoos that were written, with the number of their checkpoints, and what was skipped."""

    zoos: Mapping[str, int]
    skipped: list[Skipped]


def collect(
    sources: Iterable[str], out: Path, *, licence: str | None, report: Callable[[str, int, int], None]
) -> Collected:
    """Add every checkpoint of `sources` to the zoos below `out`. `licence` is that of folders which name none."""
    skipped: list[Skipped] = []
    zoos: set[Path] = set()
    listed = list(sources)
    for done, source in enumerate(listed):
        report(source, done, len(listed))
        try:
            for found in _found(source):
                try:
                    zoos.add(_add(found, out, licence))
                except ParamgenError as error:
                    skipped.append(Skipped(found.source, str(error)))
        except ParamgenError as error:
            skipped.append(Skipped(source, str(error)))
    counts: dict[str, int] = {}
    for zoo in sorted(zoos):
        counts[zoo.name], own = index(zoo)
        skipped += own
    if not counts:
        first = f"; the first, {skipped[0].id}: {skipped[0].reason}" if skipped else ""
        raise ZooError(f"Nothing of {len(listed)} sources could be collected{first}")
    return Collected(zoos=counts, skipped=skipped)


def _found(source: str) -> list[FoundCheckpoint]:
    """Return the checkpoints that `source` names: a folder of checkpoints, or one of the Hub."""
    path = Path(source)
    if path.is_dir():
        folders = sorted(file.parent for file in path.rglob("config.json"))
        if not folders:
            raise ZooError(f"{source} holds no config.json, so no checkpoint that a library wrote.")
        return [FoundCheckpoint(folder=each, source=each.name, revision="") for each in folders]
    kind, _, name = source.partition(":")
    if kind not in ("hub", "timm", "transformers") or not name:
        raise ZooError(
            f"{source!r} is no folder; allowed are folders, hub:OWNER/NAME@COMMIT, timm:NAME, transformers:NAME."
        )
    repo, _, revision = name.partition("@")
    if kind == "timm":
        repo = _timm_repository(repo)
    try:
        folder = fetch_folder(repo, PATTERNS, revision=revision or None)
    except (*FAILURES, RuntimeError) as error:
        raise ZooError(f"{repo} cannot be had: {reason(error)}.") from error
    commit = commit_of(folder) or ""
    if revision and COMMIT.fullmatch(revision) and commit != revision:
        raise ZooError(f"{repo} came at the commit {commit!r}; requested was {revision}.")
    return [FoundCheckpoint(folder=folder, source=f"hub:{repo}", revision=commit)]


def _timm_repository(name: str) -> str:
    timm = require("timm", extra="timm")
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        raise ZooError(f"timm has no published weights called {name!r}. Type a name of timm.list_pretrained().")
    return str(config.hf_hub_id)


def _add(found: FoundCheckpoint, out: Path, licence: str | None) -> Path:
    """Write one checkpoint as a shard of its architecture's zoo, and return the zoo's folder."""
    entries = _entries(found.folder)
    card = _card(found)
    config = {key: value for key, value in read_config(found.folder).items() if key not in _PASSING}
    spec = _spec(config)
    _refuse_shapes(entries, _described(spec, config, found.folder))
    tensors = {entry.name: entry.tensor() for entry in entries}
    if not finite(tensors):
        raise ZooError("it has values that are not finite")
    own = known_of(found.folder).get("license") or licence
    if not own:
        raise ZooError("it has no licence: neither its README.md nor --licence names one")
    layout = ZooLayout(spec=spec, config=config, kind="collected", form="full", base=None)
    folder = out / f"{_PLAIN.sub('-', spec)}-{layout.architecture_sha256[:12]}"
    content = content_sha256(tensors)
    id = f"{_PLAIN.sub('-', found.source).strip('-.')[:100]}-{content[:12]}"
    title = _title(card) or found.source
    row = Row(
        id=id,
        task="collected",
        split="train",
        texts=tuple(dict.fromkeys((title, found.source))),
        seed=0,
        steps=0,
        shard=f"{id}.safetensors"[-100:].lstrip("-._"),
        form="full",
        metrics={},
        licence=own,
        source=found.source,
        revision=found.revision,
        architecture_sha256=layout.architecture_sha256,
        content_sha256=content,
    )
    if row.id not in (known := _known(folder)).values():
        if content in known:
            raise ZooError(f"it is the same as {known[content]}")
        write_layout(folder, layout, None)
        write_shard(folder, row.shard, [(row, tensors)])
        write_bytes(folder / CARDS / f"{id}.md", card.encode())
    return folder


def _known(folder: Path) -> dict[str, str]:
    """Return the ids of a zoo's checkpoints by the hashes of their tensors; damaged shards have none."""
    known: dict[str, str] = {}
    for path in sorted((folder / SHARDS).glob("*.safetensors")):
        with suppress(ZooError):
            rows = [Row.from_json(each) for each in read_shard_rows(path)]
            known |= {row.content_sha256: row.id for row in rows}
    return known


def _entries(folder: Path) -> list[Stored]:
    """Return a checkpoint's tensors, unread; a folder with pickles alone is refused by their name."""
    try:
        size = sum(file.stat().st_size for file in weight_files(folder))
        if size > MAX_CHECKPOINT_BYTES:
            raise ZooError(f"it has {size:,} bytes; allowed are {MAX_CHECKPOINT_BYTES:,}")
        return stored(folder)
    except CheckError as error:
        pickles = sorted(file.name for file in folder.iterdir() if file.suffix in PICKLES)
        if pickles and not list(folder.glob("*.safetensors")):
            raise ZooError(f"it has only pickles ({pickles[0]}), which are never read") from error
        raise ZooError(f"it is damaged: {error}") from error


def _spec(config: Mapping[str, Any]) -> str:
    for key, source in (("_class_name", "diffusers"), ("model_type", "transformers"), ("architecture", "timm")):
        if isinstance(config.get(key), str):
            return f"{source}:{config[key][:200]}"
    raise ZooError("its config.json is none of diffusers', transformers' or timm's")


def _described(spec: str, config: Mapping[str, Any], folder: Path) -> Architecture:
    """Return the network that a config.json describes, without data."""
    if not spec.startswith("timm:"):
        return resolve(str(folder))
    arguments = config.get("model_args")
    return resolve(
        spec, {"num_classes": config.get("num_classes", 1000)} | (arguments if isinstance(arguments, dict) else {})
    )


def _refuse_shapes(entries: list[Stored], architecture: Architecture) -> None:
    """Refuse tensors that are not those of the network that config.json describes."""
    wanted = {name: slot.shape for name, slot in architecture.manifest.items()}
    found = {entry.name: entry.shape for entry in entries}
    for name, shape in found.items():
        if name not in wanted:
            raise ZooError(f"its tensor {name[:100]!r} is none of its architecture's")
        if wanted[name] != shape:
            raise ZooError(f"its {name[:100]!r} is {shape}, its architecture's is {wanted[name]}")
    for slot in architecture.manifest.filled:
        if not found.keys() & set(architecture.manifest.names_of(slot.name)):
            raise ZooError(f"it has no tensor {slot.name!r}")


def _card(found: FoundCheckpoint) -> str:
    """Return a checkpoint's card. A link to one is followed only where the Hub's own cache has it so."""
    path = found.folder / "README.md"
    if not path.is_file():
        return ""
    if path.is_symlink() and not found.revision:
        raise ZooError("its README.md is a link, whose text would be copied into the zoo")
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(MAX_CARD_CHARACTERS)


def _title(card: str) -> str:
    found = re.search(r"^# +(\S[^\n]*)$", card, re.MULTILINE)
    return found[1].strip()[:500] if found else ""
