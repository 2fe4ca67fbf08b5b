"""Initial weights that a little training makes: each way to do it in one file, behind one abstract class.

A preparation says on what the network is trained and by which loss; `preparing.py` does the rest, alike for all.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any, ClassVar, Final, final

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from paramgen.comparison.models import ModelUnderTest
from paramgen.comparison.options import Schedule
from paramgen.comparison.tasks import Batch, Task
from paramgen.errors import OptionError, UnknownNameError, one_line
from paramgen.registry import Registry, Spec
from paramgen.registry.overrides import split_spec

HELP: Final = "Type: paramgen list preparations"


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pupil:
    """A network that is to be prepared, with its initial weights, and what it is trained on."""

    model: ModelUnderTest
    module: nn.Module  # holds the initial weights, in float32, on the device
    task: Task | None  # None where no data are named
    kind: str  # `images` or `text`: what the network takes
    seed: int
    batch: int  # examples in a step
    steps: int  # of the training
    device: torch.device

    def logits(self, inputs: Tensor) -> Tensor:
        """Run the network on a batch and return its scores."""
        return self.model.logits(self.module, inputs)

    def batches(self, start: int) -> Iterator[Batch]:
        """Yield the batches of the data from a step on, on the device; the seed decides their order."""
        assert self.task is not None
        for inputs, targets in islice(self.task.train_batches(self.seed, self.batch), start, None):
            yield inputs.to(self.device), targets.to(self.device)


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Objective:
    """What is trained, on which batches and by which loss, and what becomes of it.

    Args:
        module: All parameters that are trained; frozen ones beside them are not changed.
        loss: Of a batch.
        batches: Those from a step on: the same ones each time.
        weights: The network's state dict by now; without it, that of the pupil's module.
        returned: The slots that go back to their initialization when the training has ended.
        masks: Which entries of weights are kept, where the others are zero.
        note: What goes back and why, in a sentence.

    """

    module: nn.Module
    loss: Callable[[Batch], Tensor]
    batches: Callable[[int], Iterator[Batch]]
    weights: Callable[[], Mapping[str, Tensor]] | None = None
    returned: frozenset[str] = frozenset()
    masks: Callable[[], Mapping[str, Bool[Tensor, "..."]]] | None = None
    note: str = ""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How a preparation trains where nothing else is requested: AdamW, and a schedule after a short warmup."""

    lr: float = 1e-3
    batch: int = 64
    decay: float = 0.01
    schedule: Schedule = "cosine"


class Preparation(ABC):
    """A way to train initial weights a little: a frozen dataclass whose fields are its options."""

    __slots__ = ()

    needs_data: ClassVar[bool] = True
    takes_data: ClassVar[bool] = True
    training: ClassVar[Training] = Training()

    @abstractmethod
    def objective(self, pupil: Pupil) -> Objective:
        """Return what is trained, and how; nothing is trained yet.

        Raises:
            ParamgenError: The network or the data cannot be used.
        """

    def describe(self) -> Mapping[str, Any]:
        """Return what identifies the files that it reads, as JSON."""
        return {}


preparations: Registry[Preparation] = Registry("preparation", "paramgen.preparation")


def preparation_of(how: str) -> Preparation:
    """Return the preparation that `kind`, `kind:argument` or `kind:argument?option=value&option=value` names.

    >>> preparation_of("warmup:shapes").task
    'shapes'

    Raises:
        UnknownNameError: There is no such preparation, or it has no such option.
        OptionError: It takes no argument, or an option's value is not allowed.

    """
    if not isinstance(how, str) or not how:
        raise OptionError(f"--how is {one_line(repr(how))}. Allowed: {', '.join(preparations.names())}. {HELP}")
    name, given = split_spec(how)
    parsed = Spec.parse(name)
    kind = preparations.get(parsed.kind)
    known = [each.name for each in fields(kind)]  # type: ignore[arg-type]  # registered are dataclasses
    if parsed.argument:
        if not known:
            raise OptionError(f"The preparation {parsed.kind!r} takes no argument. Type: --how {parsed.kind}")
        given = {known[0]: parsed.argument, **given}
    for option in given:
        if option not in known:
            raise UnknownNameError.of(f"option of the preparation {parsed.kind!r}", option, known)
    return kind(**given)


def sentences() -> dict[str, str]:
    """Return what each preparation is, in its first sentence, by its name."""
    return {name: (preparations.get(name).__doc__ or "").partition("\n")[0] for name in preparations.names()}


def check_range(
    how: str, name: str, value: object, least: float | int, most: float | int, *, whole: bool = False
) -> None:
    """Raise OptionError unless the option `name` of a preparation is a number from `least` to `most`."""
    number = isinstance(value, int) if whole else isinstance(value, (int, float))
    if isinstance(value, bool) or not number or not least <= value <= most:  # type: ignore[operator]
        kind = "a whole number" if whole else "a number"
        raise OptionError(
            f"{name} is {one_line(repr(value))}. Allowed: {kind} from {least:,g} to {most:,g}. "
            f"Type: --how '{how}?{name}={least:g}'"
        )
