"""The initializers of a comparison: what each of them fills or chooses, and a refusal where nothing is compared."""

from collections.abc import Mapping, Sequence
from typing import Any

from paramgen.comparison.models import ModelUnderTest
from paramgen.comparison.protocol import Protocol
from paramgen.errors import OptionError, one_line
from paramgen.initializers import Control, Initializer, initializer_of
from paramgen.initializers.library import LIBRARY
from paramgen.initializers.modified import Modified
from paramgen.modifiers import FROZEN, SHARED_NUMBERS, ZEROS
from paramgen.prediction import Prediction, hindrance_of

Initializers = Mapping[str, Initializer]
"""Initializers by what was typed."""


def requested_initializers(inits: Sequence[str]) -> dict[str, Initializer]:
    """Return the initializers by what was typed, their files read; refuse none, and the same one twice."""
    if not inits:
        raise OptionError("No initializer is named. Type: --init hypernet --init library")
    if len(set(inits)) < len(inits):
        twice = next(init for init in inits if inits.count(init) > 1)
        raise OptionError(f"The initializer {twice!r} is named twice. Type each --init once.")
    found = {init: initializer_of(init) for init in inits}
    for initializer in found.values():
        initializer.describe()
    return found


def prediction_of(model: ModelUnderTest, init: str, initializer: Initializer, seed: int) -> Prediction:
    """Return the initial weights of the model under test, lazily."""
    return Prediction(
        architecture=model.architecture,
        graph=model.graph,
        resolved=initializer.resolve(model.architecture, model.graph),
        init=init,
        seed=seed,
        dtype=None,
    )


def note_choices(model: ModelUnderTest, requested: Initializers) -> dict[str, str]:
    """Note which initializer was chosen where one chooses, and return why others fill nothing of this model."""
    idle = {}
    for init, initializer in requested.items():
        prediction = prediction_of(model, init, initializer, 0)
        if initializer.fills_something and prediction.is_library:
            idle[init] = hindrance_of(initializer, prediction)
            model.notes.append(f"{init} fills nothing of {model.name}, whose row is library again: {idle[init]}.")
        elif prediction.choice is not None:
            model.notes.append(f"{init} chose {prediction.choice.init} for {model.name}: {prediction.choice.reason}.")
        if initializer.seconds_before:
            told = " ".join(initializer.remarks())
            model.notes.append(f"{told} These seconds count among those of making the initial weights.")
    return idle


def refuse_library_alone(requested: Initializers, idle: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse to compare the default initialization with itself.

    Args:
        requested: The initializers.
        idle: For each model, why an initializer fills nothing of it.

    """
    named = [init for init, initializer in requested.items() if initializer.fills_something]
    chosen = len(named) < len(requested) - (LIBRARY in requested)  # auto, which may have chosen library
    if chosen or not named or not all(set(named) <= set(each) for each in idle.values()):
        return
    name, why = next(iter(idle.items()))
    raise OptionError(
        f"{named[0]!r} fills nothing of {name!r}: {why[named[0]]}. So nothing is compared with library. Type another "
        "initializer: --init orthogonal"
    )


def refuse_shared(requested: Initializers, protocol: Protocol) -> None:
    """Refuse what treats each layer in its own way, where an initializer lets layers share what is trained."""
    option = "--lr mup" if protocol.mup_base is not None else "--rescale-every" if protocol.rescale_every else ""
    for init, initializer in requested.items():
        if option and isinstance(initializer, Modified) and SHARED_NUMBERS in initializer.structures:
            raise OptionError(
                f"{one_line(init)!r} lets all layers share what is trained, and {option} treats each layer in its own "
                f"way. Leave out {option}"
            )


def refuse_constrained(requested: Initializers, protocol: Protocol) -> None:
    """Refuse initializers that constrain the training, where soft thresholds do so for all."""
    for init, initializer in requested.items():
        held = initializer.structures & {ZEROS, FROZEN, SHARED_NUMBERS} if isinstance(initializer, Modified) else ()
        if held and protocol.sparse is not None:
            raise OptionError(
                f"{one_line(init)!r} has {min(held)}, which hold in training, and --sparse makes weights zero in "
                "another way. Leave one of them out"
            )


def identity_of(initializer: Initializer, models: Sequence[ModelUnderTest]) -> dict[str, Any]:
    """Return what identifies an initializer; where it chooses, that is what it chose for each model."""
    resolved = {model.name: initializer.resolve(model.architecture, model.graph) for model in models}
    chosen = {
        name: each.describe()
        for name, each in resolved.items()
        if each.choice is not None or isinstance(each.initializer, (Control, Modified))
    }
    own = initializer.describe() if len(chosen) < len(resolved) else {}
    return {**own, **({"for": chosen} if chosen else {})}
