"""Initializers: everything that fills an architecture with initial weights, behind one abstract class.

An initializer reads the architecture and its graph, names the rule for every slot, and yields every slot's tensor once.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Final, TypeGuard, final

from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.architectures.spelling import Letters
from paramgen.errors import OptionError, UnknownNameError, one_line
from paramgen.graphs.analysis.model_families import ModelFamily
from paramgen.graphs.schema import Graph
from paramgen.modifiers.constraints import Constraint
from paramgen.registry import Registry, Spec
from paramgen.registry.chains import THEN, join_chain, split_chain
from paramgen.registry.overrides import split_spec
from paramgen.registry.synonyms import known_init

SHIPPED, TEXT = "vision", "text"
"""The hypernets that come with paramgen for images and for texts, by name."""

UNREAD: Final = "it does not know which bytes the tokens are spelled with. Type: --tokenizer FOLDER"
"""Why the hypernet for texts fills nothing without a tokenizer."""

NamedTensors = Iterator[tuple[str, Tensor]]


class Initializer(ABC):
    """What fills an architecture with initial weights: a frozen dataclass whose public fields are its options.

    Before a requested initializer fills a network, `resolve` returns the one that does, which may be another one:
    `rules`, `shares` and `tensors` are those of the resolved one.
    """

    __slots__ = ()

    runs_network: ClassVar[bool] = False  # whether it runs the network, all of which is then in memory
    slot_by_slot: ClassVar[bool] = True  # whether one slot can be computed without the others
    fills_something: ClassVar[bool] = True  # whether a user requests it in order to change default values
    group: ClassVar[str] = "others"  # a heading of `paramgen list initializers`, one of `paramgen.output.facts.GROUPS`
    applies_to: ClassVar[str] = "any network"  # what it fills, in a few words

    @abstractmethod
    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Return the name of the rule that fills each slot; tied slots are left out."""

    @abstractmethod
    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Yield every slot once, in any order; tied slots are left out. A yielded tensor is never changed later."""

    def shares(self, architecture: Architecture, graph: Graph) -> Mapping[str, Mapping[str, int]]:
        """Return the number of elements by rule, for each slot that several rules fill."""
        return {}

    def builds_on(self, architecture: Architecture, graph: Graph) -> frozenset[str]:
        """Return the slots whose new values depend on their default values."""
        return frozenset(self.shares(architecture, graph))

    def resolve(self, architecture: Architecture, graph: Graph) -> "ResolvedInitializer":
        """Return the initializer that fills this network: itself, or the one that it chooses for it, and why."""
        return ResolvedInitializer(initializer=self)

    def hindrance(self, architecture: Architecture, graph: Graph) -> str | None:
        """Return why it can fill nothing of a network; None where it can."""
        return None

    def with_tokenizer(self, tokenizer: str, reader: Any = None) -> "Initializer":
        """Return the initializer for a network with this tokenizer: itself, unless its values depend on the tokenizer.

        Args:
            tokenizer: A folder, a tokenizer.json or a Hub repository; with `reader`, its name in records.
            reader: The tokenizer itself (of transformers), where it was read or trained already.

        """
        return self

    def needs_tokenizer(self) -> bool:
        """Whether its values depend on a tokenizer that nobody has named yet; that of a named model may be fetched."""
        return False

    def describe(self) -> Mapping[str, Any]:
        """Return what identifies it besides its options: origin and hashes of the files that it reads, as JSON."""
        return {}

    def own_architecture(self) -> str | None:
        """Return the spec of the one architecture that it fills, where there is only one."""
        return None

    def remarks(self) -> Sequence[str]:
        """Return sentences with what a user who requested it should know."""
        return ()

    def assumptions(self, architecture: Architecture, graph: Graph) -> Sequence[str]:
        """Return sentences with what it assumes about a network that nobody stated."""
        return ()

    def letters(self) -> Letters | None:
        """Return how the tokens of a language model are spelled, where its values depend on that."""
        return None

    def constraint(self) -> Constraint | None:
        """Return what is to hold of the weights in training, if anything; known once all were computed."""
        return None

    @property
    def seconds_before(self) -> float:
        """How long its weights were trained before it reads them; what they are worth is compared at that cost."""
        return 0.0

    @property
    def companion_files(self) -> Mapping[str, str]:
        """Files that belong beside the weights, such as a tokenizer, by the option that would copy them."""
        return {}

    def provenance(self) -> Mapping[str, Any]:
        """Return whose weights it uses: `from`, and `repo`, `license`, `datasets` where they are known."""
        return {}


@final
@dataclass(frozen=True, kw_only=True)
class Choice:
    """The initializer that was chosen for a network, the network's family, and the reason."""

    init: str
    family: ModelFamily
    reason: str

    def to_json(self) -> dict[str, str]:
        """Return the entries of a record."""
        return {"resolved": self.init, "family": self.family, "reason": self.reason}


@final
@dataclass(frozen=True, kw_only=True)
class ResolvedInitializer:
    """The initializer that fills one network, and why it was chosen if another one was requested.

    Args:
        initializer: Fills the network itself and chooses no other one.
        choice: None where this very initializer was requested.
        download: Receives the tensors, where a server computes them.

    """

    initializer: Initializer
    choice: Choice | None = None
    download: Callable[[Architecture, Graph], NamedTensors] | None = field(default=None, repr=False)

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Yield every slot once, computed here or received."""
        if self.download is not None:
            return self.download(architecture, graph)
        return self.initializer.tensors(architecture, graph, seed=seed)

    def describe(self) -> dict[str, Any]:
        """Return the choice, if there was one, and what else identifies the initializer, as JSON."""
        return {**(self.choice.to_json() if self.choice else {}), **self.initializer.describe()}

    @property
    def is_local(self) -> bool:
        """Whether this process computes the tensors."""
        return self.download is None

    @property
    def slot_by_slot(self) -> bool:
        """Whether one slot can be computed without the others; never where the file is received from a server."""
        return self.is_local and self.initializer.slot_by_slot


MAX_SCALE: Final = 1000
"""The largest scale that an option may set: beyond it weights overflow, in float16 first."""


def check_std(init: str, value: object) -> None:
    """Raise OptionError unless `value` is a positive standard deviation."""
    if not is_scale(value) or value <= 0:
        raise OptionError(
            f"std is {one_line(repr(value))}. Allowed: a number above 0, up to {MAX_SCALE:,}. "
            f"Type: --init '{init}?std=0.02'"
        )


def check_number(
    init: str, name: str, value: object, *, example: float, least: float | int = 0, most: float | int = MAX_SCALE
) -> None:
    """Raise OptionError unless the option `name` of an initializer is a number from `least` to `most`."""
    if not is_scale(value) or not least <= value <= most:
        raise OptionError(
            f"{name} is {one_line(repr(value))}. Allowed: a number from {least:,g} to {most:,g}. "
            f"Type: --init '{init}?{name}={example}'"
        )


def is_scale(value: object) -> TypeGuard[float]:
    """Whether an option's value is a number that weights can be scaled by."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -MAX_SCALE <= value <= MAX_SCALE


@dataclass(frozen=True, kw_only=True)
class Composed(Initializer):
    """An initializer that changes what another one, the inner one, makes."""

    runs_network: ClassVar[bool] = True  # the inner one may
    slot_by_slot: ClassVar[bool] = False
    group: ClassVar[str] = "controls"
    applies_to: ClassVar[str] = "what the other initializer fills"

    _inner: Initializer | None = field(default=None, repr=False, compare=False)
    _choice: Choice | None = field(default=None, repr=False, compare=False)  # where the inner one was chosen

    @property
    def inner(self) -> Initializer:
        """The initializer whose tensors are changed."""
        assert self._inner is not None
        return self._inner

    def resolve(self, architecture: Architecture, graph: Graph) -> ResolvedInitializer:
        """Return the same change of what the inner initializer is resolved to for this network."""
        inner = self.inner.resolve(architecture, graph)
        return ResolvedInitializer(initializer=replace(self, _inner=inner.initializer, _choice=inner.choice))

    def with_tokenizer(self, tokenizer: str, reader: Any = None) -> Initializer:
        """Return the same change of the inner initializer for a network with this tokenizer."""
        return replace(self, _inner=self.inner.with_tokenizer(tokenizer, reader))

    def needs_tokenizer(self) -> bool:
        """Whether the inner initializer needs a tokenizer."""
        return self.inner.needs_tokenizer()

    def keep(self, inner: Callable[[], Initializer]) -> None:
        """Make the inner initializer, unless there is one already."""
        if self._inner is None:
            object.__setattr__(self, "_inner", inner())

    def of(self, init: str) -> Mapping[str, Any]:
        """Return what identifies the inner initializer, which was requested as `init`."""
        return {"init": init, **(self._choice.to_json() if self._choice else {}), **self.inner.describe()}

    def assumptions(self, architecture: Architecture, graph: Graph) -> Sequence[str]:
        """Return what the inner initializer assumes."""
        return self.inner.assumptions(architecture, graph)

    def letters(self) -> Letters | None:
        """Return how tokens are spelled, where the inner initializer depends on that."""
        return self.inner.letters()

    def own_architecture(self) -> str | None:
        """Return the one architecture that the inner initializer fills, where there is only one."""
        return self.inner.own_architecture()

    def remarks(self) -> Sequence[str]:
        """Return what the inner initializer remarks."""
        return self.inner.remarks()

    @property
    def seconds_before(self) -> float:
        """How long the inner initializer's weights were trained before."""
        return self.inner.seconds_before

    @property
    def companion_files(self) -> Mapping[str, str]:
        """The files that belong beside the inner initializer's weights."""
        return self.inner.companion_files

    def provenance(self) -> Mapping[str, Any]:
        """Return whose weights the inner initializer uses."""
        return self.inner.provenance()


@dataclass(frozen=True, kw_only=True)
class Control(Composed):
    """Another initializer without one property of its tensors: a comparison measures what that property was worth."""

    init: str = "hypernet"  # the inner initializer, with its options: everything after the first colon

    def __post_init__(self) -> None:
        if not isinstance(self.init, str) or not self.init:
            raise OptionError(f"init is {self.init!r}. Allowed: an initializer. Type: --init matched:hypernet")
        self.keep(lambda: initializer_of(self.init))

    def hindrance(self, architecture: Architecture, graph: Graph) -> str | None:
        """Return why the inner initializer can fill nothing of a network; None where it can."""
        return self.inner.hindrance(architecture, graph)

    def describe(self) -> Mapping[str, Any]:
        """Return what identifies the inner initializer."""
        return {"of": self.of(self.init)}


def idle_reason(initializer: Initializer, architecture: Architecture, graph: Graph) -> str:
    """Return why an initializer that was requested by name leaves a network with its default initialization."""
    if not graph.ordered:
        return f"a graph by {graph.traced_by} has no order of execution"
    return initializer.hindrance(architecture, graph) or "it has no rule for any part of it"


initializers: Registry[Initializer] = Registry("initializer", "paramgen.initializers")


def initializer_of(spec: str) -> Initializer:
    """Return the initializer that `kind`, `kind:argument` or `kind:argument?option=value&option=value` names.

    The argument is the value of the first field, the options are those of the other fields. After `matched:` and
    `shuffled:` comes another initializer, with its own argument and options. Behind a `|` come modifiers: `he|scale:2`.

    >>> initializer_of("he?mode=fan_out")
    He(mode='fan_out', distribution='normal')

    Raises:
        UnknownNameError: There is no such initializer, or it has no such option.
        OptionError: It takes no argument, or an option's value is not allowed.

    """
    spec = known_init(spec)
    if THEN in spec and split_chain(spec)[1]:
        from paramgen.initializers.modified import modified  # which is an initializer itself

        return modified(spec)
    head, colon, other = spec.partition(":")
    if colon and head in initializers.names() and issubclass(control := initializers.get(head), Control):
        return control(init=other)
    name, given = split_spec(spec)
    parsed = Spec.parse(name)
    kind = initializers.get(parsed.kind)
    named = [field.name for field in fields(kind) if not field.name.startswith("_")]  # type: ignore[arg-type]
    options = {name.removesuffix("_"): name for name in named}  # `with_` is typed `with`
    if parsed.argument:
        if not options:
            raise OptionError(f"The initializer {parsed.kind!r} takes no argument. Type: --init {parsed.kind}")
        given[named[0]] = parsed.argument
    for option in given:
        if option not in options:
            raise UnknownNameError.of(f"option of the initializer {parsed.kind!r}", option, options)
    return kind(**{options[option]: value for option, value in given.items()})


def complete_spec(init: str, *, prompt: str | Sequence[str] | None = None, then: Sequence[str] = ()) -> str:
    """Return the spec of an initializer with a prompt and modifiers added; with a prompt, `auto` becomes `diffusion`.

    Raises:
        OptionError: The initializer takes no prompt, or has one already; or a modifier is no text.

    """
    init = init if prompt is None else _with_prompts(init, prompt)
    return join_chain(init, (then,) if isinstance(then, str) else then)


def _with_prompts(chain: str, prompts: str | Sequence[str]) -> str:
    init, then = split_chain(chain)
    name, given = split_spec("diffusion" if init == "auto" else init)
    kind = Spec.parse(name).kind
    if "prompt" not in [field.name for field in fields(initializers.get(kind))]:  # type: ignore[arg-type]
        raise OptionError(f"The initializer {kind!r} takes no prompt. Type: --init diffusion, or leave --prompt out")
    if "prompt" in given:
        raise OptionError("There are prompts in --init and in --prompt. Leave one of them out.")
    words = prompts if isinstance(prompts, str) else prompts[0] if len(prompts) == 1 else list(prompts)
    value = json.dumps(words, ensure_ascii=False).replace("&", "\\u0026")  # an & would begin the next option
    init = f"{'diffusion' if init == 'auto' else init}{'&' if given else '?'}prompt={value}"
    return join_chain(init, then)
