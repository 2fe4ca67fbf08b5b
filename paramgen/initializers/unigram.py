"""A language model whose output says the log-frequency of each token before training (Meister et al., 2023).

"A Natural Bias for Language Generation Models", arXiv:2212.09686, sets the bias of the output to the log-frequencies of
the training text, which a model otherwise learns in its first steps. Where the output has no bias, one channel of the
last states is kept for it: there the last normalization returns a constant, and the head the log-frequencies over it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import isfinite
from typing import Any, ClassVar, Final, final

import torch
from jaxtyping import Float64
from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.architectures.processors import read_tokenizer, refuse_larger, rows_of
from paramgen.architectures.spelling import AS_BYTES
from paramgen.errors import OptionError, one_line
from paramgen.graphs.analysis.language_head import language_head_of
from paramgen.graphs.analysis.model_families import FAMILY_LABELS, TEXT_FAMILIES
from paramgen.graphs.analysis.model_family import family_of
from paramgen.graphs.schema import Graph
from paramgen.initializers import Composed, Initializer, NamedTensors, initializer_of, initializers
from paramgen.initializers.library import LIBRARY
from paramgen.language.frequencies import BYTES, Counts, counts_of, guessed, source_of
from paramgen.language.output_bias import Edit, calibrated, edits_of, needs_calibration
from paramgen.slots.init_program import slot_generator

UNIGRAM, IN_PART = "unigram", "unigram in part"
MAX_SMOOTHING: Final = 1e9
_ADVICE: Final = "Type: --init unigram:FILE"


@final
@initializers.register(UNIGRAM)
@dataclass(frozen=True, kw_only=True)
class Unigram(Composed):
    """The output says how frequent tokens are in a text, unigram:FILE, or by a tokenizer; rest: `base` (2023).

    A network that has a bias neither at its output nor in its last normalization, such as Llama, is in memory as a
    whole, and is run once.
    """

    group: ClassVar[str] = "formulas"
    applies_to: ClassVar[str] = "the output of language models"

    path: str = ""  # a UTF-8 text file, or a folder of .txt files; empty: what the tokenizer was trained to
    base: str = LIBRARY  # the initializer of everything else
    tokenizer: str = ""  # of the text; without one, a vocabulary of 256 is taken for bytes
    smoothing: float | int = 1  # added to the count of each token, so that none is impossible
    _reader: Any = field(default=None, repr=False, compare=False)  # the tokenizer, where it was read already

    def __post_init__(self) -> None:
        for name in ("path", "base", "tokenizer"):
            if not isinstance(getattr(self, name), str):
                raise OptionError(f"{name} is {one_line(repr(getattr(self, name)))}. Allowed: a text. {_ADVICE}")
        smoothing = self.smoothing
        plain = isinstance(smoothing, (int, float)) and not isinstance(smoothing, bool) and isfinite(smoothing)
        if not plain or not 0 < smoothing <= MAX_SMOOTHING:
            raise OptionError(
                f"smoothing is {one_line(repr(smoothing))}. Allowed: a number above 0, up to {MAX_SMOOTHING:,.0f}. "
                "Type: --init 'unigram:FILE?smoothing=1'"
            )
        self.keep(self._made_base)

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Return `unigram` for a bias, `unigram in part` for slots of which a channel is kept, else the base's."""
        own = dict(self.inner.rules(architecture, graph))
        for name, edit in self._edits(architecture, graph).items():
            if name in own:
                own[name] = UNIGRAM if edit.axis is None else IN_PART
        return own

    def shares(self, architecture: Architecture, graph: Graph) -> Mapping[str, Mapping[str, int]]:
        """Return the number of elements that are changed in each slot, and of those that are not, by rule."""
        rules, shares = self.inner.rules(architecture, graph), dict(self.inner.shares(architecture, graph))
        for name, edit in self._edits(architecture, graph).items():
            slot = architecture.manifest[name]
            if edit.axis is None:
                shares.pop(name, None)
            elif name in rules:
                others = dict(shares.get(name) or {rules[name]: slot.elements})
                changed = edit.elements(slot.shape)
                others[max(others, key=others.__getitem__)] -= changed
                shares[name] = {UNIGRAM: changed, **{rule: count for rule, count in others.items() if count > 0}}
        return shares

    def hindrance(self, architecture: Architecture, graph: Graph) -> str | None:
        """Return why the output cannot say frequencies: no language model, no head, or no text and no tokenizer."""
        family, head = family_of(graph), language_head_of(graph, architecture.manifest)
        if family not in TEXT_FAMILIES:
            return f"it is a {FAMILY_LABELS[family]}, whose output is no vocabulary of tokens. Type: --init library"
        if head is None:
            return "it returns no linear map onto the tokens that it reads. Type: --arch gpt2, or one with such a head"
        if self._reader is None and not self.tokenizer and head.rows != BYTES:
            return f"which of its {head.rows:,} tokens is which is not known. Type: --tokenizer FOLDER"
        if self._tokens is not None and rows_of(self._tokens) > head.rows:
            needed = rows_of(self._tokens)
            return f"its {head.rows:,} tokens are fewer than the tokenizer's. Type: --set vocab_size={needed}"
        if self._logs(architecture, head.rows) is None:
            return "nothing says how frequent its tokens are. Type: --init unigram:FILE, with a text"
        if edits_of(head, torch.zeros(head.rows, dtype=torch.float64)) is None:
            return "its output has no bias, and no channel of what it reads can be made constant. Type: --init library"
        return None

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Yield what the base makes, with the channel that is kept, or the bias, filled."""
        edits, head = self._edits(architecture, graph), language_head_of(graph, architecture.manifest)
        if head is None or not edits or not needs_calibration(head):
            for name, tensor in self.inner.tensors(architecture, graph, seed=seed):
                yield name, edits[name].of(tensor) if name in edits else tensor
            return
        # To run the network, every slot is needed, however few were requested.
        whole = replace(architecture, manifest=architecture.manifest.whole())
        tensors = dict(self.inner.tensors(whole, graph, seed=seed))
        tensors |= {name: edit.of(tensors[name]) for name, edit in edits.items()}
        logs = self._logs(architecture, head.rows)
        assert logs is not None and head.gain is not None
        tensors[head.gain] = calibrated(whole, tensors, head, logs, slot_generator(seed, head.gain, stream=UNIGRAM))
        for slot in architecture.manifest.filled:
            yield slot.name, tensors[slot.name]

    def with_tokenizer(self, tokenizer: str, reader: Any = None) -> Initializer:
        """Return the same one, for this tokenizer's tokens; itself where it has a tokenizer already."""
        if self.tokenizer:
            return self
        inner = self.inner.with_tokenizer(tokenizer, reader)
        return replace(self, tokenizer=tokenizer, _reader=reader, _inner=inner)

    def needs_tokenizer(self) -> bool:
        """Whether no tokenizer has been named: frequencies are those of its tokens."""
        return not self.tokenizer

    def describe(self) -> Mapping[str, Any]:
        """Return the text, its sha256 and number of tokens, and the smoothing, where there is a text; and the base."""
        described: dict[str, Any] = {"frequencies": "of a text" if self.path else "guessed"}
        if self.path:
            counts = self._counts
            described |= {"text": self.path, "sha256": counts.sha256, "tokens": counts.tokens}
            described["smoothing"] = self.smoothing
        if self.tokenizer:
            described["tokenizer"] = self.tokenizer
        return {**described, "of": self.of(self.base)}

    def assumptions(self, architecture: Architecture, graph: Graph) -> Sequence[str]:
        """Return how the frequencies are known where no text was given, or no tokenizer, and what the base assumes."""
        assumed = list(self.inner.assumptions(architecture, graph))
        if not self.path and self._tokens is not None:
            assumed.append(
                f"frequencies are guessed by {source_of(self._tokens)}. To count them in a text, type: "
                "--init unigram:FILE"
            )
        if self._tokens is None and AS_BYTES not in assumed:
            assumed.append(AS_BYTES)
        return tuple(assumed)

    def _edits(self, architecture: Architecture, graph: Graph) -> dict[str, Edit]:
        """Return what is changed; nothing where there is a hindrance and the base is the default initialization.

        Raises:
            OptionError: There is a hindrance, and something else was requested of the base.

        """
        if (hindrance := self.hindrance(architecture, graph)) is not None:
            if self.base == LIBRARY:
                return {}
            raise OptionError(f"'unigram' fills nothing of {architecture.spec!r}: {hindrance}")
        head = language_head_of(graph, architecture.manifest)
        assert head is not None
        logs = self._logs(architecture, head.rows)
        assert logs is not None
        return edits_of(head, logs) or {}

    def _logs(self, architecture: Architecture, rows: int) -> Float64[Tensor, " rows"] | None:
        """Return the log-frequency of each token; None where there is no text, and the tokenizer tells nothing."""
        tokens = self._tokens
        if tokens is not None:
            refuse_larger(tokens, self.tokenizer, architecture.layout.config)
        if self.path:
            return self._counts.log_frequencies(rows, self.smoothing)
        return None if tokens is None else guessed(tokens, rows)

    def _made_base(self) -> Initializer:
        base = initializer_of(self.base)
        return base.with_tokenizer(self.tokenizer) if self.tokenizer else base

    @property
    def _counts(self) -> Counts:
        return _counted(self.path, self._tokens)

    @property
    def _tokens(self) -> Any:
        """The tokenizer; None for bytes."""
        if self._reader is not None or not self.tokenizer:
            return self._reader
        return _read(self.tokenizer)


@lru_cache(maxsize=1)
def _read(tokenizer: str) -> Any:
    return read_tokenizer(tokenizer)


@lru_cache(maxsize=2)  # in a comparison, each run asks again
def _counted(path: str, tokenizer: Any) -> Counts:
    return counts_of(path, tokenizer)
