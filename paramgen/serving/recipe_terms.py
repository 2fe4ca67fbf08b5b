"""What an initializer must be for its weights to be drawn again from a recipe: it reads nothing but a graph.

The hypernet, the tokenizer and the image processor are the exceptions: whoever restores a recipe names his own, and
what they hold is compared. So a recipe, which may be anybody's, never says which file or repository is read.
"""

from dataclasses import fields
from typing import Final

from paramgen.errors import OptionError, one_line
from paramgen.hypernets.storage import shipped_hypernets
from paramgen.initializers import initializers
from paramgen.modifiers.freeze import FREEZE
from paramgen.modifiers.prune import PRUNE
from paramgen.modifiers.share import SHARE
from paramgen.prediction import Prediction
from paramgen.registry import Spec
from paramgen.registry.chains import join_chain, split_chain
from paramgen.registry.overrides import split_spec
from paramgen.serving.allowlist import INITIALIZERS, MAX_MODIFIERS, MODIFIERS, READING

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
    kind, options = Spec.parse(split_spec(first)[0]), split_spec(first)[1]
    if kind.kind not in INITIALIZERS:
        slots = "" if prediction is None else _slots(prediction)
        raise OptionError(
            f"{one_line(kind.kind)!r} takes values from elsewhere{slots}, and a recipe stores no values. Allowed: "
            f"{', '.join(INITIALIZERS)}. {_INSTEAD}"
        )
    if len(then) > MAX_MODIFIERS:
        raise OptionError(f"{len(then)} modifiers are named; a recipe has at most {MAX_MODIFIERS}.")
    given = {*options, *_first_field(kind)}
    for modifier in then:
        if (name := Spec.parse(modifier.partition("?")[0]).kind) not in _MODIFIERS:
            raise OptionError(f"No recipe has the modifier {one_line(name)!r}. Allowed: {', '.join(_MODIFIERS)}")
        given |= {*split_spec(f"?{modifier.partition('?')[2]}")[1]}
    if reading := sorted(option for option in given if option in READING or option.startswith("_")):
        typed = " Type --tokenizer instead." if reading == ["tokenizer"] else ""
        raise OptionError(f"{one_line(init)!r} reads {one_line(reading[0])!r}, which a recipe does not hold.{typed}")
    if prediction is not None and prediction.initializer.runs_network:
        raise OptionError(f"{one_line(init)!r} runs the network, of which a recipe holds the graph alone. {_INSTEAD}")
    return init


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
