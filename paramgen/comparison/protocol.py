"""How initializers are compared: each is trained with the same steps, data, learning rates and seeds."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import cos, isfinite, pi
from typing import Any, final

from paramgen.comparison.options import Schedule
from paramgen.errors import OptionError, one_line
from paramgen.modifiers.masking.soft import parse_sparse

MAX_TRAINING_STEPS = 10_000_000
LENGTH = 128
MAX_WIDEN = 10
MAX_STD = 1_000
MUP = "mup"
MAX_MUP_BASE = 1_000_000
MUP_BASE = 256
"""The fan-in at which muP leaves a learning rate as it is, where none is typed: that of `--init mup`."""
LEARNING_RATES = (3e-4, 7e-4, 1.7e-3, 4e-3, 1e-2)
"""Five learning rates over a factor of 33, at even distances."""

_EXAMPLE = f"Type: --lr {','.join(f'{lr:g}' for lr in LEARNING_RATES)}"


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Protocol:
    """Training is AdamW on every parameter, gradients clipped, no augmentation; the seed decides the data's order."""

    steps: int = 200
    seeds: int = 3
    lr: float | str | Sequence[float] = LEARNING_RATES  # a grid, or one that is not searched for; as text: `--lr`
    widen: int = 3  # learning rates more, one by one, beyond either edge of the grid, as long as the best lies there
    batch: int = 64
    schedule: Schedule = "cosine"  # of the learning rate after the warmup: down to zero, or constant
    warmup: float = 0.05  # share of the steps in which the learning rate rises
    decay: float = 0.01  # weight decay, as torch's AdamW has it
    clip: float = 1.0  # norm of all gradients together
    evaluations: int = 10  # besides the one before the first step
    full_grid: bool = False  # the grid for every seed, instead of for seed 0 and its best for the other seeds
    train_examples: int = 50_000
    test_examples: int = 2_000
    length: int | None = None  # of the windows of a text, in tokens; None: 128, or what the architecture takes
    rescale_every: int | None = None  # steps after which matrices get their target std back; None: never
    rescale_std: float | None = None  # that target; None: each matrix's own in the initial weights
    sparse: str | None = None  # `st3:0.95`: in training, a soft threshold makes ever more weights zero; None: none does

    def __post_init__(self) -> None:
        for name in ("steps", "seeds", "evaluations", "train_examples", "test_examples"):
            _refuse(name, getattr(self, name), 1)
        _refuse("batch", self.batch, 2)
        _refuse("length", LENGTH if self.length is None else self.length, 2)
        _refuse_learning_rates(self.learning_rates)
        if self.mup_base is not None and not 1 <= self.mup_base <= MAX_MUP_BASE:
            raise OptionError(
                f"The base of muP's learning rates is {self.mup_base:,}; allowed are 1 to {MAX_MUP_BASE:,}. "
                f"Type: --lr 'mup?base={MUP_BASE}'"
            )
        if not 0 <= self.widen <= MAX_WIDEN:
            raise OptionError(f"--widen is {self.widen}; allowed are 0 to {MAX_WIDEN}. Type: --widen 3")
        if self.schedule not in ("cosine", "constant"):
            raise OptionError(f"The schedule is {self.schedule!r}. Allowed: cosine, constant. Type: --schedule cosine")
        for name, value, most in (("warmup", self.warmup, 1.0), ("decay", self.decay, 1.0)):
            if not 0 <= value < most:
                raise OptionError(f"{name} is {value}; allowed are 0 to {most}, without {most} itself.")
        if self.rescale_every is not None:
            _refuse("rescale_every", self.rescale_every, 1)
        if self.rescale_std is not None and (self.rescale_every is None or not 0 < self.rescale_std < MAX_STD):
            raise OptionError(
                f"--rescale-std is {self.rescale_std}; allowed are numbers above 0 and below {MAX_STD}, together with "
                "--rescale-every. Type: --rescale-every 100 --rescale-std 0.01"
            )
        if not self.clip > 0:
            raise OptionError(f"clip is {self.clip}; the norm must be positive.")
        _ = self.zeros  # refuses what is none

    @property
    def learning_rates(self) -> tuple[float, ...]:
        """The grid, also where it is a single learning rate."""
        if isinstance(self.lr, str):
            return parse_lr(self.lr)[0]
        return (float(self.lr),) if isinstance(self.lr, (int, float)) else tuple(self.lr)

    @property
    def mup_base(self) -> int | None:
        """The fan-in at which learning rates by layer are those of the grid; None where all weights have the same."""
        return parse_lr(self.lr)[1] if isinstance(self.lr, str) else None

    @property
    def zeros(self) -> float | None:
        """The share of weights that a soft threshold has made zero at the end of training; None: there is none."""
        return None if self.sparse is None else parse_sparse(self.sparse)

    @property
    def points(self) -> tuple[int, ...]:
        """The steps after which a run is evaluated, from 0 to the last."""
        count = min(self.evaluations, self.steps)
        return tuple(sorted({round(self.steps * index / count) for index in range(count + 1)}))

    def lr_at(self, step: int, lr: float) -> float:
        """Return the learning rate of a step, the first being 0, where `lr` is the largest."""
        rising = max(1, round(self.warmup * self.steps)) if self.warmup else 0
        if step < rising:
            return lr * (step + 1) / (rising + 1)
        if self.schedule == "constant":
            return lr
        return lr * 0.5 * (1 + cos(pi * (step - rising) / max(1, self.steps - rising)))

    def beyond(self, best: float, tried: Sequence[float]) -> float | None:
        """Return the learning rate to try next where the best of those tried is the smallest or largest of them.

        It lies as far beyond as the grid's last two are apart. None where the best lies between others, where a single
        one was requested, or where `widen` of them were tried beyond that edge.
        """
        order = sorted(tried)
        if len(self.learning_rates) < 2 or best not in (order[0], order[-1]):
            return None
        least, most = min(self.learning_rates), max(self.learning_rates)
        smaller = best == order[0]
        if sum(lr < least if smaller else lr > most for lr in order) >= self.widen:
            return None
        factor = order[0] / order[1] if smaller else order[-1] / order[-2]
        return float(f"{best * factor:.2g}")

    def to_json(self) -> dict[str, Any]:
        """Return every field, and the base of muP; what is not requested of the newer ones is left out."""
        read = {"lr": list(self.learning_rates), "length": self.length or LENGTH}
        names = ("mup_base", "rescale_every", "rescale_std", "sparse")
        newer = {name: getattr(self, name) for name in names}
        every = asdict(self) | read | newer
        return {name: value for name, value in every.items() if name not in newer or value is not None}


def parse_lr(text: str) -> tuple[tuple[float, ...], int | None]:
    """Read the learning rates and the base of muP's: `3e-4,1e-3` has none, `mup` and `mup:3e-4,1e-3?base=128` have one.

    Raises:
        OptionError: The text is neither.
    """
    if text.partition("?")[0].partition(":")[0].strip() != MUP:
        return _numbers(text), None
    given, typed, base = text.partition("?")
    rates = given.partition(":")[2].strip()
    key, _, value = base.partition("=")
    if typed and (key != "base" or not value.isascii() or not value.isdecimal() or len(value) > 9):
        raise OptionError(
            f"--lr {one_line(repr(text))} has {one_line(repr(base))} behind the question mark; allowed is a base, a "
            f"whole number from 1 to {MAX_MUP_BASE:,}. Type: --lr 'mup?base={MUP_BASE}'"
        )
    return _numbers(rates) if rates else LEARNING_RATES, int(value) if typed else MUP_BASE


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError as error:
        raise OptionError(f"--lr {one_line(repr(text))} is no list of numbers. {_EXAMPLE}, or: --lr mup") from error


def _refuse(name: str, value: int, least: int) -> None:
    if not least <= value <= MAX_TRAINING_STEPS:
        option = name.replace("_", "-")
        raise OptionError(
            f"--{option} is {value}; allowed are {least} to {MAX_TRAINING_STEPS:,}. Type: --{option} {least * 50}"
        )


def _refuse_learning_rates(rates: tuple[float, ...]) -> None:
    if not rates or not all(isfinite(lr) and lr > 0 for lr in rates):
        shown = ",".join(f"{lr:g}" for lr in rates)
        raise OptionError(f"--lr is {shown!r}; every learning rate must be positive. {_EXAMPLE}")
    if len(set(rates)) < len(rates):
        raise OptionError(f"--lr names a learning rate twice. {_EXAMPLE}")
