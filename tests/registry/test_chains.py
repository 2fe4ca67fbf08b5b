"""Chains of an initializer and modifiers, as one spec."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paramgen.errors import OptionError
from paramgen.registry.chains import join_chain, split_chain
from paramgen.registry.synonyms import known_init


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("he", ("he", ())),
        ("he|scale:2", ("he", ("scale:2",))),
        ("he?mode=fan_out|lowrank?rank=8|scale", ("he?mode=fan_out", ("lowrank?rank=8", "scale"))),
        ('diffusion?prompt="a | b \\" | c"|scale', ('diffusion?prompt="a | b \\" | c"', ("scale",))),
        ("he|", ("he", ("",))),
        ('he?x="a|b', ('he?x="a|b', ())),
    ],
)
def test_a_chain_is_split_outside_quotes(spec: str, parts: tuple[str, tuple[str, ...]]) -> None:
    assert split_chain(spec) == parts


@given(st.text())
def test_any_text_is_split_into_what_it_is_made_of(text: str) -> None:
    first, then = split_chain(text)
    assert "|".join((first, *then)) == text


@pytest.mark.parametrize("then", [[""], ["scale|shift"]])
def test_a_modifier_is_one_text(then: list[str]) -> None:
    with pytest.raises(OptionError, match="Pass: then='scale:0.5'"):
        join_chain("he", then)


def test_other_names_are_known_before_modifiers() -> None:
    assert known_init("kaiming_uniform_|scale:2") == "he?distribution=uniform|scale:2"
    assert known_init("matched:glorot|scale:2") == "matched:xavier|scale:2"
