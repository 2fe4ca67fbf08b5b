"""Weights predicted by a graph hypernet: the shipped one, one in a folder, or one on the Hub."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, final
from weakref import ref

import torch
from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.architectures.processors import read_tokenizer, refuse_larger, rows_of
from paramgen.architectures.spelling import AS_BYTES, Letters, letters_of
from paramgen.errors import OptionError
from paramgen.graphs.analysis.model_families import FAMILY_LABELS, TEXT_FAMILIES
from paramgen.graphs.analysis.model_family import family_of
from paramgen.graphs.analysis.neighbours import Neighbours
from paramgen.graphs.schema import Graph
from paramgen.graphs.views.native import native_view
from paramgen.graphs.views.published.view import published_view
from paramgen.graphs.views.published.vocabulary import PrimitiveSet
from paramgen.graphs.views.view import View
from paramgen.hypernets.config import HypernetConfig
from paramgen.hypernets.decoders.low_rank import LowRankConfig
from paramgen.hypernets.decoders.low_rank_vectors import LowRankVectorsConfig
from paramgen.hypernets.hypernet import FilledElements, Hypernet
from paramgen.hypernets.loading import Predictor
from paramgen.hypernets.normalization import InitializerRange
from paramgen.hypernets.spelled import LETTERS
from paramgen.hypernets.storage import shipped
from paramgen.hypernets.supernet import PIXEL_STD, Supernet
from paramgen.initializers import (
    SHIPPED,
    TEXT,
    UNREAD,
    Choice,
    Initializer,
    NamedTensors,
    ResolvedInitializer,
    initializers,
)
from paramgen.initializers.library import LIBRARY, Library, default_weights
from paramgen.initializers.statistics import STATISTICS, Statistics
from paramgen.modelcard.card_data import known_of
from paramgen.published.resolve import ResolvedHypernet, resolve_hypernet
from paramgen.slots.manifest import Manifest, Slot

HYPERNET, IN_PART = "hypernet", "hypernet in part"
SCALED_DOWN = "{}, scaled down"
"""Rule of default values that the hypernet scales: weights of new inputs beside those that it knows."""
STRANGE = "it knows no such blocks"
Softmax = Literal["explicit", "fused"]
Rest = Literal["library", "statistics"]


@final
@initializers.register("hypernet")
@dataclass(frozen=True, kw_only=True)
class HypernetInitializer(Initializer):
    """What a hypernet predicts: a shipped one or hypernet:FOLDER, FILE or REPO[@REVISION][:FILE]; then the rest."""

    group: ClassVar[str] = "learned"
    applies_to: ClassVar[str] = "the networks of the families that it was trained on"
    slot_by_slot: ClassVar[bool] = False

    path: str = ""  # a folder, a published file, a Hub repository, or the name of one that comes with paramgen
    softmax: Softmax = "explicit"  # how a published hypernet sees attention
    tokenizer: str = ""  # of a language model whose tokens are not bytes: their rows are made from how they are spelled
    rest: Rest = "library"
    """What fills what the hypernet does not know: the library's values, small where they meet known ones, or those of
    `statistics`, at their own size."""

    _reader: Any = field(default=None, repr=False, compare=False)  # that tokenizer, where it was read already

    def __post_init__(self) -> None:
        if self.softmax not in ("explicit", "fused"):
            raise OptionError(f"softmax is {self.softmax!r}. Allowed: explicit (as published weights expect) and fused")
        if self.rest not in (LIBRARY, STATISTICS):
            raise OptionError(f"rest is {self.rest!r}. Allowed: {LIBRARY} and {STATISTICS}")

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Return `hypernet` for slots that it fills, `hypernet in part` where it fills some elements, else the rest's.

        `shares` has the number of elements of each.
        """
        filled = self.model.filled(self._view(architecture, graph))
        rest = self._rest.rules(architecture, graph)
        return {slot.name: _rule(slot, filled.get(slot.name), rest) for slot in architecture.manifest.filled}

    def shares(self, architecture: Architecture, graph: Graph) -> Mapping[str, Mapping[str, int]]:
        """Return how many elements the hypernet and the rest each fill, for slots that both fill."""
        filled = self.model.filled(self._view(architecture, graph))
        rest = self._rest.rules(architecture, graph)
        slots = (slot for slot in architecture.manifest.filled if _rule(slot, filled.get(slot.name), rest) == IN_PART)
        return {slot.name: _shares(slot, filled[slot.name], rest[slot.name]) for slot in slots}

    def with_tokenizer(self, tokenizer: str, reader: Any = None) -> Initializer:
        """Return the hypernet that makes rows for this tokenizer's tokens; itself where it has a tokenizer already."""
        return self if self.tokenizer else replace(self, tokenizer=tokenizer, _reader=reader)

    def needs_tokenizer(self) -> bool:
        """Whether it makes rows of tokens by how they are spelled, and does not know that yet."""
        return not self.tokenizer and (not self.path or isinstance(self.model, Supernet))

    def hindrance(self, architecture: Architecture, graph: Graph) -> str | None:
        """Return why it can fill nothing: it knows no such blocks, or the spelling of tokens is unknown."""
        chosen = self._for(graph)
        if graph.ordered and not {HYPERNET, IN_PART}.isdisjoint(chosen.rules(architecture, graph).values()):
            return None
        unspelled = isinstance(chosen.model, Supernet) and chosen.model.unspelled(chosen._view(architecture, graph))
        return UNREAD if unspelled else STRANGE

    def resolve(self, architecture: Architecture, graph: Graph) -> ResolvedInitializer:
        """Return the requested hypernet, or the shipped one for this family of networks where none was requested.

        Where the shipped one can fill nothing, `library` is returned.
        """
        family = family_of(graph)
        if not graph.ordered:
            reason = f"a hypernet reads the order in which a network runs, and a graph by {graph.traced_by} has none"
            return _library(Choice(init=LIBRARY, family=family, reason=reason))
        chosen = self._for(graph)
        if chosen is self:
            return ResolvedInitializer(initializer=self)
        if hindrance := chosen.hindrance(architecture, graph):
            reason = f"{FAMILY_LABELS[family]}: {hindrance}"
            return _library(Choice(init=LIBRARY, family=family, reason=reason))
        reason = f"{FAMILY_LABELS[family]}: of the hypernets that come with paramgen, it is the one for texts"
        choice = Choice(init=f"hypernet:{TEXT}", family=family, reason=reason)
        return ResolvedInitializer(initializer=chosen, choice=choice)

    def _for(self, graph: Graph) -> "HypernetInitializer":
        """Return the requested one, or else the shipped one for this family of networks."""
        return self if self.path or family_of(graph) not in TEXT_FAMILIES else self._for_texts

    @cached_property  # its weights are read once
    def _for_texts(self) -> "HypernetInitializer":
        return replace(self, path=TEXT)

    @torch.no_grad()
    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Yield the predicted slots group by group, then the rest."""
        manifest = architecture.manifest
        predicted: set[str] = set()
        rest = self._rest.values(architecture, graph, seed=seed)

        def base(name: str) -> Tensor:
            slot = manifest[name]
            # What a graph hypernetwork predicts is the difference from the default initialization.
            return default_weights(slot, seed) if isinstance(self.model, Hypernet) else rest(slot)

        stems = self._stems(architecture, graph)
        for name, tensor in self.model(self._view(architecture, graph), base):
            predicted.add(name)
            yield name, (tensor * stems[name] if name in stems else tensor).to(manifest[name].dtype)
        for slot in manifest.filled:
            if slot.name not in predicted:
                yield slot.name, rest(slot)

    def _stems(self, architecture: Architecture, graph: Graph) -> Mapping[str, float]:
        """Return the factor of each weight that reads images: other pixels than the shared stems know, same answer.

        Known values stand beside others that expect the answer at its size only with `rest=statistics`; norms that
        follow a stem make up for it in most networks, but position tables are added to the answer in transformers.
        """
        if architecture.pixel_std is None or self.rest != STATISTICS or not isinstance(self.model, Supernet):
            return {}
        near = Neighbours(graph)
        slots = (node.slot for index, node in enumerate(graph.nodes) if node.slot is not None and near.is_stem(index))
        return dict.fromkeys(slots, architecture.pixel_std / PIXEL_STD)

    def _view(self, architecture: Architecture, graph: Graph) -> View:
        view = _view_of(self.model, architecture, graph, self.softmax)
        if not self.tokenizer:
            return view
        reader = _read(self.tokenizer, self._reader)
        refuse_larger(reader, self.tokenizer, architecture.layout.config)
        return replace(view, spelling=_spelling(reader))

    def assumptions(self, architecture: Architecture, graph: Graph) -> Sequence[str]:
        """Return the std of the pixels, where a stem follows it, and that a vocabulary of 256 is taken for bytes."""
        said = tuple(
            f"images are normalized by a std of {architecture.pixel_std:.3g}, so {name} is {factor:.3g} times as large"
            for name, factor in self._stems(architecture, graph).items()
        )
        if self.tokenizer or not isinstance(self.model, Supernet):
            return said
        view = self._view(architecture, graph)
        return (*said, AS_BYTES) if self.model.takes_for_bytes(view) else said

    def letters(self) -> Letters | None:
        """Return the spelling of the tokens, where a tokenizer was given."""
        if not self.tokenizer:
            return None
        return Letters(_spelling(_read(self.tokenizer, self._reader)))

    def describe(self) -> Mapping[str, Any]:
        """Return the hypernet's origin, its commit, the sha256 of its weights, the published file, and the rest's."""
        name = self.path if self._shipped is None else f"paramgen/{self._shipped.name}"
        described: dict[str, Any] = {"hypernet": name, "sha256": self.model.sha256 or ""}
        if self._resolved.revision is not None:
            described["revision"] = self._resolved.revision
        if self._published:
            described["softmax"] = self.softmax
        if self.tokenizer:
            described["tokenizer"] = self.tokenizer
            described["spelling"] = sha256(_spelling(_read(self.tokenizer, self._reader)).numpy()).hexdigest()  # type: ignore[arg-type]
        if self._resolved.origin is not None:
            described["published"] = self._resolved.origin.to_json()
        if self.rest != LIBRARY:
            described["rest"] = dict(self._rest.describe())
        return described

    def provenance(self) -> Mapping[str, Any]:
        """Return the hypernet's origin and what the card in its folder says of it."""
        folder = self._shipped or Path(self.path)
        repo = self._resolved.repo
        known = known_of(folder) if folder.is_dir() else {}
        return {"from": self.describe()["hypernet"], **({} if repo is None else {"repo": repo}), **known}

    @property
    def _published(self) -> bool:
        return isinstance(self.model, Hypernet) and self.model.config.vocabulary == "published"

    @property
    def model(self) -> Predictor:
        """The hypernet, read at first use."""
        found = self._resolved.hypernet
        return found.at_full_scale if self.rest == STATISTICS and isinstance(found, Supernet) else found

    @cached_property
    def _rest(self) -> Library | Statistics:
        return Statistics() if self.rest == STATISTICS else Library()

    @cached_property
    def _resolved(self) -> ResolvedHypernet:
        return resolve_hypernet(self.path) if self._shipped is None else _shipped_once(str(self._shipped))

    @property
    def _shipped(self) -> Path | None:
        """The folder of the shipped hypernet, where one of these was requested."""
        return shipped(self.path, SHIPPED)


def _library(choice: Choice) -> ResolvedInitializer:
    return ResolvedInitializer(initializer=Library(), choice=choice)


@lru_cache(maxsize=4)  # a service makes a new initializer for each request
def _shipped_once(folder: str) -> ResolvedHypernet:
    return resolve_hypernet(folder)


def _rule(slot: Slot, filled: FilledElements | None, rest: Mapping[str, str]) -> str:
    """Return the rule of a slot, given how much of it the hypernet fills, and the rules of the rest."""
    if filled is None or not filled.own:
        return rest[slot.name]
    return HYPERNET if filled.own == slot.elements else IN_PART


def _shares(slot: Slot, filled: FilledElements, rest: str) -> dict[str, int]:
    """Return the elements of a slot by rule, `rest` for those that the hypernet does not fill."""
    shares = {HYPERNET: filled.own, SCALED_DOWN.format(rest): filled.scaled}
    return {rule: count for rule, count in (*shares.items(), (rest, slot.elements - sum(filled))) if count}


_LAST: Final[list[tuple[ref[Manifest], Hashable, View]]] = []
"""The last view: rules and tensors need the same, one after the other. The manifest, which may hold a live module's
values, is not kept alive by it."""


def _view_of(model: Predictor, architecture: Architecture, graph: Graph, softmax: Softmax) -> View:
    requested = (model, graph, softmax, architecture.module is None)
    for manifest, known, view in tuple(_LAST):
        if manifest() is architecture.manifest and known == requested:
            return view
    view = _viewed(model, architecture, graph, softmax)
    _LAST[:] = [(ref(architecture.manifest), requested, view)]
    return view


def _viewed(model: Predictor, architecture: Architecture, graph: Graph, softmax: Softmax) -> View:
    if isinstance(model, Supernet):
        return native_view(graph, architecture.manifest, cutoff=None)
    cutoff = model.config.encoder.cutoff
    if model.config.vocabulary == "native":
        return native_view(graph, architecture.manifest, cutoff=cutoff)
    if architecture.module is None or architecture.example is None:
        raise OptionError(
            "A published hypernet traces the network itself; a graph's JSON is not enough. Give --arch a name or a "
            "file.py:factory"
        )
    family = published_family(model.config)
    return published_view(
        architecture.module,
        architecture.manifest,
        architecture.example,
        family=family,
        cutoff=cutoff,
        softmax=softmax,
    )


@lru_cache(maxsize=1)
def _read(tokenizer: str, reader: Any) -> Any:
    return read_tokenizer(tokenizer) if reader is None else reader


@lru_cache(maxsize=1)
def _spelling(reader: Any) -> Tensor:
    if isinstance(reader, Letters):
        return reader.rows
    tokens = reader.convert_ids_to_tokens(range(rows_of(reader)))
    return letters_of([token or "" for token in tokens], LETTERS)  # None for a number without a token


def published_family(config: HypernetConfig) -> PrimitiveSet:
    """Return whose graph rules a converted hypernet was trained with."""
    if not isinstance(config.decoder, (LowRankConfig, LowRankVectorsConfig)):
        return "ghn3"
    return "logah_gpt" if isinstance(config.normalization, InitializerRange) else "logah_vit"
