"""A trained language model with another tokenizer (TokenAdapt; Sharthak et al., 2025, arXiv:2505.09738)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final, final

import torch
from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.architectures.processors import read_tokenizer, refuse_larger
from paramgen.errors import OptionError
from paramgen.graphs.schema import Graph
from paramgen.hub.trained import Trained
from paramgen.initializers import Initializer, NamedTensors, initializers
from paramgen.initializers.library import fill_by_rules
from paramgen.language.source import Source, source_of
from paramgen.language.spelling import Alphabet, Spelling, spelling
from paramgen.slots.manifest import Slot

COPIED, COMPOSED = "transplant", "spelled"
_ADVICE: Final = "Type: --init 'transplant:FOLDER_OR_REPO?tokenizer=FOLDER_FILE_OR_REPO'"
_FILES: Final = ("tokenizer*", "special_tokens_map.json", "vocab.json", "vocab.txt", "merges.txt")


@final
@initializers.register("transplant")
@dataclass(frozen=True, kw_only=True)
class Transplant(Initializer):
    """A trained GPT-2, Llama or BERT for another tokenizer, 'transplant:FOLDER_OR_REPO?tokenizer=NEW' (TokenAdapt)."""

    group: ClassVar[str] = "from a trained model"
    applies_to: ClassVar[str] = "GPT-2, Llama and BERT"

    path: str = ""  # a folder with a model and its tokenizer, or a Hub repository, `@revision` after it
    tokenizer: str = ""  # the new one: a folder, a tokenizer.json or a Hub repository; it is copied beside the weights

    def __post_init__(self) -> None:
        for name in ("path", "tokenizer"):
            if not isinstance(getattr(self, name), str):
                raise OptionError(f"{name} is {getattr(self, name)!r}. Allowed: a folder or a repository. {_ADVICE}")

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Return `spelled` for the tables of tokens, `transplant` for the rest, which is copied."""
        source = self._source(architecture)
        return {
            slot.name: COMPOSED if _is_table(source, slot.name) else COPIED for slot in architecture.manifest.filled
        }

    @torch.no_grad()
    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Read one tensor after the other; nothing is random."""
        source = self._source(architecture)
        spelled = self._spelling(source)

        def make(slot: Slot) -> Tensor:
            if not _is_table(source, slot.name):
                return source.stored(slot.name, slot.shape).tensor().to(slot.dtype)
            old = source.stored(slot.name, (source.before.vocabulary, *slot.shape[1:]))
            return spelled.table(old.tensor()).to(slot.dtype)

        return fill_by_rules(architecture, self.rules(architecture, graph), make, seed=seed)

    def describe(self) -> Mapping[str, Any]:
        """Return where the trained model is from, the sha256 of its weights, the new tokenizer and its size."""
        tokens = len(self._new.vocabulary)
        return {**self._trained.describe(), "tokenizer": self.tokenizer, "tokens": tokens}

    def provenance(self) -> Mapping[str, Any]:
        """Return the trained model's origin and what its card says of it."""
        return self._trained.provenance()

    @property
    def companion_files(self) -> Mapping[str, str]:
        """The new tokenizer belongs beside the weights."""
        return {"tokenizer": self.tokenizer}

    @cached_property
    def _trained(self) -> Trained:
        return Trained(
            path=self.path,
            init="transplant",
            what="trained model",
            advice=_ADVICE,
            files=_FILES,
            needed=("config.json",),
        )

    @cached_property
    def _new(self) -> Alphabet:
        if not self.tokenizer:
            raise OptionError(f"transplant needs the new tokenizer. {_ADVICE}")
        return Alphabet(tokenizer=read_tokenizer(self.tokenizer), name=self.tokenizer)

    @cached_property
    def _old(self) -> Alphabet:
        return Alphabet(tokenizer=read_tokenizer(str(self._trained.folder)), name=self.path)

    def _source(self, architecture: Architecture) -> Source:
        source = source_of(self._trained, architecture)
        refuse_larger(self._new.tokenizer, self.tokenizer, architecture.layout.config)
        if source.now.tied and not source.before.tied:
            raise OptionError(
                f"The head of {self.path!r} is a tensor of its own, that of {architecture.spec} is its embedding. "
                "Type: --set tie_word_embeddings=false"
            )
        for size, key in source.family.sizes.items():
            had, has = getattr(source.before, size), getattr(source.now, size)
            if size != "vocabulary" and had != has:
                words = f"{source.family.sizes['vocabulary']}={len(self._new.vocabulary)}"
                raise OptionError(
                    f"{key} is {had:,} in {self.path!r}, {has:,} in {architecture.spec}; only the vocabulary may "
                    f"differ. Type: --arch {self.path} --set {words}"
                )
        return source

    def _spelling(self, source: Source) -> Spelling:
        return spelling(self._new, self._old, source.now.vocabulary, source.before.vocabulary)


def _is_table(source: Source, slot: str) -> bool:
    return "vocabulary" in (source.family.axes_of(slot) or ())
