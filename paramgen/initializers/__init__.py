"""Initializers: everything that fills an architecture, behind one door.

An initializer sees the architecture and its graph, names the rule of every slot, and yields every slot's tensor once.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Final, final

from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.architectures.overrides import split_spec
from paramgen.architectures.spelling import Letters
from paramgen.errors import OptionError, UnknownNameError, one_line
from paramgen.graphs.analysis.kinds import Family
from paramgen.graphs.schema import Graph
from paramgen.registry import Registry, Spec
from paramgen.registry.synonyms import known_init

SHIPPED, TEXT = "vision", "text"
"""The hypernets that come with paramgen for images and for texts, by name."""

NamedTensors = Iterator[tuple[str, Tensor]]


class Initializer(ABC):
    """A rule book. Concrete ones are frozen dataclasses; fields without an underscore in front are their options."""

    __slots__ = ()

    runs_network: ClassVar[bool] = False  # whether the whole network is in memory and run
    slot_by_slot: ClassVar[bool] = True  # whether a slot alone costs little more than its share
    fills_something: ClassVar[bool] = True  # whether it is asked for to fill what the library would not
    draws_here: ClassVar[bool] = True  # whether what it leaves to the library is drawn in this process

    @abstractmethod
    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Return the name of the rule that fills each slot; the tied ones are left out."""

    @abstractmethod
    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Yield every slot once, in any order, and leave alone what was yielded; the tied ones are left out."""

    def shares(self, architecture: Architecture, graph: Graph) -> Mapping[str, Mapping[str, int]]:
        """Return the number of elements by rule of each slot that several rules fill, as one in part by a hypernet."""
        return {}

    def builds_on(self, architecture: Architecture, graph: Graph) -> frozenset[str]:
        """Return the slots that it fills with something of the default values there."""
        return frozenset(self.shares(architecture, graph))

    def settled(self, architecture: Architecture, graph: Graph) -> "Initializer":
        """Return what fills this very network: itself, or what it chooses for it."""
        return self

    def hindrance(self, architecture: Architecture, graph: Graph) -> str | None:
        """Return why it fills no part of a network, where it does not."""
        return None

    def reading(self, tokenizer: str, reader: Any = None) -> "Initializer":
        """Return the start of a network that reads this tokenizer's tokens: itself, unless that matters to it.

        Args:
            tokenizer: In a folder, a tokenizer.json or a Hub repository; or what to call `reader`.
            reader: The tokenizer itself (of transformers), where it has been read or trained already.

        """
        return self

    def describe(self) -> Mapping[str, Any]:
        """Return what else identifies it: origin and hashes of the files that it reads, as JSON."""
        return {}

    def own_architecture(self) -> str | None:
        """Return the spec of the one architecture that it fills, where there is only one."""
        return None

    def remarks(self) -> Sequence[str]:
        """Return what somebody who asked for it had better know, in sentences."""
        return ()

    def assumptions(self, architecture: Architecture, graph: Graph) -> Sequence[str]:
        """Return what it takes for granted of a network that nobody said, in sentences."""
        return ()

    def letters(self) -> Letters | None:
        """Return how the tokens are spelled that a language model reads, where that matters to it."""
        return None

    @property
    def brought(self) -> Mapping[str, str]:
        """What belongs beside the weights, by the option that would copy it: a tokenizer."""
        return {}

    def inherited(self) -> Mapping[str, Any]:
        """Return whose weights it makes its own of: `from`, and `repo`, `license`, `datasets` where they are known."""
        return {}


LARGEST: Final = 1000
"""No scale that an option sets is larger: beyond it weights overflow, in float16 first."""


def refuse_no_deviation(init: str, value: object) -> None:
    """Refuse what is no standard deviation."""
    if not is_scale(value) or not value > 0:  # type: ignore[operator]
        raise OptionError(
            f"deviation is {one_line(repr(value))}. Allowed: a number above 0, up to {LARGEST:,}. "
            f"Type: --init '{init}?deviation=0.02'"
        )


def is_scale(value: object) -> bool:
    """Whether an option's value is a number that weights can be scaled with."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST


@final
@dataclass(frozen=True, kw_only=True)
class Chosen(Initializer):
    """A start that was chosen for one network, and why."""

    init: str
    family: Family
    reason: str
    initializer: Initializer

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """The rules of the chosen start."""
        return self.initializer.rules(architecture, graph)

    def shares(self, architecture: Architecture, graph: Graph) -> Mapping[str, Mapping[str, int]]:
        """The shares of the chosen start."""
        return self.initializer.shares(architecture, graph)

    def builds_on(self, architecture: Architecture, graph: Graph) -> frozenset[str]:
        """The slots that the chosen start fills with something of the default values."""
        return self.initializer.builds_on(architecture, graph)

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """The tensors of the chosen start."""
        return self.initializer.tensors(architecture, graph, seed=seed)

    def describe(self) -> Mapping[str, Any]:
        """Return what was chosen and why, and what else identifies the chosen start."""
        return {**self.chosen, **self.initializer.describe()}

    def assumptions(self, architecture: Architecture, graph: Graph) -> Sequence[str]:
        """What the chosen start takes for granted."""
        return self.initializer.assumptions(architecture, graph)

    def letters(self) -> Letters | None:
        """How tokens are spelled, where that matters to the chosen start."""
        return self.initializer.letters()

    def remarks(self) -> Sequence[str]:
        """What is to be known of the chosen start."""
        return self.initializer.remarks()

    def inherited(self) -> Mapping[str, Any]:
        """Whose weights the chosen start uses."""
        return self.initializer.inherited()

    @property
    def chosen(self) -> dict[str, str]:
        """What was chosen and why, as JSON."""
        return {"chosen": self.init, "family": self.family, "reason": self.reason}


@dataclass(frozen=True, kw_only=True)
class Control(Initializer):
    """Another initializer with one thing about its tensors taken away, to see in a comparison what that was worth."""

    runs_network: ClassVar[bool] = True  # the other may
    slot_by_slot: ClassVar[bool] = False

    init: str = "hypernet"  # the other, whole: everything after the first colon
    _inner: Initializer | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.init, str) or not self.init:
            raise OptionError(f"init is {self.init!r}. Allowed: an initializer. Type: --init matched:hypernet")
        if self._inner is None:
            object.__setattr__(self, "_inner", initializer_of(self.init))

    @property
    def inner(self) -> Initializer:
        """The initializer that is changed."""
        assert self._inner is not None
        return self._inner

    def settled(self, architecture: Architecture, graph: Graph) -> Initializer:
        """Return the control of what the other chooses for this very network."""
        return replace(self, _inner=self.inner.settled(architecture, graph))

    def hindrance(self, architecture: Architecture, graph: Graph) -> str | None:
        """Return why the other fills no part of a network, where it does not."""
        return self.inner.hindrance(architecture, graph)

    def reading(self, tokenizer: str, reader: Any = None) -> Initializer:
        """Return the control of the other that knows this tokenizer."""
        return replace(self, _inner=self.inner.reading(tokenizer, reader))

    def describe(self) -> Mapping[str, Any]:
        """Return what identifies the other."""
        return {"of": {"init": self.init, **self.inner.describe()}}

    def assumptions(self, architecture: Architecture, graph: Graph) -> Sequence[str]:
        """What the other takes for granted."""
        return self.inner.assumptions(architecture, graph)

    def letters(self) -> Letters | None:
        """How tokens are spelled, where that matters to the other."""
        return self.inner.letters()

    def own_architecture(self) -> str | None:
        """Return the one architecture that the other fills, where there is only one."""
        return self.inner.own_architecture()

    def inherited(self) -> Mapping[str, Any]:
        """Whose weights the other makes its own of."""
        return self.inner.inherited()


initializers: Registry[Initializer] = Registry("initializer", "paramgen.initializers")


def initializer_of(spec: str) -> Initializer:
    """Return the initializer that `kind`, `kind:argument` or `kind:argument?option=value&option=value` names.

    The argument is the value of its first field, the options are those of the other fields. What stands behind
    `matched:` or `shuffled:` is another initializer, with its own argument and options.
    """
    spec = known_init(spec)
    head, colon, other = spec.partition(":")
    if colon and head in initializers.names() and issubclass(control := initializers.get(head), Control):
        return control(init=other)
    name, given = split_spec(spec)
    parsed = Spec.parse(name)
    kind = initializers.get(parsed.kind)
    options = [field.name for field in fields(kind) if not field.name.startswith("_")]  # type: ignore[arg-type]
    if parsed.argument:
        if not options:
            raise OptionError(f"The initializer {parsed.kind!r} takes no argument. Type: --init {parsed.kind}")
        given[options[0]] = parsed.argument
    for option in given:
        if option not in options:
            raise UnknownNameError.of(f"option of the initializer {parsed.kind!r}", option, options)
    return kind(**given)


def with_prompts(init: str, prompts: str | Sequence[str]) -> str:
    """Return the spec of an initializer that takes words, with these; `auto` becomes the one that does.

    Raises:
        OptionError: The initializer takes no prompt, or has one already.

    """
    name, given = split_spec("diffusion" if init == "auto" else init)
    kind = Spec.parse(name).kind
    if "prompt" not in [field.name for field in fields(initializers.get(kind))]:  # type: ignore[arg-type]
        raise OptionError(f"The initializer {kind!r} takes no prompt. Type: --init diffusion, or leave --prompt out")
    if "prompt" in given:
        raise OptionError("Prompts stand in --init and in --prompt. Leave one of them out.")
    words = prompts if isinstance(prompts, str) else prompts[0] if len(prompts) == 1 else list(prompts)
    value = json.dumps(words, ensure_ascii=False).replace("&", "\\u0026")  # an & would begin the next option
    return f"{'diffusion' if init == 'auto' else init}{'&' if given else '?'}prompt={value}"
