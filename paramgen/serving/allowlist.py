"""What untrusted callers may request: names from fixed lists, never paths, code or repositories."""

import re
from collections.abc import Collection, Mapping
from math import isfinite
from typing import Any, Final

from paramgen.architectures import is_config_folder
from paramgen.errors import OptionError, one_line
from paramgen.registry.chains import split_chain
from paramgen.registry.overrides import split_spec

SOURCES: Final = ("diffusers", "timm", "torchvision", "transformers")
INITIALIZERS: Final = tuple(
    (
        "arithmetic auto cai diffusion eoc he hypernet ibp idinit impulse library lir lsuv maxout mimetic mup natural "
        "optimistic orthogonal poincare rezero s4d scaled statistics topology xavier"
    ).split()
)
MODIFIERS: Final = ("blocks", "lowrank", "scale", "shift")
MAX_MODIFIERS: Final = 8
MAX_OPTIONS: Final = 64
MAX_NUMBER: Final = 10**6
MAX_SERVED_LABELS: Final = 10**5  # they become a table of names before any limit on a network's size applies
MAX_OPTION_NESTING: Final = 4
TOKEN: Final = re.compile(r"[\w.-]{1,300}", re.ASCII)  # of the Hub
_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,199}", re.ASCII)
_LABELS: Final = ("num_labels",)
_KEY: Final = re.compile(r"[A-Za-z][\w.]*", re.ASCII)
# Options by which an initializer reads files or large inputs, or searches by a pattern.
READING: Final = frozenset({"add", "batch", "data", "multiply", "pairs", "path", "tokenizer"})
# Options that name another initializer, where they are no number: it meets the same limits.
NAMING: Final = frozenset({"base", "init"})
_WORD: Final = re.compile(r"[\w.+-]{0,100}", re.ASCII)
# Options by which a library would read files, or download weights or even code.
_REACHING: Final = re.compile(
    r"pretrained|backbone|checkpoint|cache_dir|remote_code|attn_impl|quantiz|auto_map|adapter"
    r"|(?:^|_)(?:path|dir|file|repo|url)s?$"
)


def checked_arch(arch: str, overrides: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the name of a network and its overrides, if neither makes a library read files or the network.

    Raises:
        OptionError: The name or an option is not served.

    """
    bare, typed = split_spec(arch)
    overrides = {**typed, **overrides}
    source, colon, name = bare.rpartition(":")
    known = not colon or source in SOURCES
    reaches = name.endswith((".py", ".json")) or is_config_folder(name) or is_config_folder(bare)
    if not known or not _NAME.fullmatch(name) or reaches:
        raise OptionError(
            f"{one_line(bare)!r} is not served. Allowed: an alias, or a name in {', '.join(SOURCES)}, as in "
            "timm:resnet18 (paramgen list has all); of your own network, send the graph."
        )
    if len(overrides) > MAX_OPTIONS:
        raise OptionError(f"{len(overrides)} options are set; allowed are {MAX_OPTIONS}.")
    for key, value in overrides.items():
        if not _KEY.fullmatch(key) or len(key) > 100 or _REACHING.search(key.lower()):
            raise OptionError(f"The option {one_line(key)!r} is not served.")
        _check_value(key, value, MAX_OPTION_NESTING)
    return bare, overrides


def _check_value(key: str, value: Any, depth: int) -> None:
    items = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else None
    if items is not None and depth > 0 and len(items) <= MAX_OPTIONS:
        for name in value if isinstance(value, dict) else ():
            if not _KEY.fullmatch(name) or _REACHING.search(name.lower()):
                raise OptionError(f"The option {one_line(f'{key}.{name}')!r} is not served.")
        for name, item in value.items() if isinstance(value, dict) else ((key, item) for item in items):
            _check_value(name, item, depth - 1)
    elif not _plain(value, most := MAX_SERVED_LABELS if key in _LABELS else MAX_NUMBER):
        raise OptionError(
            f"{key} is {one_line(value)!r}. Allowed: a word of letters, digits and .+-_, a number up to {most:,}, "
            f"true, false, null, or at most {MAX_OPTIONS} of these in a list or an object."
        )


def _plain(value: Any, most: int) -> bool:
    if isinstance(value, str):
        return _WORD.fullmatch(value) is not None
    if isinstance(value, (int, float)):
        return isfinite(value) and abs(value) <= most
    return value is None


def checked_init(init: str, hypernets: Collection[str]) -> str:
    """Return the initializer's spec, if it reads nothing but what comes with paramgen or what the operator allows.

    Raises:
        OptionError: It is not served, or has too many modifiers.

    """
    first, then = split_chain(init)
    if len(then) > MAX_MODIFIERS:
        raise OptionError(f"{len(then)} modifiers are named; at most {MAX_MODIFIERS} are served.")
    for modifier in then:
        kind = modifier.partition("?")[0].partition(":")[0]
        if kind not in MODIFIERS:
            raise OptionError(f"The modifier {one_line(kind)!r} is not served. Served: {', '.join(MODIFIERS)}")
    _check_first(first, hypernets)
    return init


def _check_first(init: str, hypernets: Collection[str]) -> None:
    kind, colon, argument = init.partition("?")[0].partition(":")
    if kind not in INITIALIZERS:
        raise OptionError(f"The initializer {one_line(kind)!r} is not served. Served: {', '.join(INITIALIZERS)}")
    if colon and argument not in (hypernets if kind == "hypernet" else ()):
        served = ", ".join(f"hypernet:{name}" for name in sorted(hypernets))
        raise OptionError(f"The initializer {one_line(init)!r} is not served. Served: {served}")
    options = split_spec(init)[1]
    if reaching := {option for option in options if option in READING or option.startswith("_")}:
        raise OptionError(f"The option {min(reaching)!r} of {kind!r} is not served.")
    for inner in named_initializers(options):
        _check_first(inner, hypernets)


def named_initializers(options: Mapping[str, Any]) -> list[str]:
    """Return the specs of other initializers that options name: what is no number is one.

    Raises:
        OptionError: One of them names another one itself.

    """
    named = [value for option, value in options.items() if option in NAMING and not isinstance(value, (int, float))]
    for each in named:
        if not isinstance(each, str) or any(option in NAMING for option in split_spec(each)[1]):
            raise OptionError(f"The initializer {one_line(each)!r} is not served within another one.")
    return named
