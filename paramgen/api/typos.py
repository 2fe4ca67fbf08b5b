"""What is misspelled is refused at once, before a library is imported."""

import sys
from collections.abc import Sequence
from typing import Any

from paramgen.errors import UnknownNameError
from paramgen.registry import Spec, unknown_name
from paramgen.registry.architecture_names import refuse_unknown_name
from paramgen.registry.chains import join_chain, split_chain
from paramgen.registry.definitions import (
    INITIALIZER_PACKAGE,
    MEASURE_PACKAGE,
    MODIFIER_PACKAGE,
    PREPARATION_PACKAGE,
    SOURCE_PACKAGE,
    has_plugins,
    registered_in,
)
from paramgen.registry.overrides import split_spec
from paramgen.registry.synonyms import CONTROLS, checked_dtype, known_init


def refuse_typos(arch: object, *, init: str = "auto", then: Sequence[str] = (), dtype: Any = None) -> None:
    """Raise the error for a name that nobody has: of an architecture, an initializer, a modifier, a dtype.

    What is not certain without a library passes: it is refused where it is used, in the same words.

    Raises:
        UnknownNameError: A name is unknown.
        OptionError: A dtype is unknown, or a modifier is no text.

    """
    chain = join_chain(init, (then,) if isinstance(then, str) else then)
    if dtype is not None:
        checked_dtype(dtype)
    if isinstance(arch, str) and (sources := _known_for_certain(SOURCE_PACKAGE)):
        refuse_unknown_name(arch, sources)
    first, modifiers = split_chain(known_init(chain))
    _refuse_unknown("initializer", INITIALIZER_PACKAGE, _innermost(first))
    for modifier in modifiers:
        _refuse_unknown("modifier", MODIFIER_PACKAGE, Spec.parse(modifier.partition("?")[0]).kind)


def refuse_typos_of_all(archs: object, inits: str | Sequence[str] | None) -> None:
    """Do as `refuse_typos` does for each architecture of several that is a name, and for each initializer.

    Raises:
        UnknownNameError: A name is unknown.

    """
    given = archs if isinstance(archs, list) else [archs]  # of a pair, the first is what it is called here
    for arch in given:
        refuse_typos(arch)
    for init in (inits,) if isinstance(inits, str) else inits or ():
        refuse_typos(None, init=init)


def refuse_unknown_measures(what: str | Sequence[str] | None) -> None:
    """Raise the error for a measure that nobody has.

    Raises:
        UnknownNameError: A name is unknown.

    """
    known = _known_for_certain(MEASURE_PACKAGE)
    for word in what.split(",") if isinstance(what, str) else what or ():
        if known and word.strip() not in known:
            raise UnknownNameError.of("measure", word.strip(), known, "Type: --what signal,guessing")


def refuse_unknown_preparation(how: str) -> None:
    """Raise the error for a way to prepare that nobody has.

    Raises:
        UnknownNameError: A name is unknown.

    """
    if isinstance(how, str) and how:
        _refuse_unknown("preparation", PREPARATION_PACKAGE, Spec.parse(split_spec(how)[0]).kind)


def _innermost(init: str) -> str:
    """Return the name of the initializer that a control is of, or that of one that is no control."""
    head, colon, other = init.partition(":")
    return _innermost(split_chain(other)[0]) if colon and head in CONTROLS else Spec.parse(split_spec(init)[0]).kind


def _refuse_unknown(kind: str, package: str, name: str) -> None:
    known = _known_for_certain(package)
    if known and name and name not in known:
        raise unknown_name(kind, name, known)


def _known_for_certain(package: str) -> tuple[str, ...]:
    """Return the names that a package registers; none where others may have been added to them by now."""
    return () if package in sys.modules or has_plugins(package) else tuple(registered_in(package))
