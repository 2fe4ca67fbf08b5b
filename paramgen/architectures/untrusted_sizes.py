"""How large the configuration of a stranger may make a network: checked before a library sees it, and while it builds.

A number in a configuration becomes a table of labels, a row of layers or an array before any limit on a network's
size is met. The limits are far above every published network and far below what hurts a machine.
"""

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from typing import Any, Final

from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from paramgen.architectures.config_limits import refuse_config
from paramgen.errors import ArchitectureError, one_line

MAX_CONFIG_DEPTH: Final = 12
MAX_ENTRIES: Final = 100_000
MAX_COUNT: Final = 1_024  # layers, blocks, stages: of each a module, or many
MAX_UNTRUSTED_EXPERTS: Final = 65_536
MAX_LABEL_TEXTS: Final = 200_000  # of each two texts in a table
MAX_LENGTH: Final = 1 << 25  # tokens, positions, pixels
MAX_UNTRUSTED_SIZE: Final = 1 << 21  # everything else
MAX_BUILT: Final = 400_000  # modules, parameters and buffers of one network
_SPARE: Final = 20_000_000  # elements that a network may have beside what is stored

_FREE: Final = re.compile(r"(?:^|_)(?:ids?|index|indices|seed|theta|base|version|model_max_length)$")
_LIMITS: Final[tuple[tuple[re.Pattern[str], int], ...]] = (
    (re.compile(r"(?:^|_)labels$"), MAX_LABEL_TEXTS),
    (re.compile(r"^extra_ids$"), MAX_COUNT),  # a tokenizer takes the square of that time
    (re.compile(r"experts?$"), MAX_UNTRUSTED_EXPERTS),
    (
        re.compile(
            r"(?:^n?_?|_)(?:layers?|depths?|blocks?|stages?|repeats?|levels?)"
            r"(?:_per_(?:block|layer|stage|group))?$"
        ),
        MAX_COUNT,
    ),
    (
        re.compile(r"vocab|position|token|length|ctx|context|chunk|pixel|edge|sequence|window|samples|sampling|rate$"),
        MAX_LENGTH,
    ),
)
_CHOSEN: Final = frozenset({"extra_ids"})  # a count, though it is called like names of tokens


def refuse_sizes(config: Mapping[str, Any], *, origin: str) -> None:
    """Refuse a stranger's configuration whose numbers no network has, before a library makes anything of them.

    Of somebody's own `--set` more is taken: `config_limits` has those bounds.

    Args:
        config: The JSON object.
        origin: What it is, for the message: a file, say.

    Raises:
        ArchitectureError: A number is out of bounds.
    """
    refuse_config(config, origin)  # the bounds that hold for everybody
    left = MAX_ENTRIES
    level: list[tuple[str, Any]] = [(str(key), value) for key, value in config.items()]
    for _ in range(MAX_CONFIG_DEPTH):
        inner: list[tuple[str, Any]] = []
        left -= len(level)
        if left < 0:
            raise ArchitectureError(
                f"{origin} has more than {MAX_ENTRIES:,} entries; that is no network's. Make it smaller."
            )
        for key, value in level:
            if isinstance(value, Mapping):
                inner += [(str(name), item) for name, item in value.items()]
            elif isinstance(value, (list, tuple)):
                _refuse_long(key, value, origin)
                inner += [(key, item) for item in value]
            else:
                _refuse_large(key, value, origin)
        if not inner:
            return
        level = inner
    raise ArchitectureError(
        f"{origin} is nested more than {MAX_CONFIG_DEPTH} deep; no configuration is. Make it flatter."
    )


def _refuse_long(key: str, values: Any, origin: str) -> None:
    """Refuse lists of counts, such as the depths of stages, that are too many together."""
    limit = _limit(key)
    total = sum(value for value in values if type(value) is int and value > 0)
    if limit <= MAX_COUNT and (total > limit or len(values) > limit):
        raise _too_large(key, f"a list of {len(values):,} that come to {one_line(total)}", limit, origin)


def _refuse_large(key: str, value: Any, origin: str) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or (isinstance(value, float) and not (isfinite(value) and value.is_integer())):
        return
    limit = _limit(key)
    if isinstance(value, float) and limit > MAX_LABEL_TEXTS:  # a factor, a base of a wave: what counts is written whole
        return
    if abs(value) > limit:
        raise _too_large(key, one_line(value) if isinstance(value, float) else _short(value), limit, origin)


def _limit(key: str) -> int:
    """Return the largest number that a key may have."""
    name = key.lower()
    if name not in _CHOSEN and _FREE.search(name):
        return 1 << 128  # some write a length without end as 10**30
    return next((limit for pattern, limit in _LIMITS if pattern.search(name)), MAX_UNTRUSTED_SIZE)


def _short(value: int) -> str:
    return f"{value:,}" if value.bit_length() <= 64 else f"a number of {value.bit_length():,} bits"


def _too_large(key: str, value: str, limit: int, origin: str) -> ArchitectureError:
    return ArchitectureError(
        f"{origin}: {one_line(key)} is {value}; allowed are up to {limit:,}. Give a smaller number."
    )


@contextmanager
def bounded_construction(what: str, *, elements: int | None = None) -> Iterator[None]:
    """Refuse a network of more parts than any has while it is built, whichever option asks for them.

    What other threads build is not counted.

    Args:
        what: The network, for the message.
        elements: How many elements are stored for it. A network that would take much more real memory is refused:
            its tensors are seen when they are there, but before a value is written to them.

    Raises:
        ArchitectureError: The network has too many parts.
    """
    own, built, taken = threading.get_ident(), 0, 0
    most = None if elements is None else 2 * elements + _SPARE

    def count(module: nn.Module, name: str, part: Any) -> None:
        nonlocal built, taken
        if threading.get_ident() != own or part is None:
            return
        built += 1
        if built > MAX_BUILT:
            raise ArchitectureError(f"{what} has more than {MAX_BUILT:,} modules and tensors. Make it smaller.")
        if most is not None and isinstance(part, Tensor) and not part.is_meta:
            taken += part.numel()
            if taken > most:
                raise ArchitectureError(
                    f"{what} describes a network of more than {most:,} elements, but holds {elements:,}. Get it again."
                )

    handles = [
        register_module_module_registration_hook(count),
        register_module_parameter_registration_hook(count),
        register_module_buffer_registration_hook(count),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
