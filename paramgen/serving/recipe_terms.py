"""What an initializer must be for its weights to be drawn again from a recipe: it reads nothing but a graph.

The hypernet, the tokenizer and the image processor are the exceptions: whoever restores a recipe names his own, and
what they hold is compared. So a recipe, which may be anybody's, never says which file or repository is read.
"""

from dataclasses import fields, replace
from typing import Any, Final

from paramgen.architectures import Architecture
from paramgen.errors import OptionError, one_line
from paramgen.hypernets.storage import shipped_hypernets
from paramgen.initializers import initializers
from paramgen.initializers.rezero import REZERO
from paramgen.modifiers.freeze import FREEZE
from paramgen.modifiers.prune import PRUNE
from paramgen.modifiers.share import SHARE
from paramgen.prediction import Prediction, Requested
from paramgen.registry import Spec
from paramgen.registry.chains import join_chain, split_chain
from paramgen.registry.overrides import split_spec
from paramgen.serving.admission import Limits, network_within
from paramgen.serving.allowlist import (
    INITIALIZERS,
    MAX_MODIFIERS,
    MODIFIERS,
    NAMING,
    READING,
    checked_arch,
    named_initializers,
)

HYPERNET: Final = "hypernet"
_MODIFIERS: Final = (*MODIFIERS, FREEZE, PRUNE, SHARE)
_INSTEAD: Final = "To send such weights, write the folder: paramgen predict --arch NAME --out FOLDER"


def checked_recipe_init(init: str, prediction: Prediction | None = None) -> str:
    """Return the initializer's spec, if a recipe may have it.

    Args:
        init: With its options and modifiers.
        prediction: What it fills, where that is known: the message then says which slots, and what runs the network
            is refused.

    Raises:
        OptionError: It takes values from elsewhere, reads files, or runs the network.

    """
    first, then = split_chain(init)
    if len(then) > MAX_MODIFIERS:
        raise OptionError(f"{len(then)} modifiers are named; a recipe has at most {MAX_MODIFIERS}.")
    given = _options(first, prediction)
    for modifier in then:
        if (name := Spec.parse(modifier.partition("?")[0]).kind) not in _MODIFIERS:
            raise OptionError(f"No recipe has the modifier {one_line(name)!r}. Allowed: {', '.join(_MODIFIERS)}")
        given |= {*split_spec(f"?{modifier.partition('?')[2]}")[1]}
    if reading := sorted(option for option in given if option in READING or option.startswith("_")):
        typed = " Type --tokenizer instead." if reading == ["tokenizer"] else ""
        raise OptionError(f"{one_line(init)!r} reads {one_line(reading[0])!r}, which a recipe does not hold.{typed}")
    if prediction is not None and prediction.initializer.runs_network and not is_named(prediction.requested):
        raise OptionError(
            f"{one_line(init)!r} runs the network, of which a recipe holds the graph alone: only networks that a "
            f"library knows by their names can be run again. {_INSTEAD}"
        )
    return init


def is_named(requested: Requested) -> bool:
    """Whether a library makes the network by its name, without a file or a repository of anybody's."""
    try:
        return requested.arch is not None and requested.example_input is None and bool(_named(requested))
    except OptionError:
        return False


def _named(requested: Requested) -> tuple[str, dict[str, Any]]:
    return checked_arch(str(requested.arch), requested.overrides)


def with_network(architecture: Architecture, requested: Requested) -> Architecture:
    """Return an architecture that was read, with the network that its library makes by its name, to be run.

    Raises:
        OptionError: A library would read files for it, or makes another network than was read.

    """
    if requested.example_input is not None:
        raise OptionError("A recipe of a network with an input of its own cannot run it. Get the folder itself")
    built, _ = network_within(*_named(requested), Limits())
    shapes = {slot.name: (slot.shape, slot.dtype, slot.tied_to) for slot in built.manifest.values()}
    if shapes != {slot.name: (slot.shape, slot.dtype, slot.tied_to) for slot in architecture.manifest.values()}:
        raise OptionError(
            f"{one_line(requested.arch)!r} is another network here than the recipe's. Install the library's version "
            "that it names"
        )
    return replace(architecture, module=built.module, example=built.example)


def _options(first: str, prediction: Prediction | None) -> set[str]:
    """Return the options of an initializer, and of those that they name; refuse what takes values from elsewhere."""
    head, colon, inner = first.partition(":")
    if colon and head == REZERO:  # what follows is another initializer with its options
        return _of_inner(inner, prediction)
    kind, options = Spec.parse(split_spec(first)[0]), split_spec(first)[1]
    if kind.kind not in INITIALIZERS:
        slots = "" if prediction is None else _slots(prediction)
        raise OptionError(
            f"{one_line(kind.kind)!r} takes values from elsewhere{slots}, and a recipe stores no values. Allowed: "
            f"{', '.join(INITIALIZERS)}. {_INSTEAD}"
        )
    found = {*options, *_first_field(kind)} - NAMING
    return found.union(*(_of_inner(each, prediction) for each in named_initializers(options)))


def _of_inner(inner: str, prediction: Prediction | None) -> set[str]:
    """Return the options of an initializer within another one, which names no third, and no hypernet but ours."""
    named_initializers({"init": inner})
    if inner.startswith(f"{REZERO}:") or foreign_hypernet(inner) is not None:
        raise OptionError(f"No recipe has {one_line(inner)!r} within another initializer. {_INSTEAD}")
    return _options(inner, prediction)


def _first_field(kind: Spec) -> set[str]:
    """Return the option that the argument after the colon is; none for a hypernet, which is asked for by name."""
    if not kind.argument or kind.kind == HYPERNET:
        return set()
    return {next(field.name for field in fields(initializers.get(kind.kind)))}  # type: ignore[arg-type]


def _slots(prediction: Prediction) -> str:
    names = [slot.name for slot in prediction.architecture.manifest.filled]
    return f" for up to {len(names):,} slots, first {names[0]!r}" if names else ""


def foreign_hypernet(init: str) -> str | None:
    """Return the name of the hypernet that an initializer reads, unless it comes with paramgen or none is named."""
    spec = Spec.parse(split_spec(split_chain(init)[0])[0])
    return spec.argument if spec.kind == HYPERNET and spec.argument not in ("", *shipped_hypernets()) else None


def with_hypernet(init: str, hypernet: str) -> str:
    """Return an initializer's spec with another hypernet, by its name here."""
    first, then = split_chain(init)
    _, mark, options = first.partition("?")
    return join_chain(f"{HYPERNET}:{hypernet}{mark}{options}", then)
