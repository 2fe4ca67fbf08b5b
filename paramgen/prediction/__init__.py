"""A prediction: one architecture, one initializer, one seed. Nothing is computed before the tensors are read."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from paramgen.architectures import Architecture, Inputs, resolve, sources
from paramgen.architectures.followed import TokenizerVocabulary
from paramgen.architectures.inputs import typed
from paramgen.architectures.module import from_module
from paramgen.architectures.own_tokenizer import LEFT_OUT, NONE, OwnTokenizer, fetched_tokenizer, tokenizer_known_for
from paramgen.architectures.processors import read_tokenizer, tokens_of
from paramgen.architectures.repository import pinned
from paramgen.errors import OptionError, TraceError, one_line
from paramgen.errors.option_names import in_python
from paramgen.graphs.cache import cached_graph
from paramgen.graphs.graph_json import MAX_GRAPH_BYTES, graph_from_json
from paramgen.graphs.schema import Graph
from paramgen.graphs.tracing.fallbacks import STRICT, Tracing
from paramgen.initializers import UNREAD, Choice, Initializer, ResolvedInitializer, idle_reason, initializer_of
from paramgen.initializers.auto import AUTO
from paramgen.initializers.library import DEFAULTS, KEPT, LIBRARY, PLAIN
from paramgen.modelcard.notebook import facts
from paramgen.prediction.next_step import next_steps
from paramgen.prediction.progress import Progress, reporting
from paramgen.prediction.rounding import Rounding, is_finite
from paramgen.registry.architecture_names import refuse_unknown_name
from paramgen.registry.synonyms import checked_dtype, known_init
from paramgen.slots.manifest import Slot

DTYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@final
@dataclass(frozen=True, kw_only=True)
class Requested:
    """What was requested, as it is typed: `arch` is None for a live module, and `example_input` for none.

    An example input that cannot be typed is an empty text.
    """

    arch: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    example_input: str | None = None
    tokenizer: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it for a record."""
        return {"arch": self.arch, "overrides": dict(self.overrides), "example_input": self.example_input}


@final
@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Iterate over it for (name, tensor) pairs, each slot once, in the order in which they come."""

    architecture: Architecture
    graph: Graph
    resolved: ResolvedInitializer
    init: str  # the initializer as it was requested
    seed: int
    dtype: torch.dtype | None  # of floating-point slots; None: as the architecture has them
    requested: Requested = Requested()
    part: frozenset[str] | None = None  # the slots to yield; None: all
    strict: bool = False  # whether what would be a warning of the weights is an error
    rounding: Rounding | None = None  # to few bits

    def __repr__(self) -> str:
        what = f"{self.architecture.spec!r}, {self.architecture.manifest.parameters:,} parameters, init={self.init!r}"
        return f"Prediction({what}{self._because}, seed={self.seed}{self._typed})"

    def _repr_html_(self) -> str:
        elements = max(self.architecture.manifest.elements, 1)
        rows = {f"by {rule}": f"{count / elements:.1%}" for rule, count in self.by_rule.items()}
        return facts(repr(self), {**rows, "graph": self.graph})

    @property
    def _because(self) -> str:
        """Say, in parentheses, which initializer was chosen and why."""
        if self.choice is None:
            return ""
        return f" (chose {self.choice.init!r} because {in_python(one_line(self.choice.reason))})"

    @property
    def _typed(self) -> str:
        return "" if self.dtype is None else f", dtype={str(self.dtype).removeprefix('torch.')!r}"

    def only(self, names: Sequence[str]) -> "Prediction":
        """Return the part of a prediction that fills the slots named.

        What is drawn slot by slot comes in the order of `names`, and nothing else is drawn. A hypernet computes as much
        as before, in its own order.
        """
        architecture = replace(self.architecture, manifest=self.architecture.manifest.only(names))
        return replace(self, architecture=architecture, part=frozenset(names))

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        manifest = self.architecture.manifest
        tensors = self.resolved.tensors(self.architecture, self.graph, seed=self.seed)
        unchecked = self.strict
        if self.rounding is not None and self.part is None:
            self.rounding.begin()
        while True:
            with torch.no_grad():  # around each step: what the caller does in between is his
                found = next(tensors, None)
            if found is None:
                return
            constraint = self.initializer.constraint() if unchecked else None
            if constraint is not None and (fault := constraint.fault()):
                raise OptionError(f"{fault} Or leave --strict out")
            unchecked = False  # it is known with the first tensor
            name, tensor = found
            if self.part is None or name in self.part:
                tensor = self._finite(name, tensor.detach().to(self.dtype_of(manifest[name])))
                yield name, tensor if self.rounding is None else self.rounding.of(manifest[name], tensor)
            del found, tensor  # while the next one is made, only the caller holds this one

    def _finite(self, name: str, tensor: Tensor) -> Tensor:
        """Refuse what overflowed; what the library itself fills may hold infinities, as masks do."""
        if self.rules[name] not in DEFAULTS and not is_finite(tensor):
            dtype = str(tensor.dtype).removeprefix("torch.")
            raise OptionError(
                f"{one_line(self.init)!r} fills {one_line(name)!r} with values that {dtype} cannot hold. Give smaller "
                "options, or type: --dtype float32"
            )
        return tensor

    @property
    def initializer(self) -> Initializer:
        """The initializer that fills it; where one was chosen, that one."""
        return self.resolved.initializer

    @property
    def choice(self) -> Choice | None:
        """Which initializer was chosen for this network and why; None where the request named it."""
        return self.resolved.choice

    @property
    def resolved_init(self) -> str:
        """The name of the initializer that fills it; where one was chosen, of that one."""
        return self.init if self.choice is None else self.choice.init

    @cached_property
    def rules(self) -> Mapping[str, str]:
        """The rule that fills each slot; the tied ones are left out."""
        return self.initializer.rules(self.architecture, self.graph)

    @property
    def is_library(self) -> bool:
        """Whether nothing is filled but by what the library draws, or by what was there."""
        return set(self.rules.values()) <= {LIBRARY, KEPT, PLAIN} and bool(self.rules)

    @cached_property
    def shares(self) -> Mapping[str, Mapping[str, int]]:
        """Number of elements by rule of each slot that several rules fill."""
        return self.initializer.shares(self.architecture, self.graph)

    @property
    def explanation(self) -> str:
        """What chose which initializer and why, in a sentence; empty where the request named it."""
        return "" if self.choice is None else f"{self.init} chose {self.choice.init}: {self.choice.reason}"

    @property
    def next_step(self) -> str:
        """What to do where `auto` knew of nothing better than the library's own, in a line; empty elsewhere."""
        if self.init != AUTO or self.resolved_init != LIBRARY:
            return ""
        requested, choice = self.requested, self.choice
        if choice is not None and UNREAD in choice.reason and requested.arch and not requested.tokenizer:
            known = tokenizer_known_for(requested.arch, requested.overrides)
            if known is not None:
                return f"With its tokenizer it would be filled: --tokenizer {known.partition('@')[0]}"
        return _next_steps(self)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was decided or assumed without having been requested, in sentences."""
        assumed = self.initializer.assumptions(self.architecture, self.graph)
        rounded = () if self.rounding is None else (self.rounding.remark(),)
        return (*self.architecture.notes, *assumed, *self.initializer.remarks(), *rounded)

    @property
    def by_rule(self) -> dict[str, int]:
        """Number of elements that each rule fills, the largest first; of a slot in part, each rule has its own."""
        counts: Counter[str] = Counter()
        for name, rule in self.rules.items():
            counts.update(self.shares.get(name) or {rule: self.architecture.manifest[name].elements})
        return dict(counts.most_common())

    @property
    def tensors_by_rule(self) -> dict[str, int]:
        """Number of whole tensors by the rule that is named for each."""
        return dict(Counter(self.rules.values()).most_common())

    def advancing(self, progress: Progress | bool | None) -> Iterator[tuple[str, Tensor]]:
        """Iterate and say after each tensor how far it is."""
        manifest, done = self.architecture.manifest, 0
        with reporting(progress) as report:
            for name, tensor in self:
                yield name, tensor
                done += tensor.numel()
                if report is not None:
                    report("predict", done, manifest.elements)

    def dtype_of(self, slot: Slot) -> torch.dtype:
        """Return the dtype in which a slot is written; integers and booleans stay what they are.

        Complex numbers have one that files hold, complex64: whatever dtype is requested, they are written in it.
        """
        if self.dtype is not None and slot.dtype.is_complex:
            return torch.complex64
        return self.dtype if self.dtype is not None and slot.dtype.is_floating_point else slot.dtype

    def state_dict(self, *, progress: bool | None = None) -> dict[str, Any]:
        """Compute every tensor; tied names share one. A bar is shown as by `paramgen.write`.

        The extra state that a live module holds, and asks for when it is loaded, is in it, too.
        """
        manifest = self.architecture.manifest
        filled = dict(self.advancing(progress))
        tensors = {name: filled[slot.tied_to or name] for name, slot in manifest.items()}
        return tensors | {name: make() for name, make in self.architecture.extra.items()}


def prepare(
    arch: "str | nn.Module | None",
    *,
    init: str = "auto",
    seed: int = 0,
    dtype: str | torch.dtype | None = None,
    overrides: Mapping[str, Any] | None = None,
    example_input: Inputs | None = None,
    tokenizer: str | None = None,
    tracing: Tracing | None = None,
) -> Prediction:
    """Build and trace `arch`, or the initializer's own, and choose the initializer; check every option first."""
    if type(seed) is not int or seed < 0 or seed >= 2**63:
        raise OptionError(f"The seed is {seed!r}; allowed are 0 to 2**63 - 1. Type: --seed 0")
    dtype = checked_dtype(dtype) if dtype is not None else None
    init = known_init(init)
    if isinstance(arch, str):
        refuse_unknown_name(arch, sources.names())
    initializer, tokens, own = initializer_of(init), None, OwnTokenizer()
    if tokenizer is None and isinstance(arch, str) and initializer.needs_tokenizer():
        own = fetched_tokenizer(arch, overrides or {})
    tokenizer = own.name if tokenizer in (None, NONE) else tokenizer
    if tokenizer is not None:
        reader = own.reader or read_tokenizer(tokenizer)
        initializer, tokens = initializer.with_tokenizer(tokenizer, reader), tokens_of(reader, tokenizer)
    initializer.describe()  # reads its files: fail before the architecture is built
    if arch is None:
        arch, tokens = _own_architecture(init, initializer), None
    architecture, graph = describe(
        arch, overrides=overrides, example_input=example_input, tokens=tokens, tracing=tracing or Tracing()
    )
    if own.note:
        architecture = replace(architecture, notes=(*architecture.notes, own.note))
    requested = Requested(
        arch=None if isinstance(arch, nn.Module) else pinned(arch, architecture.spec),
        overrides=overrides or {},
        example_input=None if example_input is None else typed(example_input),
        tokenizer=tokenizer,
    )
    prediction = prediction_of(architecture, graph, initializer, init=init, seed=seed, dtype=dtype, requested=requested)
    return replace(prediction, strict=tracing is not None and tracing.strict)


def _own_architecture(init: str, initializer: Initializer) -> str:
    own = initializer.own_architecture()
    if own is None:
        raise OptionError(
            f"No architecture is given, and {init.partition('?')[0]!r} has none of its own. Type: --arch vit_b16, or a "
            "name that `paramgen list architectures` shows"
        )
    return own


def prediction_of(
    architecture: Architecture,
    graph: Graph,
    initializer: Initializer,
    *,
    init: str,
    seed: int,
    dtype: str | None,
    requested: Requested = Requested(),
) -> Prediction:
    """Return the prediction for an architecture that is built and traced; `init` is the initializer's name.

    Raises:
        OptionError: The initializer was requested by name and fills nothing, so that all would be the library's own.

    """
    prediction = Prediction(
        architecture=architecture,
        graph=graph,
        resolved=initializer.resolve(architecture, graph),
        init=init,
        seed=seed,
        dtype=None if dtype is None else DTYPES[dtype],
        requested=requested,
    )
    if initializer.fills_something and prediction.is_library:
        why = hindrance_of(initializer, prediction)
        noted = "".join(f" ({note})" for note in architecture.notes if note.startswith(LEFT_OUT))
        raise OptionError(
            f"{init.partition('?')[0]!r} fills nothing of {architecture.spec!r}: {why}{noted}. To keep the default "
            f"initialization, type: --init {LIBRARY}"
        )
    return prediction


def hindrance_of(initializer: Initializer, prediction: Prediction) -> str:
    """Say why an initializer leaves a network with its default initialization."""
    if prediction.choice is not None:
        return prediction.choice.reason
    return idle_reason(initializer, prediction.architecture, prediction.graph)


def _next_steps(prediction: Prediction) -> str:
    """Return what to type or call where nothing better than the default initialization is known; empty elsewhere."""
    requested, family = prediction.requested, "other" if prediction.choice is None else prediction.choice.family
    if requested.arch is not None and _graph_text(requested.arch) is not None:
        return ""
    if requested.arch is None and prediction.architecture.layout.source != "module":
        return ""
    images = any(node.op == "input" and len(node.shape) == 4 for node in prediction.graph.nodes)
    return next_steps(
        requested.arch,
        family,
        images=images,
        overrides=requested.overrides,
        example_input=requested.example_input,
        tokenizer=requested.tokenizer,
    )


def describe(
    arch: "str | nn.Module",
    *,
    overrides: Mapping[str, Any] | None = None,
    example_input: Inputs | None = None,
    tokens: TokenizerVocabulary | None = None,
    tracing: Tracing = STRICT,
) -> tuple[Architecture, Graph]:
    """Return the architecture and its graph; `arch` may also be the path of a graph's JSON.

    A language model that is named is built for the `tokens` of a tokenizer.
    """
    if example_input is not None:
        tracing = replace(tracing, own_example=True)
    if isinstance(arch, nn.Module):
        if overrides:
            raise OptionError("Overrides change a named architecture's config; a live module has its own.")
        architecture = from_module(arch, example_input)
    elif (text := _graph_text(arch)) is not None:
        if overrides:
            raise OptionError("--set changes a named architecture; a graph is what it is. Make another: paramgen graph")
        if example_input is not None:
            raise OptionError(
                f"{arch} is a graph: it was traced with an input of its own. Leave --example-input (example_input) "
                "out, or make another graph: paramgen graph --example-input 2x3x32x32"
            )
        return _followed(*graph_from_json(text), tracing)
    else:
        architecture = resolve(arch, overrides, example_input, tokens=tokens)
    return architecture, cached_graph(architecture, tracing)


def _followed(architecture: Architecture, graph: Graph, tracing: Tracing) -> tuple[Architecture, Graph]:
    """Return a graph that was read, unless an order of execution is wanted and it has none."""
    if tracing.strict and not graph.ordered:
        raise TraceError(
            f"The graph of {architecture.spec} was made by {graph.traced_by} and has no order. Leave --strict out"
        )
    return architecture, graph


def _graph_text(arch: str) -> str | None:
    """Return the content of a graph's JSON file, or None if `arch` is anything else."""
    path = Path(arch)
    if path.suffix != ".json" or not path.is_file():
        return None
    with path.open(encoding="utf-8", errors="replace") as file:
        head = file.read(4096)
        return head + file.read(MAX_GRAPH_BYTES + 1) if '"paramgen_graph"' in head or '"nodes"' in head else None
