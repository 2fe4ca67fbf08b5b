"""What untrusted callers may request: any option by which an initializer could read a file is refused, new ones too."""

from dataclasses import fields
from typing import Any, cast

import pytest

from paramgen.errors import OptionError
from paramgen.hypernets.storage import shipped_hypernets
from paramgen.initializers import initializers
from paramgen.modifiers import modifiers
from paramgen.serving.allowlist import INITIALIZERS, MODIFIERS, checked_init

NOT_SERVED = {
    "average": "reads trained models",
    "grow": "reads a trained model",
    "inherit": "reads a trained model",
    "prepared": "reads a prepared folder",
    "transplant": "reads a trained model and a tokenizer",
    "weight_selection": "reads a trained model",
    "unigram": "reads a text or a tokenizer",
    "virgo": "needs the example's graph, which a graph's JSON does not have",
    "matched": "takes another initializer, with its own options",
    "shuffled": "takes another initializer, with its own options",
}
"""Why the other initializers are not served."""

NOT_SERVED_MODIFIERS = {
    "freeze": "masks are no part of the file that is sent, and it reads images",
    "share": "its numbers are no part of the file that is sent",
    "prune": "masks are no part of the file that is sent, and it reads images or runs the network",
}
"""Why the other modifiers are not served."""


def test_every_initializer_is_served_or_there_is_a_reason_against_it() -> None:
    assert {*INITIALIZERS, *NOT_SERVED} == set(initializers.names())
    assert sorted(INITIALIZERS) == list(INITIALIZERS)
    for name in NOT_SERVED:
        with pytest.raises(OptionError, match=f"'{name}' is not served. Served: "):
            checked_init(name, shipped_hypernets())
    for name in INITIALIZERS:
        assert checked_init(name, shipped_hypernets()) == name


def test_every_modifier_is_served_behind_what_is_served() -> None:
    assert list(MODIFIERS) == sorted(set(modifiers.names()) - set(NOT_SERVED_MODIFIERS))
    assert checked_init("he|lowrank?rank=8|scale:0.5", ())
    for refused in ("he|prune", "he|freeze?data=/etc", "he|share", "he|squeeze"):
        with pytest.raises(OptionError, match="is not served"):
            checked_init(refused, shipped_hypernets())
    for refused in ("grow:/etc|scale", "he?x=1|lsuv:/etc", "he" + "|scale" * 9, "hypernet:/etc|scale"):
        with pytest.raises(OptionError):
            checked_init(refused, shipped_hypernets())


@pytest.mark.parametrize("name", INITIALIZERS)
def test_no_option_of_an_initializer_is_a_free_text(name: str) -> None:
    for field in fields(cast(Any, initializers.get(name))):
        if field.type is str:
            with pytest.raises(OptionError, match="is not served"):
                checked_init(f"{name}?{field.name}=/etc", shipped_hypernets())


def test_what_ships_is_served() -> None:
    for name in shipped_hypernets():
        assert checked_init(f"hypernet:{name}?softmax=fused", shipped_hypernets())
    with pytest.raises(OptionError, match="hypernet:vision"):
        checked_init("hypernet:somebody/else", shipped_hypernets())
